"""`orgkey custody confirm`."""

from __future__ import annotations

import typer

from pipeline.cli.command import COPY_CODES, Invocation, arg, command
from pipeline.cli.documents.custody import CustodyConfirmDocument
from pipeline.cli.output import printable
from pipeline.core import passphrases
from pipeline.core.errors import Code, UsageProblem
from pipeline.custody.shares.commitments import typed_codes
from pipeline.workflows import checkin


@command("orgkey custody confirm CODE", (*COPY_CODES, Code.WRONG_SHARE))
def confirm(
    call: Invocation,
    codes: list[str] | None = arg("CODE...", "What custodians answered."),
) -> Code:
    """Enter the codes that custodians answered to a challenge.

    Each code proves one share and counts once. Upper or lower case, with hyphens, spaces or neither.
    """
    typed = " ".join(codes or ())
    if not typed and passphrases.answerable():
        typed = typer.prompt("Code", err=True)
    if not (given := typed_codes(typed)):
        raise UsageProblem("no code is given", hint="orgkey custody confirm CODE")
    seats = checkin.confirm(call.context(), given)
    document = CustodyConfirmDocument.of(epoch=seats[0].record.epoch, confirmed=seats)
    lines = [
        f"checked in: {printable(seat.name)} ({seat.share.label}), {seat.place} of epoch {seat.record.epoch}"
        for seat in seats
    ]
    return call.answer(document, lines)
