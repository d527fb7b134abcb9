"""The other side of :mod:`pipeline.sources.backups.apart`: starts the process that reads, and asks it."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final, Self

from pipeline.core import errors, process
from pipeline.core import log as logs
from pipeline.core.clock import Deadline
from pipeline.core.errors import IntegrityProblem, LocalFilesProblem, OrgkeyError, Unsupported
from pipeline.sources.backups import apart
from pipeline.sources.backups.container import Found
from pipeline.sources.backups.cursor import CutOff
from pipeline.sources.backups.engine import Reading, SessionKey
from pipeline.sources.backups.feeder import Feeder
from pipeline.sources.backups.head import Head
from pipeline.sources.backups.sources import Source

_GRACE_SECONDS: Final = 30.0
_KNOWN: Final = (CutOff, IntegrityProblem, Unsupported, LocalFilesProblem, errors.DeadlinePassed)

Meter = Callable[[int], None]
"""Told how many bytes of a backup were read since the last time; none at the end."""


class Reader:
    """A process that reads messages; a context manager. It starts when it is entered.

    Raises:
        LocalFilesProblem: On entry, when the system cannot start it.
    """

    def __init__(self) -> None:
        self._last_words: str | None = None

    def __enter__(self) -> Self:
        self._socket, other = socket.socketpair()
        with other:
            try:
                self._child = process.start(
                    process.isolated(apart.__name__, str(other.fileno())),
                    pass_fds=(other.fileno(),),
                )
            except BaseException:
                self._socket.close()
                raise
        self._lines = self._socket.makefile("rb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lines.close()
        self._socket.close()
        process.end(self._child)

    def read(self, source: Source, head: Head, key: SessionKey, deadline: Deadline, meter: Meter) -> Reading:
        """Have one message read to its end; see :func:`pipeline.sources.backups.engine.read`.

        Args:
            source: Where it is.
            head: What its beginning says.
            key: Its session key.
            deadline: When to stop.
            meter: Is told about progress.

        Raises:
            IntegrityProblem: It was altered, damaged or cut off.
            Unsupported: It has a form that only gpg understands.
            DeadlinePassed: The time is over.
            OrgkeyError: It cannot be read.
        """
        deadline.check()
        asked = apart.request(head, key, deadline.left(), source.name)
        with _descriptor(source, deadline) as (number, feeder):
            # Whatever happens there, an answer comes soon after the time is over.
            self._socket.settimeout(deadline.left() + _GRACE_SECONDS)
            try:
                try:
                    socket.send_fds(self._socket, [asked], [number])
                finally:
                    os.close(number)
                told = self._answer(meter)
            except TimeoutError as error:
                self._gone()
                raise deadline.passed() from error
            except OSError as error:
                raise self._gone() from error
        if feeder is not None and feeder.problem is not None:
            raise feeder.problem
        if "reading" in told:
            found = told["reading"]
            return Reading(**(found | {"found": Found(**found["found"])}))
        problem = next(kind for kind in (*_KNOWN, OrgkeyError) if kind.__name__ == told["error"])
        raise problem(told["message"], hint=told["hint"])

    def _answer(self, meter: Meter) -> dict[str, Any]:
        for line in self._lines:
            told: dict[str, Any] = json.loads(line)
            if "read" not in told:
                return told
            meter(told["read"])
        raise self._gone()

    def _gone(self) -> OrgkeyError:
        if self._last_words is None:
            self._child.kill()
            said = self._child.stderr.read() if self._child.stderr else b""
            process.end(self._child, grace=0)
            self._last_words = logs.last_words(said or b"") or f"exit code {self._child.returncode}"
        return OrgkeyError(
            f"the process that reads backups ended before its time: {self._last_words}",
            hint="is there enough memory? else it is a defect: report it; --engine gpg is the other way",
        )


@contextmanager
def _descriptor(source: Source, deadline: Deadline) -> Iterator[tuple[int, Feeder | None]]:
    """The message as a descriptor, which the caller closes: the file itself, or a pipe that is fed."""
    if source.path is not None:
        try:
            number = os.open(source.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise LocalFilesProblem(
                f"cannot read {source.name}: {error.strerror or error}",
                hint="check the path and its permissions",
            ) from error
        yield number, None
        return
    read_end, write_end = os.pipe()
    with source.open() as raw:
        feeder = Feeder(apart.metered(raw, deadline, lambda _: None), os.fdopen(write_end, "wb", buffering=0))
        feeder.start()
        try:
            yield read_end, feeder
        finally:
            feeder.join()
