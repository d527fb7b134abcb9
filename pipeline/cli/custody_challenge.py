"""`orgkey custody challenge`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli import options
from pipeline.cli.options import Common
from pipeline.cli.output import printable, table
from pipeline.core.errors import Code, LocalFilesProblem

if TYPE_CHECKING:
    from pipeline.custody.custodians.challenge import Challenge


def challenge(
    out_dir: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for one file for each custodian.")
    ] = Path(),
    custodian: Annotated[
        list[str] | None,
        typer.Option("--custodian", metavar="FPR|NAME", help="Only this custodian; repeatable."),
    ] = None,
    new: Annotated[
        bool, typer.Option("--new", help="Ask for other codes where a challenge is still open.")
    ] = False,
    config: options.ConfigFile = None,
    state_dir: options.StateDir = None,
    fingerprint: options.Fingerprint = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> Code:
    """Ask custodians to prove that they still have good shares, without showing them.

    Writes a file for each custodian, to be sent by mail: nothing in it is secret. They answer it with
    `orgkey custody check`, and what they answer is entered with `orgkey custody confirm`.
    """
    common = Common(config, state_dir, fingerprint, json, quiet, verbose)
    out = common.output()
    from pipeline.core import files
    from pipeline.workflows import checkin

    context = common.context(out)
    if not out_dir.is_dir():
        raise LocalFilesProblem(f"{out_dir} is not a folder", hint="make it first, or name another one")
    made = checkin.challenge(context, custodian or (), new=new)
    paths = []
    for item in made:
        path = out_dir / f"challenge-{item.epoch}-{_short(item.custodian)}.json"
        files.replace(path, item.to_bytes(), mode=0o644)
        paths.append(path)
    out.emit(_document(made, paths), _lines(made, paths))
    return Code.OK


def _short(custodian: str) -> str:
    """Part of a file's name: the end of a fingerprint."""
    return "".join(char for char in custodian if char.isalnum())[-16:]


def _document(made: list[Challenge], paths: list[Path]) -> dict[str, Any]:
    return {
        "schema": "orgkey.custody-challenge/1",
        "epoch": made[0].epoch,
        "challenges": [
            {
                "custodian": item.custodian,
                "name": item.name,
                "file": str(path),
                "shares": [
                    {"path": asked.path, "holder": asked.holder, "index": asked.index, "number": asked.number}
                    for asked in item.shares
                ],
            }
            for item, path in zip(made, paths, strict=True)
        ],
    }


def _lines(made: list[Challenge], paths: list[Path]) -> list[str]:
    rows = [
        (printable(item.name), item.custodian, str(len(item.shares)), str(path))
        for item, path in zip(made, paths, strict=True)
    ]
    return [
        f"epoch {made[0].epoch}",
        "",
        *table(("custodian", "certificate", "shares", "file to send"), rows),
        "",
        "each of them runs: orgkey custody check --challenge FILE",
        "enter what they answer: orgkey custody confirm CODE",
    ]
