"""Counts and hashes a backup's stored bytes as they are read."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from pipeline.core.clock import Deadline
from pipeline.core.errors import OrgkeyError
from pipeline.sources.backups.byte_stream import ByteStream


class Tally:
    """A stream that ends with an error when its time is over, reports progress, and is hashed (SHA-256).

    The digest is computed beside the thread that reads. A context manager, which ends that thread.

    Args:
        raw: The stored bytes.
        deadline: When to stop.
        meter: Gets every piece's length in bytes; 0 at the end.
        behind: So many pieces the digest may be behind: as many as stay what they are when the next is read.

    Attributes:
        stream: What is to be read in place of ``raw``.
    """

    def __init__(
        self, raw: ByteStream, deadline: Deadline, meter: Callable[[int], None], behind: int = 0
    ) -> None:
        self.stream = ByteStream(self._more)
        self._raw = raw
        self._deadline = deadline
        self._meter = meter
        self._hash = hashlib.sha256()
        self._hasher = ThreadPoolExecutor(1, "digest")
        self._behind = behind
        self._hashing: deque[Future[None]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hasher.shutdown()

    def _more(self) -> memoryview:
        self._deadline.check()
        self._hashed(self._behind)  # an older piece is overwritten now
        piece = self._raw.some()
        self._meter(len(piece))
        if piece:
            self._hashing.append(self._hasher.submit(self._hash.update, piece))
        return piece

    def _hashed(self, behind: int = 0) -> None:
        while len(self._hashing) > behind:
            self._hashing.popleft().result()

    def digest(self) -> str | None:
        """Read what is left, and give the digest in hexadecimal; ``None`` where it cannot be read."""
        try:
            self.stream.drain()
        except OrgkeyError:
            return None
        self._hashed()
        return self._hash.hexdigest()
