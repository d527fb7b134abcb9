"""Putting exports aside after their escrow is proven: moved, renamed, never deleted or overwritten."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pipeline.core import files
from pipeline.core.digest import sha256
from pipeline.core.errors import OrgkeyError
from pipeline.sources.file import read_export
from pipeline.sources.interface import STILL_A_KEY, SourceFile

_NOTE: Final = ".note"
_LONGEST: Final = 200  # bytes of a file's old name that are kept; most systems end at 255


def put_aside(
    items: Iterable[SourceFile], folder: Path, note: str, now: datetime, limit: int
) -> tuple[str, ...]:
    """Move files that still hold what was read from them.

    Args:
        items: The files; one that has changed since it was read stays where it is.
        folder: Where they go; made private if it is missing.
        note: What became of the export; written beside each.
        now: The time that their new names begin with.
        limit: Most bytes that a file may have.

    Returns:
        What to tell the operator.

    Raises:
        LocalFilesProblem: The folder or the files do not allow it; a file is then where it was, or
            under both names.
    """
    told = []
    for taken in items:
        path = taken.path
        if not _unchanged(taken, limit):
            told.append(f"{path} is gone or is not what was read any more: it was not touched")
            continue
        _private(folder)
        with files.os_errors(
            f"cannot move {path} to {folder}",
            hint="the escrow stands; move the file away by hand, or correct the permissions",
        ):
            new = _move(path, folder, now)
        fate = note if taken.used else f"passed over for another export of the same key, {note}"
        text = f"{path.name}: {fate}.\nThis is still a private key: {STILL_A_KEY}.\n"
        with suppress(OrgkeyError):  # the move is what counts, and the names say the same
            # A name from elsewhere may not be text.
            note_bytes = text.encode(errors="backslashreplace")
            files.write_new(new.with_name(new.name + _NOTE), note_bytes, mode=0o400)
        told.append(f"{path.name} was moved to {new}: {STILL_A_KEY}")
    return tuple(told)


def count_exports(folder: Path) -> int:
    """How many exports lie in a folder where they were put aside, without notes; 0 if it cannot be read."""
    try:
        return sum(path.is_file() and path.suffix != _NOTE for path in folder.iterdir())
    except OSError:
        return 0


def _unchanged(taken: SourceFile, limit: int) -> bool:
    try:
        return sha256(read_export(taken.path, limit, follow=False)[0]) == taken.digest
    except OrgkeyError:  # gone, or not a plain file any more
        return False


def _private(folder: Path) -> None:
    with files.os_errors(
        f"cannot use the folder {folder}",
        hint="the escrow stands; let the folder belong to this user, with mode 700",
    ):
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        if not folder.is_dir() or folder.is_symlink():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if status.st_uid == os.geteuid():
            folder.chmod(0o700)
        elif status.st_mode & 0o077:
            raise PermissionError(errno.EPERM, "it belongs to somebody else, and others can enter it")


def _move(path: Path, folder: Path, now: datetime) -> Path:
    """Give the file its new name without overwriting one, then take away the old name."""
    stamp = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    name = os.fsdecode(os.fsencode(path.name)[-_LONGEST:])
    for number in range(1000):
        new = folder / (f"{stamp}-{name}" if number == 0 else f"{stamp}-{number}-{name}")
        try:
            os.link(path, new, follow_symlinks=False)
            path.unlink()
        except FileExistsError:
            continue
        except OSError as error:
            # No hard links here, or not of somebody else's file (fs.protected_hardlinks).
            if error.errno not in files.NO_LINKS or os.path.lexists(new):
                raise
            path.rename(new)  # nobody else writes into this folder
        with suppress(PermissionError):  # an uploading account's file stays that account's
            new.chmod(0o400)
        files.fsync_directory(folder)
        files.fsync_directory(path.parent)
        return new
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
