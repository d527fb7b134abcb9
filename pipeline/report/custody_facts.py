"""What a report says of custody: who can get the key, and how custodians' shares stand."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pipeline.core.text import who_alone


@dataclass(frozen=True)
class CustodyFacts:
    """Who can get the key, and what loss is fatal; computed.

    Attributes:
        reconstruct: Each line is enough to get the key.
        fatal: Each line is a loss that makes every restore impossible.
        alone: Parties that get the key alone.
        fatal_alone: Single losses that are fatal.
        hosts: Hosts whose logins open a whole path: each gets the key alone.
        lingering: What is left over and still opens the key.
        facts: What servers say.
        unknown: What could not be found out.
        picture: A self-contained SVG.
        evidence: Ids.
        people: Who the groups and names of the lines are.
    """

    reconstruct: tuple[str, ...]
    fatal: tuple[str, ...]
    alone: tuple[str, ...]
    fatal_alone: tuple[str, ...]
    lingering: tuple[str, ...]
    facts: tuple[str, ...]
    unknown: tuple[str, ...]
    picture: str
    evidence: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    people: tuple[str, ...] = ()

    @property
    def alone_text(self) -> str:
        """Who gets the key alone, in words."""
        return who_alone(self.alone, self.hosts)


@dataclass(frozen=True)
class CustodianFacts:
    """One custodian's share.

    Attributes:
        name: What the custodian is called.
        label: The certificate's fingerprint, or the keeper of paper.
        path: The custody path.
        last_check_in: When the share was last proven, by a check-in or in a test restore.
        age_seconds: Since then, or since the share was made.
        overdue: Whether the policy's limit has passed.
        evidence: Ids.
        pending: Whether it was asked for, and no answer has come.
    """

    name: str
    label: str
    path: str
    last_check_in: datetime | None
    age_seconds: float
    overdue: bool
    evidence: tuple[str, ...] = ()
    pending: bool = False

    @property
    def state(self) -> str:
        """In words."""
        if self.overdue:
            return "overdue"
        if self.last_check_in is not None:
            return "in time"
        return "asked, not answered yet" if self.pending else "never asked or answered"
