"""`orgkey backups map`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli import options
from pipeline.cli.options import Common
from pipeline.cli.output import spaced, table
from pipeline.core.errors import Code

if TYPE_CHECKING:
    from pipeline.workflows.backups.map import Backup

Places = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[PLACE]...",
        help="Files, folders, s3://bucket/prefix, names in [backups], or - for standard input; "
        "all of [backups] when none is given.",
    ),
]


def map_backups(
    places: Places = None,
    config: options.ConfigFile = None,
    state_dir: options.StateDir = None,
    fingerprint: options.Fingerprint = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> Code:
    """Say which escrowed key each backup is for, without decrypting.

    Told from the recipients' key ids. Backups that are for no escrowed key come first, and are exit code 40:
    the key that they need was never escrowed.
    """
    common = Common(config, state_dir, fingerprint, json, quiet, verbose)
    out = common.output()
    context = common.context(out)
    from pipeline.archive import overview
    from pipeline.workflows.backups import map as coverage

    sources = context.estate("driller").backups(places or (), whole=False)
    surveys = overview.all_keys(context)
    keys = coverage.escrowed(surveys)
    missed = coverage.missing(surveys)
    found = coverage.cover(sources, keys, missed)
    code = coverage.judged([backup.code for backup in found], missed)
    if not found:
        code = Code.STALE
        out.warn("no backup is there")
    context.note_event("backups-map", coverage.event(found) | {"code": int(code)})
    document = {"schema": "orgkey.backups-map/1", "backups": backups_json(found), "exit_code": int(code)}
    out.emit(document, [*lines(found), "", f"exit code {int(code)}: {code.meaning}"])
    return code


def backups_json(found: Sequence[Backup]) -> list[dict[str, Any]]:
    """Backups as the documents of `backups map` and `status` have them."""
    return [
        {
            "source": backup.source.name,
            "bytes": backup.source.size,
            "key_ids": list(backup.head.key_ids) if backup.head else [],
            "fingerprint": backup.key.fingerprint if backup.key else None,
            "epoch": backup.key.epoch.name if backup.key else None,
            "proven": backup.key.proven if backup.key else None,
            "problem": backup.problem,
        }
        for backup in found
    ]


def lines(found: Sequence[Backup]) -> list[str]:
    """What a person reads."""
    rows = [
        (
            backup.source.name,
            "NONE" if backup.code is Code.STALE else "yes" if backup.key else "UNKNOWN",
            f"{backup.key.epoch.name} ({'proven' if backup.key.proven else 'not proven'})"
            if backup.key
            else backup.problem or "-",
        )
        for backup in found
    ]
    keys = {backup.key.fingerprint for backup in found if backup.key}
    return [
        *table(("backup", "escrowed key", "epoch"), rows),
        *(f"key {spaced(key)}" for key in sorted(keys)),
        "told from key ids alone, nothing was opened: `orgkey backups verify` opens them",
    ]
