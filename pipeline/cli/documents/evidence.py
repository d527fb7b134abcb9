"""Documents of evidence: `certificate verify`, `certificate stamp`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from pipeline.cli.documents import Document, Part
from pipeline.cli.output import printable, spaced
from pipeline.core.clock import stamp
from pipeline.core.errors import Code

if TYPE_CHECKING:
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
    sha256: str


class CertificateVerifyDocument(
    Document, schema="orgkey.certificate-verify/1", printed_by="orgkey certificate verify"
):
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
            failed=tuple(checked.failed),
            warned=tuple(checked.warned),
            witness="the record's" if with_record else "its own",
            timestamp=TimestampItem.of(stamped, checked=stamped.at is not None and stamped.reason is None),
            ledger_head=HeadItem(sequence=checked.head, sha256=checked.digest),
            exit_code=code,
        )

    def lines(self, *, with_record: bool, with_pin: bool) -> list[str]:
        """What a person reads.

        Args:
            with_record: Whether its record was compared.
            with_pin: Whether its fingerprint was compared.
        """
        reasons = ", ".join(map(printable, self.failed or self.warned))
        time = self.timestamp
        stamped = time.state
        if time.at is not None:
            stamped = (
                f"{stamp(time.at)} ({'checked' if time.checked else 'NOT checked: give --timestamp-ca'})"
            )
        return [
            f"result      {self.result}" + (f": {reasons}" if self.exit_code else ""),
            f"signed by   {spaced(self.fingerprint or '')}"
            + ("" if with_pin else "  (compare it: no --fingerprint was given)"),
            "witness     "
            + ("the one of the record" if with_record else "signature holds; give --record to compare"),
            f"record      {self.record_sha256}",
            f"epoch       {printable(self.epoch)}",
            f"drilled     {stamp(self.at)} by the host's clock",
            f"nonce       {printable(self.nonce)}",
            f"time-stamp  {stamped}",
            f"ledger      entry {self.ledger_head.sequence}, {self.ledger_head.sha256}",
        ]


class CertificateStampDocument(
    Document, schema="orgkey.certificate-stamp/1", printed_by="orgkey certificate stamp"
):
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

    def lines(self, reasons: list[str]) -> list[str]:
        """What a person reads.

        Args:
            reasons: Why some still wait.
        """
        lines = [f"stamped {path}" for path in self.stamped] + [f"pending {path}" for path in self.pending]
        return [*lines, *reasons] or ["no certificate waits for a time-stamp"]
