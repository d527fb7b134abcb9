"""`orgkey list`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline.cli import options
from pipeline.cli.options import Common
from pipeline.cli.output import spaced, table
from pipeline.errors import Code, first_of

if TYPE_CHECKING:
    from pipeline.survey import Copy, Survey


def list_epochs(
    config: options.ConfigFile = None,
    state_dir: options.StateDir = None,
    fingerprint: options.Fingerprint = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> Code:
    """Show epochs, copies, versions and states.

    Of the pinned key and of former Org Keys, which old backups still need.
    """
    common = Common(config, state_dir, fingerprint, json, quiet, verbose)
    out = common.output()
    context = common.context(out)
    from pipeline import overview

    surveys = overview.all_keys(context)
    for item in surveys:
        for error in item.unreachable.values():
            out.warn(error.message)
    for problem in overview.replication_problems(surveys, context.clock.now()):
        out.warn(problem)
    out.emit(document(surveys, "orgkey.list/1"), lines(surveys))
    return first_of(error.code for item in surveys for error in item.unreachable.values())


def document(surveys: Sequence[Survey], schema: str) -> dict[str, Any]:
    """The documents orgkey.list/1 and orgkey.verify/1."""
    from pipeline.overview import copies_json

    return {
        "schema": schema,
        "epochs": [
            {
                "epoch": epoch.name,
                "fingerprint": epoch.fingerprint,
                "state": str(epoch.state),
                "authentic": epoch.record is not None,
                "copies": copies_json(epoch.copies),
            }
            for item in surveys
            for epoch in item.epochs
        ],
        "unreachable": {
            name: {"code": int(error.code), "message": error.message}
            for item in surveys
            for name, error in item.unreachable.items()
        },
    }


def lines(surveys: Sequence[Survey]) -> list[str]:
    """What a person reads."""
    shown: list[str] = []
    for item in surveys:
        shown.append(f"key {spaced(item.fingerprint)}")
        if not item.epochs:
            shown.append("  nothing is stored")
        rows = [
            (
                epoch.name if index == 0 else "",
                str(epoch.state) if index == 0 else "",
                copy.target,
                copy.version or "-",
                copy.sha256.hex[:16] if copy.sha256 else "-",
                "good" if copy.ok else "BAD",
                "; ".join(filter(None, (copy.problem, _replication(copy)))),
            )
            for epoch in item.epochs
            for index, copy in enumerate(epoch.copies)
        ]
        if rows:
            headings = ("epoch", "state", "copy", "version", "sha256", "", "")
            shown += ["  " + line for line in table(headings, rows)]
        shown.append("")
    return shown


def _replication(copy: Copy) -> str | None:
    return f"replication {copy.replication.status.lower()}" if copy.replication else None
