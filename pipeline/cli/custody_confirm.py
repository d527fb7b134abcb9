"""`orgkey custody confirm`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli import options
from pipeline.cli.options import Common
from pipeline.cli.output import printable
from pipeline.core.errors import Code, UsageProblem

if TYPE_CHECKING:
    from pipeline.workflows.checkin import Seat


def confirm(
    codes: Annotated[
        list[str] | None, typer.Argument(metavar="CODE...", help="What custodians answered.")
    ] = None,
    config: options.ConfigFile = None,
    state_dir: options.StateDir = None,
    fingerprint: options.Fingerprint = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> Code:
    """Enter the codes that custodians answered to a challenge.

    Each code proves one share and counts once. Upper or lower case, with or without hyphens.
    """
    common = Common(config, state_dir, fingerprint, json, quiet, verbose)
    out = common.output()
    from pipeline.core import passphrases as inputs
    from pipeline.workflows import checkin

    given = list(codes or ())
    if not given and inputs.interactive():
        given = str(typer.prompt("Code", err=True)).split()
    if not given:
        raise UsageProblem("no code is given", hint="orgkey custody confirm CODE")
    context = common.context(out)
    found = checkin.confirm(context, given)
    out.emit(_document(found), [_line(seat) for seat in found])
    return Code.OK


def _document(found: list[Seat]) -> dict[str, Any]:
    return {
        "schema": "orgkey.custody-confirm/1",
        "epoch": found[0].record.epoch,
        "confirmed": [
            {
                "custodian": seat.share.label,
                "name": seat.name,
                "path": seat.path.name,
                "holder": seat.share.holder,
                "index": seat.share.index,
            }
            for seat in found
        ],
    }


def _line(seat: Seat) -> str:
    return (
        f"checked in: {printable(seat.name)} ({seat.share.label}), {seat.place} of epoch {seat.record.epoch}"
    )
