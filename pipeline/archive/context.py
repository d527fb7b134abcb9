"""What one run works with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from pipeline.archive.journal import Journal
from pipeline.config import Config, IdentityName
from pipeline.core import log as logs
from pipeline.core.clock import Clock, Deadline
from pipeline.core.errors import OrgkeyError
from pipeline.core.finding import Finding
from pipeline.core.reporter import Reporter
from pipeline.custody.holders.interface import Holder
from pipeline.custody.shares.section import CustodySection
from pipeline.evidence.ledger.mirror_state import Memory
from pipeline.evidence.ledger.replicator import Scribe
from pipeline.evidence.ledger.store import Ledger
from pipeline.provision.desired import Site
from pipeline.sources.backups.sources import Source
from pipeline.storage.interface import Retainer, Stored, Target
from pipeline.storage.ledger_mirror import Mirror

Role = IdentityName


class Estate(Protocol):
    """Targets and holders as one role sees them. Nothing is contacted before it is used."""

    def targets(self) -> dict[str, Target]:
        """The configured targets by name, with retries."""
        ...

    def retainers(self) -> dict[str, Retainer[Stored]]:
        """The configured targets that have a retention, by name, with retries."""
        ...

    def entry_retainers(self) -> dict[str, Retainer[str]]:
        """The ledger's mirrors that have a retention, by name, with retries."""
        ...

    def holders(self) -> dict[str, Holder]:
        """The configured holders by name, with retries."""
        ...

    def openers(self, section: CustodySection) -> dict[str, Holder]:
        """The holders that open a record's shares, from the record's own coordinates."""
        ...

    def seal_types(self) -> dict[str, str | OrgkeyError]:
        """How each configured Vault server says that it is unsealed, by address."""
        ...

    def certificates(self) -> list[Finding]:
        """What is said of the certificates of servers, and of our own for logins."""
        ...

    def backups(self, places: Sequence[str] = (), *, whole: bool = True) -> list[Source]:
        """The server's backups at these places, to be read ``whole``; at the configured ones by default."""
        ...

    def mirrors(self, fingerprint: str) -> dict[str, Mirror]:
        """The places that a key's ledger is mirrored to, by name, in the configuration's order."""
        ...

    def patient_mirrors(self, fingerprint: str) -> dict[str, Mirror]:
        """The same, whose reading is tried again."""
        ...

    def heads(self, fingerprint: str) -> dict[str, Mirror]:
        """The places for a key's ledger's heads, by name."""
        ...

    def sites(self) -> Sequence[Site]:
        """The configured Vault servers, each namespace by itself, with what belongs there."""
        ...

    def request_ids(self) -> dict[str, Sequence[str]]:
        """The request ids that the services gave, by service."""
        ...


@dataclass(frozen=True)
class Context:
    """Everything that one run works with.

    Attributes:
        config: The configuration.
        fingerprint: The pin.
        clock: Where time comes from.
        deadline: When the run stops trying.
        run: The correlation id of this run.
        root: The key's state directory.
        reporter: Tells a person what happens.
        estate: Gives targets and holders under a role's logins; the same for a role throughout the run.
    """

    config: Config
    fingerprint: str
    clock: Clock
    deadline: Deadline
    run: str
    root: Path
    reporter: Reporter
    estate: Callable[[Role], Estate]
    _scribes: dict[str, Scribe] = field(default_factory=dict, repr=False, compare=False)

    def backup_deadline(self) -> Deadline:
        """A new deadline for reading backups, from now."""
        return Deadline(self.config.policy.backup_seconds, self.clock, "policy.backup_seconds")

    def of(self, fingerprint: str) -> Context:
        """The same run for another key of the configuration: its own state, journal and ledger."""
        return replace(self, fingerprint=fingerprint, root=self.root.parent / fingerprint)

    @property
    def journal(self) -> Journal:
        """What this host remembers of the key."""
        return Journal(self.root)

    @property
    def ledger(self) -> Ledger:
        """This host's log of the key."""
        return Ledger(self.root, self.fingerprint)

    @property
    def scribe(self) -> Scribe:
        """What writes the ledger and its mirrors: one in a run for a key, so a dead mirror costs one call."""
        if self.fingerprint not in self._scribes:
            writer = self.estate("writer")
            self._scribes[self.fingerprint] = Scribe(
                self.ledger,
                Memory(self.root),
                writer.mirrors(self.fingerprint),
                writer.heads(self.fingerprint),
                deadline=self.deadline,
                call_seconds=self.config.policy.call_seconds,
                clock=self.clock,
                reporter=self.reporter,
            )
        return self._scribes[self.fingerprint]

    def record_event(self, event: str, details: Mapping[str, Any]) -> None:
        """Write an entry to the ledger; a mirror that cannot have it now gets it later.

        Raises:
            LocalFilesProblem: It cannot be kept here, which is a failure of the run.
        """
        mirrored = self.config.ledger.mirrors or self.config.ledger.heads
        writer = self.scribe if mirrored else self.ledger
        head = writer.append(event, details, now=self.clock.now(), run=self.run)
        logs.event("ledger", f"ledger entry {head.sequence}: {event}", entry=event, sequence=head.sequence)

    def note_event(self, event: str, details: Mapping[str, Any]) -> None:
        """Write an entry of a query or a failure: that it cannot be kept must not hide the answer itself."""
        try:
            self.record_event(event, details)
        except OrgkeyError as error:
            self.reporter.warn(f"the ledger has no entry of this: {error.message}")
