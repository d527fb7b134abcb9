"""An export that a person drops into a folder.

The product has no interface for exports, so a person downloads one and puts it here, under whatever
name. Hence: wait until it is written completely, choose by content, and touch nothing before the
escrow is proven.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipeline.core import files
from pipeline.core.clock import Clock, Deadline, SystemClock
from pipeline.core.digest import sha256
from pipeline.core.errors import (
    Code,
    DeadlinePassed,
    NotAKey,
    NotPinned,
    OrgkeyError,
    PublicOnly,
    SeveralKeys,
)
from pipeline.core.exit_codes import INSPECT_PRECEDENCE
from pipeline.core.isolation import isolated
from pipeline.sources import done_folder
from pipeline.sources.file import read_export
from pipeline.sources.interface import LARGEST, Export, NoExport, SourceFile

if TYPE_CHECKING:
    from pipeline.openpgp.key.inspection import Inspection

# Endings that browsers, editors and copying programs give to what is not finished.
UNFINISHED: Final = (
    ".crdownload",
    ".download",
    ".filepart",
    ".opdownload",
    ".part",
    ".partial",
    ".swp",
    ".temp",
    ".tmp",
    "~",
)
JUNK: Final = frozenset({"desktop.ini", "thumbs.db", "ehthumbs.db", "icon\r"})

Mark = tuple[int, int, int, int]  # device, inode, size, time of change: what must stand still


@dataclass(frozen=True, slots=True)
class _Found:
    """A settled file and what it holds."""

    path: Path
    data: bytes
    modified: float
    inspection: Inspection

    @property
    def fingerprint(self) -> str | None:
        return self.inspection.fingerprint

    @property
    def code(self) -> Code:
        return self.inspection.code

    @property
    def problems(self) -> set[Code]:
        return {Code(problem["code"]) for problem in self.inspection.problems}

    @property
    def rank(self) -> tuple[int, str, float, str]:
        """What makes one export of a key better than another: in order, then renewed last, then newest."""
        severity = INSPECT_PRECEDENCE.index(self.code) if self.code in INSPECT_PRECEDENCE else 99
        # A key without an end is as renewed as can be; ISO 8601 sorts as time does.
        return severity, str(self.inspection.document["expires"] or "9999"), self.modified, self.path.name


class InboxSource:
    """Picks the export out of a folder.

    Args:
        folder: Where people drop exports.
        pin: The Org Key's fingerprint; without it the folder must hold one key only.
        settle_seconds: How long a file must stand still before it counts as written.
        limit: Most bytes that an export may have.
        clock: Where time comes from.
    """

    kind = "inbox"

    def __init__(
        self,
        folder: Path,
        *,
        pin: str | None = None,
        settle_seconds: float = 2.0,
        limit: int = LARGEST,
        clock: Clock | None = None,
    ) -> None:
        self._folder = folder
        self._pin = pin
        self._settle = settle_seconds
        self._limit = limit
        self._clock = clock or SystemClock()

    def fetch(self, deadline: Deadline) -> Export:
        """Wait, look at every file, choose; see :class:`pipeline.sources.interface.ExportSource`."""
        deadline.check()
        settled, notes = self._wait(deadline)
        found = [item for path in settled if (item := self._look(path, notes)) is not None]
        keys = [item for item in found if item.code is not Code.NOT_A_KEY]
        notes += [
            f"{item.path.name} is ignored: not an OpenPGP key, or damaged"
            for item in found
            if item not in keys
        ]
        chosen = self._choose(keys, found, notes)
        notes += [_passed_over(item, chosen) for item in keys if item.data != chosen.data]
        # Other exports of the same key go with it: left behind, the next run would take an older one.
        taken = tuple(
            SourceFile(item.path, sha256(item.data), used=item.data == chosen.data)
            for item in keys
            if item.fingerprint == chosen.fingerprint and Code.PUBLIC_ONLY not in item.problems
        )
        return Export(chosen.data, str(chosen.path), tuple(notes), taken)

    def finish(self, export: Export, note: str) -> tuple[str, ...]:
        """Move this key's exports to ``done/``, renamed and read-only."""
        return done_folder.put_aside(
            export.files, self._folder / "done", note, self._clock.now(), self._limit
        )

    def _wait(self, deadline: Deadline) -> tuple[list[Path], list[str]]:
        """Wait until all files that may be exports stand still."""
        before, notes = self._list()
        while before:
            if deadline.left() < self._settle:
                raise DeadlinePassed(
                    f"files in {self._folder} were still being written: {_names(before)}",
                    hint="run it again once they are complete",
                )
            self._clock.sleep(self._settle)
            now, notes = self._list()
            if now == before:
                break
            before = now
        return sorted(before), notes

    def _list(self) -> tuple[dict[Path, Mark], list[str]]:
        """The files that may be exports, and why others are not."""
        marks: dict[Path, Mark] = {}
        notes: list[str] = []
        hint = "make the folder, or correct source.path and its permissions"
        with files.os_errors(f"cannot read the inbox {self._folder}", hint=hint):
            for path in sorted(self._folder.iterdir()):
                reason, status = self._reason_against(path)
                if status is not None:
                    marks[path] = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
                elif reason:
                    notes.append(f"{path.name} is ignored: {reason}")
        return marks, notes

    def _reason_against(self, path: Path) -> tuple[str, os.stat_result | None]:
        """Why an entry is not an export, judged from outside; its status when it may be one."""
        name = path.name.lower()
        try:
            status = path.lstat()
        except FileNotFoundError:  # a temporary name that was just renamed
            return "", None
        if stat.S_ISDIR(status.st_mode):
            return ("" if path.name == "done" else "a folder"), None
        if stat.S_ISLNK(status.st_mode):
            return "a symbolic link", None
        if not stat.S_ISREG(status.st_mode):
            return "not a regular file", None
        if name.startswith((".", "~$", "#")) or name in JUNK:
            return "hidden, or litter of a desktop", None
        if name.endswith(UNFINISHED):
            return "unfinished, by its name", None
        if status.st_size > self._limit:
            return f"more than {self._limit} bytes, not a keypair export", None
        if status.st_size == 0:
            return "empty", None
        return "", status

    def _look(self, path: Path, notes: list[str]) -> _Found | None:
        from pipeline.openpgp.key.inspection import inspect

        def look() -> _Found:
            data, facts = read_export(path, self._limit, follow=False)
            return _Found(path, data, facts.st_mtime, inspect(data, pin=self._pin, now=self._clock.now()))

        found = isolated(look, "it", NotAKey)
        if isinstance(found, OrgkeyError):  # another file may well be the export
            notes.append(f"{path.name} is ignored: {found.message}")
            return None
        return found

    def _choose(self, keys: list[_Found], found: list[_Found], notes: list[str]) -> _Found:
        """Choose one key's best export."""
        if not keys:
            raise self._nothing(found, notes)
        secret = [item for item in keys if Code.PUBLIC_ONLY not in item.problems]
        fitting = [item for item in secret if Code.NOT_PINNED not in item.problems]
        if not secret:
            raise PublicOnly(
                f"{self._folder} holds public keys only: {_described(keys)}",
                hint="export the keypair, with a passphrase, not the public key",
            )
        if not fitting:
            raise NotPinned(
                f"{self._folder} holds other keys than the pinned {self._pin}: {_described(secret)}",
                hint="export the Org Key; if the server has a new one, pin it after comparing fingerprints",
            )
        if self._pin is None and len({item.fingerprint for item in fitting}) > 1:
            raise SeveralKeys(
                f"{self._folder} holds several keys: {_described(fitting)}",
                hint="choose one with --fingerprint, or pin it in the configuration",
            )
        return max(fitting, key=lambda item: item.rank)

    def _nothing(self, found: list[_Found], notes: list[str]) -> NoExport | NotAKey:
        damaged = [item.path.name for item in found if _resembles_openpgp(item.data)]
        if damaged:
            return NotAKey(
                f"no key can be read from {', '.join(damaged)} in {self._folder}",
                hint="export the keypair again; `orgkey inspect FILE` says what is wrong with it",
            )
        seen = "; ".join(notes)
        return NoExport(
            f"no export lies in {self._folder}" + (f" ({seen})" if seen else ""),
            hint="export the keypair under Keys > Organization Keys and put the file there",
        )


def _passed_over(item: _Found, chosen: _Found) -> str:
    if Code.PUBLIC_ONLY in item.problems:
        return f"{item.path.name} is ignored: a public key only"
    if item.fingerprint != chosen.fingerprint:
        return f"{item.path.name} is ignored: {item.fingerprint or 'several keys'}, not the one sought"
    return (
        f"{item.path.name} is passed over: another export of the same key, and {chosen.path.name} "
        "is in better order or newer"
    )


def _described(items: Iterable[_Found]) -> str:
    return ", ".join(f"{item.path.name} ({item.fingerprint or 'several'})" for item in items)


def _names(marks: Mapping[Path, Mark]) -> str:
    return ", ".join(sorted(path.name for path in marks))


def _resembles_openpgp(data: bytes) -> bool:
    """Whether bytes claim to be OpenPGP: an armor line, or a packet header of a key (RFC 4880 4.2)."""
    if b"-----BEGIN PGP" in data[:4096]:
        return True
    tag = data[0] & 0x3F if data[0] & 0x40 else data[0] >> 2 & 0x0F
    return bool(data[0] & 0x80) and tag in (5, 6)
