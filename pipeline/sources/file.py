"""An export in a file that the operator names, or on standard input."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from pipeline.core import files, passphrases
from pipeline.core.clock import Deadline
from pipeline.core.digest import sha256
from pipeline.core.errors import LocalFilesProblem, NotAKey
from pipeline.core.text import shell_word
from pipeline.sources.interface import LARGEST, STILL_A_KEY, Export, SourceFile

STANDARD_INPUT: Final = Path("-")


def read_export(
    path: Path, limit: int, *, follow: bool = True, hint: str = "name the exported file"
) -> tuple[bytes, os.stat_result]:
    """Read a whole regular file, and make sure that it did not change meanwhile.

    Args:
        path: The file.
        limit: Most bytes that it may have.
        follow: Whether a symbolic link is followed; not in a folder that others drop files into.
        hint: What to do where it is not a regular file.

    Returns:
        Its bytes, and what the system said of it.

    Raises:
        LocalFilesProblem: It cannot be read, is not a regular file, or changed.
        NotAKey: It is larger than ``limit``.
    """
    with files.os_errors(f"cannot read {path}"), files.open_regular(path, follow=follow) as stream:
        if stream is None:
            raise LocalFilesProblem(f"{path} is not a regular file", hint=hint)
        before = os.fstat(stream.fileno())
        if before.st_size > limit:
            raise too_large(str(path), limit)
        data = stream.read(limit + 1)
        after = os.fstat(stream.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or len(
        data
    ) != before.st_size:
        raise LocalFilesProblem(
            f"{path} changed while it was read", hint="wait until it is written completely"
        )
    return data, before


def too_large(origin: str, limit: int) -> NotAKey:
    """The error for something that has more bytes than an export can have."""
    return NotAKey(
        f"{origin} has more than {limit} bytes, which is not a keypair export",
        hint="a large file is a server backup, perhaps: export the keypair under Keys > Organization Keys",
    )


class FileSource:
    """Reads one file.

    Args:
        path: The file; ``-`` is standard input.
        limit: Most bytes that it may have.
    """

    kind = "file"

    def __init__(self, path: Path, limit: int = LARGEST) -> None:
        self._path = path
        self._limit = limit

    def fetch(self, deadline: Deadline) -> Export:
        """Read the file; see :class:`pipeline.sources.interface.ExportSource`."""
        deadline.check()
        if self._path == STANDARD_INPUT:
            return self._standard_input()
        data, facts = read_export(
            self._path, self._limit, hint="name the exported file; to pipe one in, give -"
        )
        notes: tuple[str, ...] = ()
        if facts.st_mode & 0o077:
            notes = (f"{self._path} can be read by others: chmod 600 {shell_word(self._path)}",)
        return Export(data, str(self._path), notes, (SourceFile(self._path, sha256(data)),))

    def _standard_input(self) -> Export:
        data = passphrases.standard_input(self._limit + 1, "the export")
        if len(data) > self._limit:
            raise too_large("standard input", self._limit)
        return Export(data, "standard input")

    def finish(self, export: Export, note: str) -> tuple[str, ...]:
        """Leave the file where it is, and say that it is still a key."""
        return tuple(f"{taken.path} stays where it is: {STILL_A_KEY}" for taken in export.files)
