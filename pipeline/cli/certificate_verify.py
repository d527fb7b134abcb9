"""`orgkey certificate verify`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pipeline.cli import options
from pipeline.cli.output import Output, printable, spaced
from pipeline.core.errors import Code, IntegrityProblem, NotPinned, UsageProblem

if TYPE_CHECKING:
    from pipeline.evidence.verify import Checked

SECONDS: Final = 60.0
CODES: Final = {"PASSED": Code.OK, "WARNED": Code.DEGRADED, "FAILED": Code.PROOF_FAILED}


def verify(
    certificate: Annotated[
        Path, typer.Argument(metavar="FILE", help="The statement (.json); the signatures lie beside it.")
    ],
    public: Annotated[
        Path,
        typer.Option("--public", metavar="FILE", help="The Org Key's public part, from a place you trust."),
    ],
    fingerprint: Annotated[
        str | None,
        typer.Option("--fingerprint", metavar="FPR", help="The fingerprint that this key must have."),
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option("--record", metavar="FILE", help="The record: is it the one that was drilled?"),
    ] = None,
    nonce: Annotated[
        str | None, typer.Option("--nonce", metavar="TEXT", help="The nonce that you gave for the drill.")
    ] = None,
    timestamp_ca: Annotated[
        Path | None,
        typer.Option(
            "--timestamp-ca", metavar="FILE", help="The time-stamp authority's CA certificates, PEM."
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="A configuration; its pins say who may have signed."),
    ] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> Code:
    """Check a drill certificate. Needs no state and no network, and a configuration only for its pins.

    Exit code 0: both signatures hold, and the drill passed; 24: it passed with a warning; 30: a proof failed
    in it. 23: something was changed, or does not belong together; 14: another key signed.
    """
    out = options.Common(None, None, fingerprint, json, quiet, verbose).output()
    from pipeline import config as settings
    from pipeline.core.clock import Deadline
    from pipeline.evidence import timestamp
    from pipeline.evidence import verify as checking
    from pipeline.wiring import factory as wiring

    given = settings.load(config) if config else None
    pin = wiring.pinned(given, fingerprint)
    pins = {pin} if fingerprint or not given or not given.key else {pin, *given.key.former}
    found = checking.check(
        certificate,
        _file(public),
        trusted=timestamp.roots(timestamp_ca) if timestamp_ca else None,
        deadline=Deadline(SECONDS),
        now=datetime.now(UTC),
    )
    if pin is not None and found.fingerprint not in pins:
        raise NotPinned(
            f"it was signed by {found.fingerprint}, not by {pin}", hint="whose public key is that?"
        )
    if nonce is not None and found.nonce != nonce:
        raise IntegrityProblem("it has another nonce", hint="it is not of the drill that you asked for")
    if timestamp_ca is not None and found.stamped.state != "stamped":
        raise IntegrityProblem(
            "it has no time-stamp", hint="ask for its .tsr file, or leave --timestamp-ca out"
        )
    if record is not None:
        _belongs(found, record)
    code = CODES.get(found.result)
    if code is None:
        raise IntegrityProblem(
            f"its result is {printable(found.result)!r}", hint="it is not a drill certificate"
        )
    _tell(out, found, record is not None, pin is not None, code)
    return code


def _belongs(found: Checked, path: Path) -> None:
    """Whether the certificate is of this record, and its witness the one that the record names."""
    from pipeline.core.clock import Deadline
    from pipeline.record.verify import open_record
    from pipeline.report.certificates import of_record

    assert found.fingerprint is not None
    record = open_record(_file(path), found.fingerprint, deadline=Deadline(SECONDS), now=datetime.now(UTC))
    if record.sha256.hex != found.record_sha256:
        raise IntegrityProblem(
            "the certificate is about another record", hint=f"it is about epoch {printable(found.epoch)}"
        )
    of_record(found, record)


def _file(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(16 << 20)
    except OSError as error:
        raise UsageProblem(f"cannot read {path}: {error.strerror or error}", hint="check the path") from error


def _tell(out: Output, found: Checked, with_record: bool, with_pin: bool, code: Code) -> None:
    from pipeline.core.clock import stamp

    told: dict[str, Any] = {
        "schema": "orgkey.certificate-verify/1",
        "fingerprint": found.fingerprint,
        "epoch": found.epoch,
        "record_sha256": found.record_sha256,
        "result": found.result,
        "failed": list(found.failed),
        "warned": list(found.warned),
        "at": stamp(found.at),
        "nonce": found.nonce,
        "witness": "the record's" if with_record else "its own",
        "timestamp": {
            "state": found.stamped.state,
            "at": stamp(found.stamped.at) if found.stamped.at else None,
            "checked": found.stamped.at is not None and found.stamped.reason is None,
        },
        "ledger_head": {"sequence": found.head, "sha256": found.digest},
        "exit_code": int(code),
    }
    lines = [
        f"result      {found.result}"
        + (f": {', '.join(map(printable, found.failed or found.warned))}" if code else ""),
        f"signed by   {spaced(found.fingerprint or '')}"
        + ("" if with_pin else "  (compare it: no --fingerprint was given)"),
        "witness     "
        + ("the one of the record" if with_record else "signature holds; give --record to compare"),
        f"record      {found.record_sha256}",
        f"epoch       {printable(found.epoch)}",
        f"drilled     {stamp(found.at)} by the host's clock",
        f"nonce       {printable(found.nonce)}",
        f"time-stamp  {_stamped(found)}",
        f"ledger      entry {found.head}, {found.digest}",
    ]
    out.emit(told, lines)


def _stamped(found: Checked) -> str:
    from pipeline.core.clock import stamp

    if found.stamped.at is None:
        return found.stamped.state
    checked = "checked" if found.stamped.reason is None else "NOT checked: give --timestamp-ca"
    return f"{stamp(found.stamped.at)} ({checked})"
