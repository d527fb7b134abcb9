"""What one run works with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from pipeline.backups.sources import Source
from pipeline.clock import Clock, Deadline
from pipeline.config import Config
from pipeline.custody.interface import Holder
from pipeline.custody.section import CustodySection
from pipeline.errors import OrgkeyError
from pipeline.evidence.ledger import Ledger
from pipeline.journal import Journal
from pipeline.targets.interface import Target

Role = Literal["writer", "driller"]


class Estate(Protocol):
    """Targets and holders as one role sees them. Nothing is contacted before it is used."""

    def targets(self) -> dict[str, Target]:
        """The configured targets by name, with retries."""
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

    def backups(self, places: Sequence[str] = ()) -> list[Source]:
        """The server's backups at these places; at the configured ones when none is named."""
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
        say: Tells a person what happens, one line at a time.
        estate: Makes targets and holders under a role's logins; a new one shares nothing with another.
    """

    config: Config
    fingerprint: str
    clock: Clock
    deadline: Deadline
    run: str
    root: Path
    say: Callable[[str], None]
    estate: Callable[[Role], Estate]

    @property
    def pins(self) -> frozenset[str]:
        """The trusted fingerprints: the pin and the former Org Keys."""
        former = self.config.key.former if self.config.key else ()
        return frozenset({self.fingerprint, *former})

    @property
    def journal(self) -> Journal:
        """What this host remembers of the key."""
        return Journal(self.root)

    @property
    def ledger(self) -> Ledger:
        """This host's log of the key."""
        return Ledger(self.root, self.fingerprint)

    def record_event(self, event: str, details: Mapping[str, Any]) -> None:
        """Write an entry to the ledger.

        Raises:
            LocalFilesProblem: It cannot be kept, which is a failure of the run.
        """
        self.ledger.append(event, details, now=self.clock.now(), run=self.run)
