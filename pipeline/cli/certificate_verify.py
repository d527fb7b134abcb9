"""`orgkey certificate verify`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pipeline import config as configuration
from pipeline.cli import completion
from pipeline.cli.command import SPEAKING, WHERE, Invocation, arg, command, opt
from pipeline.cli.documents.evidence import CertificateVerifyDocument
from pipeline.cli.output import printable
from pipeline.core import files
from pipeline.core.clock import Deadline
from pipeline.core.errors import Code, IntegrityProblem, NotPinned, UsageProblem
from pipeline.evidence import timestamp
from pipeline.evidence import verify as checking
from pipeline.evidence.verify import Checked
from pipeline.record.verify import verify_record
from pipeline.report.certificates import of_record
from pipeline.wiring import factory

SECONDS: Final = 60.0
LARGEST: Final = 16 << 20
CODES: Final = {"PASSED": Code.OK, "WARNED": Code.DEGRADED, "FAILED": Code.PROOF_FAILED}


@command(
    "orgkey certificate verify drill.json --public orgkey.asc",
    (Code.NOT_PINNED, Code.INTEGRITY, Code.DEGRADED, Code.PROOF_FAILED),
    shared=SPEAKING,
)
def verify(
    call: Invocation,
    certificate: Path = arg(
        "FILE", "The statement (.json); the signatures are beside it.", autocompletion=completion.CERTIFICATES
    ),
    public: Path = opt("--public", "The Org Key's public part, from a place you trust.", "FILE", WHERE),
    fingerprint: str | None = opt("--fingerprint", "The fingerprint that this key must have.", "FPR"),
    record: Path | None = opt("--record", "The record: is it the one that was drilled?", "FILE", WHERE),
    nonce: str | None = opt("--nonce", "The nonce that you gave for the drill.", "TEXT"),
    timestamp_ca: Path | None = opt(
        "--timestamp-ca", "The time-stamp authority's CA certificates, PEM.", "FILE"
    ),
    config: Path | None = opt("--config", "A configuration; its pins say who may have signed.", "FILE"),
) -> Code:
    """Check a drill certificate. Needs no state and no network, and a configuration only for its pins.

    Exit code 0: both signatures hold, and the drill passed; 24: it passed with a warning; 30: a proof failed
    in it. 23: something was changed, or does not belong together; 14: another key signed.
    """
    given = configuration.load(config) if config else None
    pin = factory.pinned(given, fingerprint)
    pins = {pin} if fingerprint or not given or not given.key else {pin, *given.key.former}
    checked = checking.check(
        certificate,
        files.read_named(public, LARGEST, UsageProblem),
        trusted=timestamp.roots(timestamp_ca) if timestamp_ca else None,
        deadline=Deadline(SECONDS),
        now=datetime.now(UTC),
    )
    if pin is not None and checked.fingerprint not in pins:
        raise NotPinned(
            f"it was signed by {checked.fingerprint}, not by {pin}", hint="find out whose public key that is"
        )
    if nonce is not None and checked.nonce != nonce:
        raise IntegrityProblem(
            "it has another nonce", hint="it is not the certificate of the drill that you asked for"
        )
    if timestamp_ca is not None and checked.stamped.state != "stamped":
        raise IntegrityProblem(
            "it has no time-stamp", hint="ask for its .tsr file, or leave --timestamp-ca out"
        )
    if record is not None:
        _belongs(checked, record)
    code = CODES.get(checked.result)
    if code is None:
        raise IntegrityProblem(
            f"its result is {printable(checked.result)!r}", hint="it is not a drill certificate"
        )
    document = CertificateVerifyDocument.about(checked, code, with_record=record is not None)
    return call.answer(document, document.lines(with_pin=pin is not None))


def _belongs(checked: Checked, path: Path) -> None:
    """Whether the certificate is of this record, and its witness the one that the record names."""
    assert checked.fingerprint is not None
    data = files.read_named(path, LARGEST, UsageProblem)
    record = verify_record(data, checked.fingerprint, deadline=Deadline(SECONDS), now=datetime.now(UTC))
    if record.sha256.hex != checked.record_sha256:
        raise IntegrityProblem(
            "the certificate is about another record", hint=f"it is about epoch {printable(checked.epoch)}"
        )
    of_record(checked, record)
