"""The three standard streams: closed, full or without a reader, they never end the work.

What cannot be written is dropped and remembered. Only at the end is standard output's loss reported, on
standard error, and only a run that was otherwise good ends with another code because of it.
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TextIO

from pipeline.core.errors import Code, LocalFilesProblem

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_INPUT, _OUTPUT, _ERROR = range(3)


class _Sink(io.RawIOBase):
    """A descriptor that takes everything, and remembers why something did not arrive."""

    def __init__(self, number: int, *, closed: bool) -> None:
        super().__init__()
        self._number = number
        self.problem: OSError | None = None
        self._closed = OSError(errno.EBADF, os.strerror(errno.EBADF)) if closed else None

    def fileno(self) -> int:
        return self._number

    def isatty(self) -> bool:
        return os.isatty(self._number)

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer) -> int:
        view = memoryview(data).cast("B")
        try:
            if self._closed is not None:
                raise self._closed
            _write_all(self._number, view)
        except OSError as error:
            self.problem = self.problem or error
        return len(view)


def _write_all(number: int, left: memoryview) -> None:
    while left:
        try:
            left = left[os.write(number, left) :]
        except BlockingIOError:  # whoever shares this terminal or pipe made it so; this program waits
            poll = select.poll()
            poll.register(number, select.POLLOUT)
            poll.poll()


class _Streams:
    """What :func:`guard` put in place; empty while another program, such as a test, owns the streams."""

    output: _Sink | None = None


_streams: Final = _Streams()


def guard() -> None:
    """Put streams in place that cannot fail.

    A descriptor that the caller closed is opened on the null device: the next file that is opened would
    otherwise get its number, and whatever a library writes to standard error would land in that file.
    """
    shut = _occupy()
    if _INPUT in shut:
        setattr(sys, "stdin", None)  # noqa: B010 - as Python has it where it is closed; typed as never so
    if _ours(sys.stdout, _OUTPUT):
        _streams.output = _Sink(_OUTPUT, closed=_OUTPUT in shut)
        sys.stdout = _text(_streams.output, sys.stdout, line_buffering=os.isatty(_OUTPUT))
    if _ours(sys.stderr, _ERROR):
        sys.stderr = _text(_Sink(_ERROR, closed=_ERROR in shut), sys.stderr, line_buffering=True)


def _occupy() -> set[int]:
    """Open the standard descriptors that are closed, and say which they were."""
    closed = set()
    for number in (_INPUT, _OUTPUT, _ERROR):
        try:
            os.fstat(number)
        except OSError:
            closed.add(number)
            os.open(os.devnull, os.O_RDWR)  # the lowest free number is this one
            os.set_inheritable(number, True)
    return closed


def _ours(stream: TextIO | None, number: int) -> bool:
    if stream is None:
        return True
    with suppress(OSError, ValueError):
        return stream.fileno() == number
    return False


def _text(sink: _Sink, before: TextIO | None, *, line_buffering: bool) -> TextIO:
    # A plain locale cannot show every user id, and no encoding the bytes of every file name.
    encoding = before.encoding if before is not None else "utf-8"
    return io.TextIOWrapper(
        io.BufferedWriter(sink), encoding=encoding, errors="backslashreplace", line_buffering=line_buffering
    )


def flush() -> None:
    """Write out what is still held back."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()


def loss(code: Code) -> LocalFilesProblem | None:
    """Say that not all of the answer could be written to standard output.

    Args:
        code: How the work itself ended.

    Returns:
        The problem, or ``None`` where everything was written.
    """
    flush()
    problem = _streams.output.problem if _streams.output is not None else None
    if problem is None:
        return None
    return LocalFilesProblem(
        f"the answer could not be written to standard output: {_reason(problem)}",
        hint=f"the work ended with code {int(code)} ({code.meaning}), only its answer was lost: "
        "`orgkey list` and `orgkey ledger show` tell what was done",
    )


def _reason(problem: OSError) -> str:
    known = {errno.EPIPE: "its reader has gone", errno.EBADF: "it is closed"}
    return known.get(problem.errno or 0) or problem.strerror or type(problem).__name__
