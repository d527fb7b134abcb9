"""`orgkey backups map`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from pipeline.cli import completion
from pipeline.cli.command import COPY_CODES, Invocation, arg, command
from pipeline.cli.documents.backups import BackupItem, BackupsMapDocument
from pipeline.cli.output import spaced, table
from pipeline.core.errors import Code

if TYPE_CHECKING:
    from pipeline.workflows.backups.backup_map import Backup

PLACES: Final[Any] = arg(
    "[PLACE]...",
    "Files, folders, s3://bucket/prefix, names in [backups], or - for standard input; all of [backups] when "
    "none is given.",
    autocompletion=completion.BACKUPS,
)


@command("orgkey backups map /srv/backups", (*COPY_CODES, Code.STALE))
def map_(call: Invocation, places: list[str] | None = PLACES) -> Code:
    """Say which escrowed key each backup is for, without decrypting.

    Found by the recipients' key ids. Backups that are for no escrowed key come first, and are exit code 40:
    the key that they need was never escrowed.
    """
    from pipeline.workflows.backups import backup_map

    context = call.context()
    sources = context.backends("driller").backups(places or (), whole=False)
    surveys = context.catalogs()
    missed = backup_map.missing(surveys)
    backups = backup_map.map_backups(sources, backup_map.escrowed(surveys), missed)
    code = backup_map.exit_code([backup.code for backup in backups], missed)
    if not backups:
        code = Code.STALE
        call.out.warn("no backup is there")
    context.note_event(backup_map.event(backups, code))
    document = BackupsMapDocument(backups=BackupItem.all(backups), exit_code=code)
    return call.answer(document, [*lines(backups), "", f"exit code {int(code)}: {code.meaning}"])


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
        "known from key ids alone, nothing was opened: `orgkey backups verify` opens them",
    ]
