"""`orgkey custody kit`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli import options
from pipeline.cli.options import Common
from pipeline.cli.output import printable, table
from pipeline.core.errors import Code, UsageProblem

if TYPE_CHECKING:
    from pipeline.workflows.kit.kit import Kit

PAPER = {"a4": "a4", "letter": "us-letter"}


def kit(
    out_dir: Annotated[Path, typer.Option("--out", metavar="DIR", help="The new folder.")],
    epoch: Annotated[
        str,
        typer.Option("--epoch", metavar="latest|ID", help="An epoch's name from `orgkey list`, or latest."),
    ] = "latest",
    no_bundle: Annotated[
        bool, typer.Option("--no-bundle", help="Leave out the offline bundle of this program.")
    ] = False,
    paper: Annotated[str, typer.Option("--paper", metavar="a4|letter", help="Size of the sheets.")] = "a4",
    config: options.ConfigFile = None,
    state_dir: options.StateDir = None,
    fingerprint: options.Fingerprint = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> Code:
    """Make a recovery kit: a sheet for each custodian, and a folder for the safe.

    Custodians get what their share is, whom to call and the exact commands; the safe gets a record, how to
    recover from it, and this program for a machine without network. Nothing in it is secret in the clear.
    """
    common = Common(config, state_dir, fingerprint, json, quiet, verbose)
    out = common.output()
    from pipeline.workflows.kit import kit as story

    if paper not in PAPER:
        raise UsageProblem(f"--paper {paper} is unknown", hint="it takes a4 or letter")
    context = common.context(out)
    made = story.make(
        context,
        out_dir,
        epoch=None if epoch == "latest" else epoch,
        with_bundle=not no_bundle,
        paper=PAPER[paper],
    )
    out.emit(_document(made), _lines(made))
    return Code.OK


def _document(made: Kit) -> dict[str, Any]:
    return {
        "schema": "orgkey.custody-kit/1",
        "epoch": made.epoch,
        "out": str(made.out),
        "custodians": [
            {
                "custodian": sheet.custodian,
                "name": sheet.name,
                "folder": sheet.folder,
                "paths": list(sheet.paths),
            }
            for sheet in made.sheets
        ],
        "wheels": made.wheels,
        "files": [{"name": name, "sha256": digest} for name, digest in made.files.items()],
    }


def _lines(made: Kit) -> list[str]:
    rows = [(printable(sheet.name), ", ".join(sheet.paths), sheet.folder) for sheet in made.sheets]
    lines = [f"kit of epoch {made.epoch} in {made.out}", ""]
    lines += [f"safe: {made.out / 'safe'}" + (f", with {made.wheels} wheels" if made.wheels else "")]
    if rows:
        lines += ["", *table(("custodian", "paths", "folder"), rows)]
        lines += ["", "print each sheet.pdf, and hand it over together with the folder"]
    return lines
