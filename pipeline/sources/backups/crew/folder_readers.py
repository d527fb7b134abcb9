"""Readers that take tickets from a folder and leave answers there: a Kubernetes Indexed Job, AWS Batch.

``tickets/N.json`` is one ticket, ``answers/N.json`` what ``orgkey backups read --output`` made of it; N
counts from 0, as the index of such a job does.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from pipeline.core import files
from pipeline.core.clock import Deadline
from pipeline.core.errors import OrgkeyError
from pipeline.sources.backups.crew.answer import LONGEST, NO_ID, Answer
from pipeline.sources.backups.crew.readers import late

_NUMBERED: Final = re.compile(r"(0|[1-9][0-9]*)\.json")
_LOOK_SECONDS: Final = 0.2
_LIMIT: Final = 1 << 18
_MODE: Final = 0o640
"""The group of the folder may read a ticket: its secret part is sealed."""


MAKE_IT: Final = "make it, for this user and the readers to write to"


def inside(folder: Path) -> tuple[Path, Path]:
    """Where tickets lie in a crew's folder, and where answers do."""
    return folder / "tickets", folder / "answers"


class FolderReaders:
    """A folder that readers share.

    Args:
        folder: The folder, for one run at a time: others wait. What an earlier run left is removed.
        deadline: When answers are given up.

    Raises:
        LocalFilesProblem: The folder cannot be used.
        DeadlinePassed: Another run has it all the time.
    """

    def __init__(self, folder: Path, deadline: Deadline) -> None:
        self._tickets, self._answers = inside(folder)
        self._deadline = deadline
        self._ids: dict[int, str] = {}
        with files.os_errors(f"cannot use {folder}", hint=MAKE_IT):
            self._alone(folder / "lock")
            for place in (self._answers, self._tickets):
                place.mkdir(exist_ok=True, mode=0o770)
                for number in _numbers(place):
                    _path(place, number).unlink()

    def _alone(self, path: Path) -> None:
        """Wait until no other run has the folder: it would take these tickets away, and leave its own."""
        self._lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _MODE)
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if self._deadline.left() <= 0:
                    raise late(self._deadline) from None
                time.sleep(_LOOK_SECONDS)
            except OSError:  # a share without locks
                return
            else:
                return

    def submit(self, ticket_id: str, line: str) -> None:
        """See :class:`~pipeline.sources.backups.crew.readers.Readers`."""
        number = len(self._ids)
        files.replace(_path(self._tickets, number), line.encode() + b"\n", mode=_MODE)
        self._ids[number] = ticket_id

    def results(self) -> Iterator[tuple[str, str | OrgkeyError]]:
        """See :class:`~pipeline.sources.backups.crew.readers.Readers`."""
        while self._ids:
            with files.os_errors(f"cannot read {self._answers}"):
                arrived = [number for number in _numbers(self._answers) if number in self._ids]
                for number in arrived:
                    data = files.read_regular(_path(self._answers, number), _LIMIT, follow=False)
                    line = (data or b"").decode(errors="replace").strip()
                    answer = Answer.of_line(line, LONGEST)
                    if answer is not None and answer.id not in (self._ids[number], NO_ID):
                        # From an earlier run, which somebody has read for so long: this one's is to come.
                        _path(self._answers, number).unlink()
                        continue
                    self._remove(number)
                    yield self._ids.pop(number), line
            if self._ids and self._deadline.left() <= 0:
                break
            if not arrived:
                time.sleep(_LOOK_SECONDS)
        for number, ticket_id in self._ids.items():
            self._remove(number)
            yield ticket_id, late(self._deadline)

    def _remove(self, number: int) -> None:
        for place in (self._tickets, self._answers):
            with suppress(OSError):
                _path(place, number).unlink()


def _path(place: Path, number: int) -> Path:
    return place / f"{number}.json"


def _numbers(place: Path) -> list[int]:
    found = (_NUMBERED.fullmatch(entry.name) for entry in place.iterdir())
    return sorted(int(match[1]) for match in found if match)
