"""A stream handed to another process."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import IO

from pipeline.core.errors import OrgkeyError, Unreachable
from pipeline.core.isolation import defect
from pipeline.sources.backups.byte_stream import ByteStream


class PipeWriter(threading.Thread):
    """Writes a stream into a pipe; what goes wrong with its source is kept for the caller.

    Args:
        cursor: The stream.
        pipe: An unbuffered pipe; closed at the end.

    Attributes:
        problem: What kept the source from being read.
    """

    def __init__(self, cursor: ByteStream, pipe: IO[bytes] | None) -> None:
        super().__init__(name="feeder", daemon=True)
        self.problem: OrgkeyError | None = None
        self._cursor = cursor
        self._pipe = pipe

    def run(self) -> None:
        """Write all of it, as long as somebody reads."""
        assert self._pipe is not None
        with suppress(OSError), self._pipe:  # the reader may have seen enough
            while piece := self._next():
                while piece:
                    piece = piece[self._pipe.write(piece) :]

    def _next(self) -> memoryview:
        """The next piece; whatever keeps it from being read is a problem, or it would pass for the end."""
        try:
            return self._cursor.some()
        except OrgkeyError as error:
            self.problem = error
        except BaseException as error:
            self.problem = defect(error, "it", Unreachable)
        return memoryview(b"")
