"""Documents of evidence: `certificate verify`, `certificate stamp`, the commands of `ledger`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from pipeline.cli.output import counted, printable, spaced, table
from pipeline.core.clock import stamp
from pipeline.core.documents import Document, Part, at
from pipeline.core.errors import Code
from pipeline.evidence.ledger.store import LedgerEntry
from pipeline.evidence.verify import Checked


class TimestampItem(Part):
    """A certificate's time-stamp.

    Attributes:
        state: ``none``, ``pending`` or ``stamped``.
        at: The stamped time, or null.
        checked: Whether its signature was checked.
    """

    state: str
    at: datetime | None
    checked: bool


class HeadItem(Part):
    """An entry of a host's chain.

    Attributes:
        sequence: Its number.
        sha256: Its SHA-256.
    """

    sequence: int
    sha256: str = at("digest.hex")


class CertificateVerifyDocument(Document, printed_by="orgkey certificate verify"):
    """What a certificate says, and what of it holds.

    Attributes:
        fingerprint: Whose key signed.
        epoch: The epoch that was drilled.
        record_sha256: The record that was drilled.
        result: ``PASSED``, ``WARNED`` or ``FAILED``.
        failed: The proofs that failed.
        warned: Copies and paths that passed with a warning.
        at: When the drill was held, by the host's clock.
        nonce: As the certificate has it.
        witness: ``the record's`` where a record was given and names it, else ``its own``.
        timestamp: The time-stamp.
        ledger_head: The entry that it vouches for.
        exit_code: 0, 24 or 30, by the result.
    """

    fingerprint: str | None
    epoch: str
    record_sha256: str
    result: str
    failed: tuple[str, ...]
    warned: tuple[str, ...]
    at: datetime
    nonce: str
    witness: str
    timestamp: TimestampItem
    ledger_head: HeadItem
    exit_code: Code

    @classmethod
    def about(cls, checked: Checked, code: Code, *, with_record: bool) -> CertificateVerifyDocument:
        """The document of a certificate.

        Args:
            checked: What was found.
            code: What its result stands for.
            with_record: Whether its record was compared.
        """
        stamped = checked.stamped
        return cls.of(
            checked,
            witness="the record's" if with_record else "its own",
            timestamp=TimestampItem.of(stamped, checked=stamped.at is not None and stamped.reason is None),
            ledger_head=HeadItem(sequence=checked.head, sha256=checked.digest),
            exit_code=code,
        )

    def lines(self, *, with_pin: bool = True) -> list[str]:
        """What a person reads.

        Args:
            with_pin: Whether its fingerprint was compared.
        """
        reasons = ", ".join(map(printable, self.failed or self.warned))
        compared = self.witness == "the record's"
        witness = "the one of the record" if compared else "signature holds; give --record to compare"
        time = self.timestamp
        checked = "checked" if time.checked else "NOT checked: give --timestamp-ca"
        stamped = f"{stamp(time.at)} ({checked})" if time.at else time.state
        return [
            f"result      {self.result}" + (f": {reasons}" if self.exit_code else ""),
            f"signed by   {spaced(self.fingerprint or '')}"
            + ("" if with_pin else "  (compare it: no --fingerprint was given)"),
            f"witness     {witness}",
            f"record      {self.record_sha256}",
            f"epoch       {printable(self.epoch)}",
            f"drilled     {stamp(self.at)} by the host's clock",
            f"nonce       {printable(self.nonce)}",
            f"time-stamp  {stamped}",
            f"ledger      entry {self.ledger_head.sequence}, {self.ledger_head.sha256}",
        ]


class CertificateStampDocument(Document, printed_by="orgkey certificate stamp"):
    """What became of the certificates that waited for a time-stamp.

    Attributes:
        stamped: Certificates that were stamped now.
        pending: Those that still wait.
        problem: Why, or null.
        exit_code: 20 while one waits.
    """

    stamped: tuple[str, ...]
    pending: tuple[str, ...]
    problem: str | None
    exit_code: Code

    def lines(self, reasons: Sequence[str] = ()) -> list[str]:
        """What a person reads.

        Args:
            reasons: Why some still wait.
        """
        lines = [f"stamped {path}" for path in self.stamped] + [f"pending {path}" for path in self.pending]
        return [*lines, *reasons] or ["no certificate waits for a time-stamp"]


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
            f"  chained  {counted(self.entries, 'entry')}",
            f"  head     {self.head.sequence}:{self.head.sha256}",
        ]
        if self.anchored_to:
            later = f"; later entries unauthenticated: {self.unauthenticated}" if self.unauthenticated else ""
            shown.append(f"  anchored to {self.anchored_to}, by {self.anchored_by}{later}")
        else:
            shown.append("  anchored to 0, nothing outside the folder vouches for it")
        return [*shown, f"  BROKEN   at entry {self.first_bad}: {self.problem}"] if self.problem else shown


class LedgerVerifyDocument(Document, printed_by="orgkey ledger verify"):
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

    folder: Path
    fingerprint: str | None
    hosts: tuple[VerifiedHostItem, ...] = at("chains")
    ok: bool
    problem: str | None
    notes: tuple[str, ...]
    exit_code: Code

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


class LedgerShowDocument(Document, printed_by="orgkey ledger show"):
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

    def lines(self, kept: Sequence[LedgerEntry] = ()) -> list[str]:
        """What a person reads.

        Args:
            kept: The entries, oldest first.
        """
        several = len(self.hosts) > 1
        rows = [
            (item.host, str(item.number), stamp(item.at), item.event, summary(item.details)) for item in kept
        ]
        headings = ("host", "entry", "at", "event", "what")
        shown = table(headings, rows) if several else table(headings[1:], [row[1:] for row in rows])
        return shown if rows else ["the ledger is empty"]


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


class LedgerSyncDocument(Document, printed_by="orgkey ledger sync"):
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
