"""The parent's side of :mod:`pipeline.sources.backups.worker`: starts the worker, and sends it messages."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final, Self

from pipeline.core import errors, log, process
from pipeline.core.clock import Deadline
from pipeline.core.errors import IntegrityProblem, LocalFilesProblem, OrgkeyError, Unsupported
from pipeline.core.files import os_errors
from pipeline.sources.backups import worker
from pipeline.sources.backups.byte_stream import CutOff, bounded
from pipeline.sources.backups.container import ContentSummary
from pipeline.sources.backups.engine import NO_EXPECTATIONS, Expectations, Reading, ReadResult, SessionKey
from pipeline.sources.backups.message_header import MessageHeader
from pipeline.sources.backups.pipe_writer import PipeWriter
from pipeline.sources.backups.sources import BackupSource, opened

_GRACE_SECONDS: Final = 30.0
_KNOWN: Final = (CutOff, IntegrityProblem, Unsupported, LocalFilesProblem, errors.DeadlinePassed)

Meter = Callable[[int], None]
"""Gets how many bytes of a backup were read since the last time; 0 at the end."""


class WorkerClient:
    """A worker process that reads messages; a context manager, which starts it.

    A message that ends the process fails alone: the next one gets a new process.

    Raises:
        LocalFilesProblem: On entry, when the system cannot start it.
    """

    def __init__(self) -> None:
        self._left = self._ended = False

    def __enter__(self) -> Self:
        self._start()
        return self

    def _start(self) -> None:
        self._socket, other = socket.socketpair()
        with other:
            try:
                self._child = process.start(
                    process.isolated(worker.__name__, str(other.fileno())),
                    pass_fds=(other.fileno(),),
                )
            except BaseException:
                self._socket.close()
                raise
        self._lines = self._socket.makefile("rb")
        self._ended = False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left = True
        self._close()

    def _close(self) -> None:
        self._ended = True
        self._lines.close()
        self._socket.close()
        process.end(self._child)

    def read(
        self,
        source: BackupSource,
        header: MessageHeader,
        key: SessionKey,
        deadline: Deadline,
        meter: Meter = lambda _: None,
        expected: Expectations = NO_EXPECTATIONS,
    ) -> Reading:
        """Have one message read to its end; see :func:`pipeline.sources.backups.engine.read`.

        Args:
            source: Where it is.
            header: What its beginning says.
            key: Its session key.
            deadline: When to stop.
            meter: Is told about progress.
            expected: What it should be.

        Returns:
            What it was, or what is wrong with it.

        Raises:
            DeadlinePassed: The time is over.
            OrgkeyError: The worker is gone, or the source cannot be read.
        """
        deadline.check()
        if self._ended:
            if self._left:  # the run is being ended, from another thread
                raise self._gone()
            self._start()
        request = worker.request(header, key, deadline.left(), source.name, expected)
        with _descriptor(source, deadline) as (number, writer):
            # Whatever happens there, an answer comes soon after the time is over.
            self._socket.settimeout(deadline.left() + _GRACE_SECONDS)
            try:
                try:
                    socket.send_fds(self._socket, [request], [number])
                finally:
                    os.close(number)
                answer = self._answer(meter)
            except TimeoutError as error:
                self._gone()
                raise deadline.passed() from error
            except OSError as error:
                raise self._gone() from error
        if writer is not None and writer.problem is not None:
            raise writer.problem
        if "result" in answer:
            result = answer["result"]
            found = ContentSummary(**(result["found"] | {"missing": tuple(result["found"]["missing"])}))
            return Reading(ReadResult(**(result | {"found": found})), answer["sha256"])
        problem = next(kind for kind in (*_KNOWN, OrgkeyError) if kind.__name__ == answer["error"])
        return Reading(problem(answer["message"], hint=answer["hint"]), answer["sha256"])

    def _answer(self, meter: Meter) -> dict[str, Any]:
        for line in self._lines:
            answer: dict[str, Any] = json.loads(line)
            if "read" not in answer:
                return answer
            meter(answer["read"])
        raise self._gone()

    def _gone(self) -> OrgkeyError:
        self._child.kill()
        output = self._child.stderr.read() if self._child.stderr and not self._ended else b""
        process.end(self._child, grace=0)
        self._close()
        words = log.last_words(output or b"") or f"exit code {self._child.returncode}"
        return OrgkeyError(
            f"the process that reads backups ended before its time: {words}",
            hint="free memory, or use --engine gpg; if memory was not short, report this as a defect",
        )


@contextmanager
def _descriptor(source: BackupSource, deadline: Deadline) -> Iterator[tuple[int, PipeWriter | None]]:
    """The message as a descriptor, which the caller closes: the file itself, or a pipe that is fed."""
    if source.path is not None:
        with os_errors(f"cannot read {source.name}"):
            number = opened(source.path)
        yield number, None
        return
    read_end, write_end = os.pipe()
    with source.open() as raw:
        feeder = PipeWriter(bounded(raw, deadline), os.fdopen(write_end, "wb", buffering=0))
        feeder.start()
        try:
            yield read_end, feeder
        finally:
            feeder.join()
