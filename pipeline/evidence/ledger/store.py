"""The ledger: a hash-chained log, one file an entry, of what was done and what failed.

``<state>/<FINGERPRINT>/ledger/<number>.json``; see :mod:`pipeline.evidence.ledger.entry` for an entry. A file
is created, never replaced: two writers cannot take one number. What lost its number to another host's entry
is kept below ``forks/``.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from pipeline.core import files
from pipeline.core.digest import sha256
from pipeline.core.errors import LedgerBroken, LocalFilesProblem
from pipeline.evidence.ledger import entry as chain
from pipeline.evidence.ledger.entry import SCHEMA as SCHEMA
from pipeline.evidence.ledger.entry import START, Malformed
from pipeline.evidence.ledger.entry import Head as Head

FORKS: Final = "forks"
WAITING: Final = "waiting"
"""Below ``forks/``: entries that still have to be written again behind the chain that was adopted."""

_ATTEMPTS = 50
_ENTRY = re.compile(r"[0-9]{9,}\.json", re.ASCII)
ASIDE: Final = re.compile(r"([0-9]{9,18})-[0-9a-f]{16}\.json", re.ASCII)
"""A file of an entry below ``forks/``: its number, and the beginning of its SHA-256."""


class Ledger:
    """The log of one key on this host.

    Args:
        root: The key's state directory, ``<state>/<FINGERPRINT>``.
        fingerprint: The key's fingerprint, 40 upper-case hexadecimal digits.
    """

    def __init__(self, root: Path, fingerprint: str) -> None:
        self.directory = root / "ledger"
        self.fingerprint = fingerprint
        self._root = root

    def head(self) -> Head:
        """The last entry and its digest.

        Raises:
            LedgerBroken: The last entry is no file.
            LocalFilesProblem: It cannot be read.
        """
        last = max((int(path.stem) for path in self._paths()), default=0)
        return self.at(last)

    def at(self, number: int) -> Head:
        """The chain's end as it was behind this entry.

        Raises:
            LedgerBroken: The entry is no file.
            LocalFilesProblem: It cannot be read.
        """
        return START if number == 0 else Head(number, sha256(self.read(number)))

    def read(self, number: int) -> bytes:
        """An entry's bytes.

        Raises:
            LedgerBroken: The entry is no file.
            LocalFilesProblem: It cannot be read.
        """
        return read_entry(self._path(number))

    def append(self, event: str, details: Mapping[str, Any], *, now: datetime, run: str) -> Head:
        """Write one entry, on this host only.

        Args:
            event: What happened, for example ``escrow`` or ``drill``.
            details: JSON values; never a secret.
            now: When.
            run: The correlation id of the run.

        Returns:
            The new head.

        Raises:
            LocalFilesProblem: The entry cannot be written. Evidence that cannot be kept is a failure.
            LedgerBroken: What it is to be chained to is no file.
        """
        for _ in range(_ATTEMPTS):
            before = self.head()
            entry = chain.write(before, self.fingerprint, event, details, now=now, run=run)
            if self.add(before.sequence + 1, entry):
                return Head(before.sequence + 1, sha256(entry))
        raise LocalFilesProblem(
            f"cannot find a free number in {self.directory}", hint="too many runs write to it at once"
        )

    def add(self, number: int, entry: bytes) -> bool:
        """Write an entry's file.

        Returns:
            Whether it is there now; ``False`` when another entry took the number.

        Raises:
            LocalFilesProblem: It cannot be written.
            LedgerBroken: Something that is no file has its name.
        """
        files.private_directory(self._root)
        files.private_directory(self.directory)
        return _write_once(self._path(number), entry)

    def each(self) -> Iterator[tuple[dict[str, Any], Head]]:
        """Every entry with the head that it makes, oldest first; the chain is checked as it is read.

        Raises:
            LedgerBroken: An entry is missing, was changed, or does not follow from the one before; those
                before it were sound.
            LocalFilesProblem: An entry cannot be read.
        """
        before = START
        for number, path in enumerate(sorted(self._paths(), key=lambda item: int(item.stem)), start=1):
            if path != self._path(number):
                raise _broken(number, self._path(number), "is missing")
            data = read_entry(path)
            try:
                entry = chain.parse(data, number, self.fingerprint)
            except Malformed as error:
                raise _broken(number, path, str(error)) from None
            if entry["previous"] != before.digest.hex:
                raise _broken(number, path, "does not follow from the one before")
            before = Head(number, sha256(data))
            yield entry, before

    def entries(self) -> list[dict[str, Any]]:
        """Every entry, oldest first, after checking the chain.

        Raises:
            LedgerBroken: An entry is missing, was changed, or does not follow from the one before.
            LocalFilesProblem: An entry cannot be read.
        """
        return [entry for entry, _ in self.each()]

    # -- forks: entries that lost their numbers -------------------------------------------------------

    def set_aside(self, first: int) -> None:
        """Take the entries from this number on out of the chain, and keep them to be written again.

        Killed at any instant, each of them is in the chain or aside, and the chain has no hole.

        Raises:
            LocalFilesProblem: They cannot be moved.
            LedgerBroken: One is no file.
        """
        place = files.private_directory(self.directory / FORKS / WAITING)
        numbers = range(first, self.head().sequence + 1)
        for number in numbers:
            entry = self.read(number)
            _write_once(place / f"{number:09d}-{sha256(entry).hex[:16]}.json", entry)
        for number in reversed(numbers):
            _remove(self._path(number))

    def waiting(self) -> list[tuple[int, bytes, Path]]:
        """What was set aside and still has to be written again: number, bytes and file, oldest first.

        Raises:
            LocalFilesProblem: It cannot be read.
            LedgerBroken: One is no file.
        """
        place = self.directory / FORKS / WAITING
        named = [(match, path) for path in _names(place) if (match := ASIDE.fullmatch(path.name))]
        return sorted((int(match[1]), read_entry(path), path) for match, path in named)

    def done_waiting(self, path: Path) -> None:
        """Keep what was written again with the forks of the past.

        Raises:
            LocalFilesProblem: It cannot be moved.
        """
        _write_once(path.parent.parent / path.name, read_entry(path))
        _remove(path)

    def _paths(self) -> list[Path]:
        return [path for path in _names(self.directory) if _ENTRY.fullmatch(path.name)]

    def _path(self, number: int) -> Path:
        return self.directory / f"{number:09d}.json"


def read_entry(path: Path) -> bytes:
    """Read an entry's file, at most one byte more than an entry may have; links are not followed.

    Raises:
        LedgerBroken: It is no file.
        LocalFilesProblem: It cannot be read.
    """
    try:
        data = files.read_regular(path, chain.LARGEST, follow=False)
        if data is not None:
            return data
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EISDIR, errno.ELOOP, errno.ENXIO):
            raise LocalFilesProblem(
                f"cannot read {path}: {error.strerror or error}", hint="check its permissions and its disk"
            ) from error
    raise LedgerBroken(
        f"the ledger breaks at {path}, which is not a file",
        hint="keep the folder as it is and find out who could write to it",
    )


def _broken(number: int, path: Path, why: str) -> LedgerBroken:
    return LedgerBroken(
        f"the ledger breaks at entry {number} ({path}): it {why}",
        hint="keep the folder as it is and find out who could write to it",
    )


def _names(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        raise LocalFilesProblem(
            f"cannot read {folder}: {error.strerror or error}", hint="check its permissions and its disk"
        ) from error


def _write_once(path: Path, data: bytes) -> bool:
    try:
        files.write_new(path, data)
    except LocalFilesProblem as error:
        if isinstance(error.__context__, FileExistsError):
            return read_entry(path) == data
        raise
    return True


def _remove(path: Path) -> None:
    try:
        with suppress(FileNotFoundError):
            path.unlink()
        files.fsync_directory(path.parent)
    except OSError as error:
        raise LocalFilesProblem(
            f"cannot move {path}: {error.strerror or error}", hint="check its permissions and its disk"
        ) from error
