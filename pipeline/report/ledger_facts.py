"""What a report says of the ledger, and of what it tells besides test restores."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class LedgerChange:
    """Something that the ledger holds of the period, test restores left out.

    Attributes:
        at: When.
        event: The ledger's event.
        text: In words.
        failure: Whether something failed or was refused.
        evidence: Ids.
        new: Whether the last bundle has not seen it.
    """

    at: datetime
    event: str
    text: str
    failure: bool
    evidence: tuple[str, ...] = ()
    new: bool = False

    @property
    def state(self) -> str:
        """In words."""
        return f"{'failure' if self.failure else 'done'}{', new' if self.new else ''}"


@dataclass(frozen=True)
class HostLedger:
    """One host's chain of the ledger.

    Attributes:
        host: The host-id; empty where this host has no entry yet.
        entries: How many.
        head: Digest of the last entry.
        anchored_to: The newest entry that something outside this host vouches for, 0 when nothing does.
        anchor: What that is, in words.
    """

    host: str
    entries: int
    head: str
    anchored_to: int
    anchor: str | None


@dataclass(frozen=True)
class LedgerFacts:
    """The ledger that the report rests on: this host's chain, and those of other hosts.

    Attributes:
        entries: How many this host has.
        head: Digest of the last entry.
        ok: Whether every chain holds.
        problem: The first bad entry, in words.
        anchored_to: The newest entry that something outside the ledger vouches for, 0 when nothing does.
        anchor: What that is, in words.
        waiting: Entries that no mirror has yet; ``None`` when no mirror is configured.
        hosts: The chain of each host, this host's first.
    """

    entries: int
    head: str
    ok: bool
    problem: str | None
    anchored_to: int
    anchor: str | None
    waiting: int | None = None
    hosts: tuple[HostLedger, ...] = ()

    @property
    def state(self) -> str:
        """In a word."""
        return "ok" if self.ok else "broken"


@dataclass(frozen=True)
class VaultSide:
    """The last comparison of Vault's policies, roles, mounts and keys with `infra/vault`.

    Attributes:
        at: When it was made.
        servers: Which servers it looked at.
        differences: What differed afterwards, in words; empty for nothing.
        wider: Whether a server gave more than it should.
        evidence: Ids.
    """

    at: datetime
    servers: tuple[str, ...]
    differences: tuple[str, ...]
    wider: bool
    evidence: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """In one line."""
        differences = "; ".join(self.differences) or "no differences"
        return f"{', '.join(self.servers)}: {differences}"

    @property
    def state(self) -> str:
        """In words."""
        return "gives more" if self.wider else "differs" if self.differences else "same"
