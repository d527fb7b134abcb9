"""The places that one role sees, as protocols; each user asks for the one that it needs.

Nothing is contacted before it is used. The room ``wiring`` implements all of them at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pipeline.core.errors import OrgkeyError
    from pipeline.core.finding import Finding
    from pipeline.custody.holders.interface import Holder
    from pipeline.custody.shares.manifest_section import CustodySection
    from pipeline.provision.desired import Site
    from pipeline.sources.backups.sources import BackupSource
    from pipeline.storage.interface import Retainer, Stored, Target
    from pipeline.storage.ledger_mirror import Mirror


class TargetBackends(Protocol):
    """Places that hold records."""

    def targets(self) -> dict[str, Target]:
        """The configured targets by name, with retries."""

    def retainers(self) -> dict[str, Retainer[Stored]]:
        """The configured targets that have a retention, by name, with retries."""


class HolderBackends(Protocol):
    """Who opens shares."""

    def holders(self) -> dict[str, Holder]:
        """The configured holders by name, with retries."""

    def openers(self, section: CustodySection) -> dict[str, Holder]:
        """The holders that open a record's shares, from the record's own coordinates."""


class Backends(TargetBackends, HolderBackends, Protocol):
    """All that one role sees: targets and holders, mirrors of the ledger, backups, and the servers."""

    def mirrors(self, fingerprint: str) -> dict[str, Mirror]:
        """The places that a key's ledger is mirrored to, by name, in the configuration's order."""

    def patient_mirrors(self, fingerprint: str) -> dict[str, Mirror]:
        """The same, whose reading is tried again."""

    def heads(self, fingerprint: str) -> dict[str, Mirror]:
        """The places for a key's ledger's heads, by name."""

    def entry_retainers(self) -> dict[str, Retainer[str]]:
        """The ledger's mirrors that have a retention, by name, with retries."""

    def backups(self, places: Sequence[str] = (), *, whole: bool = True) -> list[BackupSource]:
        """The server's backups at these places, to be read ``whole``; at the configured ones by default."""

    def sites(self) -> Sequence[Site]:
        """The configured Vault servers, each namespace by itself, with what belongs there."""

    def seals(self) -> dict[str, tuple[str, str] | OrgkeyError]:
        """How each configured Vault server says that it is unsealed, and its cluster's id, by address."""

    def logins(self) -> list[Finding]:
        """What this host lacks for the logins of this role; contacts nothing."""

    def certificates(self) -> list[Finding]:
        """What is said of the certificates of servers, and of our own for logins."""

    def request_ids(self) -> dict[str, Sequence[str]]:
        """The request ids that the services gave, by service."""
