"""Documents of the ledger: `ledger verify`, `ledger show`, `ledger sync`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.cli.documents import Document, Part
from pipeline.cli.documents.evidence import HeadItem
from pipeline.cli.output import spaced, table
from pipeline.core.clock import stamp
from pipeline.core.errors import Code

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeline.evidence.ledger.store import LedgerEntry
    from pipeline.evidence.ledger.verify import Verified


class VerifiedHostItem(Part):
    """The chain of one host.

    Attributes:
        host: Its host-id; ``0.1`` for the entries of version 0.1, which had none.
        entries: How many sound entries it begins with.
        head: The last of them.
        anchored_to: The newest entry that something outside the folder vouches for; 0 when nothing does.
        anchored_by: What that is, or null.
        unauthenticated: How many sound entries come after it.
        ok: Whether nothing contradicts the chain; it says nothing of its completeness.
        first_bad: The first entry that is missing, changed or out of order, or null.
        problem: What is wrong with it, or null.
    """

    host: str
    entries: int
    head: HeadItem
    anchored_to: int
    anchored_by: str | None
    unauthenticated: int
    ok: bool
    first_bad: int | None
    problem: str | None

    def lines(self) -> list[str]:
        """What a person reads."""
        shown = [
            f"host       {self.host}",
            f"  chained  {self.entries} entries",
            f"  head     {self.head.sequence}:{self.head.sha256}",
        ]
        if self.anchored_to:
            later = f"; later entries unauthenticated: {self.unauthenticated}" if self.unauthenticated else ""
            shown.append(f"  anchored to {self.anchored_to}, by {self.anchored_by}{later}")
        else:
            shown.append("  anchored to 0, nothing outside the folder vouches for it")
        return [*shown, f"  BROKEN   at entry {self.first_bad}: {self.problem}"] if self.problem else shown


class LedgerVerifyDocument(Document, schema="orgkey.ledger-verify/1", printed_by="orgkey ledger verify"):
    """What of a ledger holds.

    Attributes:
        folder: Which ledger.
        fingerprint: Of which key; null for an empty one.
        hosts: The chain of each host.
        ok: Whether nothing contradicts any chain; it says nothing of their completeness.
        problem: What was named with ``--head`` or ``--certificate`` and no chain has, or null.
        notes: What else a reader should know, for example that a signature was not checked.
        exit_code: 0, or 41; where one of several mirrors could not be asked, that failure's code.
    """

    folder: str
    fingerprint: str | None
    hosts: tuple[VerifiedHostItem, ...]
    ok: bool
    problem: str | None
    notes: tuple[str, ...]
    exit_code: Code

    @classmethod
    def about(cls, found: Verified, notes: Sequence[str], code: Code) -> LedgerVerifyDocument:
        """The document of what was found.

        Args:
            found: What was found.
            notes: What is to be said of the claims.
            code: How the command ends.
        """
        hosts = tuple(
            VerifiedHostItem.of(
                chain, head=HeadItem(sequence=chain.head.sequence, sha256=chain.head.digest.hex)
            )
            for chain in found.chains
        )
        return cls.of(
            found, folder=str(found.folder), hosts=hosts, notes=(*notes, *found.notes), exit_code=code
        )

    def lines(self) -> list[str]:
        """What a person reads."""
        shown = [
            f"ledger     {self.folder}",
            f"key        {spaced(self.fingerprint) if self.fingerprint else '-'}",
            *(line for host in self.hosts for line in host.lines()),
        ]
        if any(host.unauthenticated for host in self.hosts) or not self.hosts:
            shown += [
                "           Whether the end was cut off, or what is not anchored was written anew, does not",
                "           show here: give --head, --certificate or --mirror.",
            ]
        shown += [f"note       {note}" for note in self.notes]
        if self.problem:
            shown.append(f"BROKEN     {self.problem}")
        return [*shown, "no entry contradicts another, or what was given"] if self.ok else shown


class HostItem(Part):
    """The chain of one host.

    Attributes:
        host: Its host-id; ``0.1`` for the entries of version 0.1, which had none.
        entries: How many sound entries it has.
        this: Whether this host writes it.
    """

    host: str
    entries: int
    this: bool


class LedgerShowDocument(Document, schema="orgkey.ledger-show/1", printed_by="orgkey ledger show"):
    """The last entries of all hosts.

    Attributes:
        hosts: The chain of each host.
        entries: The last entries by time, oldest first, as they stand, each with its ``host`` and ``sha256``.
        problem: What breaks a chain, or null; of that chain only what stands before is shown.
        exit_code: 0, or 41.
    """

    hosts: tuple[HostItem, ...]
    entries: tuple[dict[str, Any], ...]
    problem: str | None
    exit_code: Code

    @classmethod
    def about(
        cls, kept: Sequence[LedgerEntry], hosts: Mapping[str, int], this: str, problem: str | None
    ) -> LedgerShowDocument:
        """The document of entries.

        Args:
            kept: The entries, oldest first.
            hosts: How many each host has.
            this: This host's host-id.
            problem: What breaks a chain.
        """
        return cls(
            hosts=tuple(
                HostItem(host=host, entries=count, this=host == this) for host, count in hosts.items()
            ),
            entries=tuple({**item.document, "host": item.host, "sha256": item.digest} for item in kept),
            problem=problem,
            exit_code=Code.LEDGER_BROKEN if problem else Code.OK,
        )

    def lines(self, kept: Sequence[LedgerEntry]) -> list[str]:
        """What a person reads.

        Args:
            kept: The entries, oldest first.
        """
        several = len(self.hosts) > 1
        rows = [
            (
                *([item.host] if several else []),
                str(item.number),
                stamp(item.at),
                item.event,
                summary(item.details),
            )
            for item in kept
        ]
        headings = (*(["host"] if several else []), "entry", "at", "event", "what")
        return table(headings, rows) if rows else ["the ledger is empty"]


class MirrorItem(Part):
    """One mirror.

    Attributes:
        name: The target's name.
        kind: ``entries`` for whole entries, ``heads`` for numbers and digests.
        confirmed: The last entry of this host that it has confirmed.
        waiting: How many entries are not mirrored there yet.
        problem: What is wrong with it, or null.
    """

    name: str
    kind: str
    confirmed: int
    waiting: int
    problem: str | None


class HostHeadItem(Part):
    """The end of the chain of one host, as far as it is here.

    Attributes:
        host: Its host-id.
        head: The last entry.
    """

    host: str
    head: HeadItem


class LedgerSyncDocument(Document, schema="orgkey.ledger-sync/1", printed_by="orgkey ledger sync"):
    """How far the ledger and its mirrors are level.

    Attributes:
        host: This host's host-id; null before its first entry.
        head: The last entry of its chain.
        mirrors: The mirrors.
        hosts: The chain of each host that is here.
        exit_code: 24 while entries are not mirrored, 41 when a mirror is not believed; where no mirror could
            be asked, or one needs a change, that failure's code.
    """

    host: str | None
    head: HeadItem
    mirrors: tuple[MirrorItem, ...]
    hosts: tuple[HostHeadItem, ...]
    exit_code: Code

    def lines(self) -> list[str]:
        """What a person reads."""
        return table(
            ("mirror", "has", "up to", "waiting", ""),
            [
                (item.name, item.kind, str(item.confirmed), str(item.waiting), item.problem or "")
                for item in self.mirrors
            ],
        )


def summary(details: Mapping[str, Any]) -> str:
    """One line of an entry's details: what is short enough to be read."""
    parts = []
    for name, value in details.items():
        if value in (None, "", [], {}, False):
            continue
        text = ", ".join(map(str, value)) if isinstance(value, list | dict) else str(value)
        if isinstance(value, list) and any(isinstance(item, dict) for item in value):
            text = str(len(value))
        parts.append(f"{name}: {text if len(text) <= 60 else text[:59] + '…'}")
    return "; ".join(parts)
