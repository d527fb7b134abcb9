"""A stream of bytes that is looked at and taken from the front, in whatever pieces it comes."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import cycle
from typing import Final

from pipeline.core.clock import Deadline
from pipeline.core.errors import IntegrityProblem
from pipeline.core.files import os_errors

Refill = Callable[[], memoryview | bytes]
"""Gives the next piece, valid until it is called again; an empty one at the end."""

PIECE: Final = 1 << 20
"""How many bytes are moved at a time: large enough that Python costs nothing, small enough for a cache."""


class CutOff(IntegrityProblem):
    """The stream ends before it should; one that is still being written looks the same."""


def cut_off(what: str) -> CutOff:
    """The stream ends before it should."""
    return CutOff(f"it is cut off: {what}", hint="copy the backup again, whole, in binary mode")


def empty() -> CutOff:
    """There is nothing."""
    return CutOff("it is empty", hint="copy the backup again, whole, in binary mode; else take another one")


class ByteStream:
    """The front of a stream.

    Args:
        refill: Where its pieces come from.
    """

    __slots__ = ("_refill", "_view", "taken")

    def __init__(self, refill: Refill) -> None:
        self._refill = refill
        self._view = memoryview(b"")
        self.taken = 0

    @property
    def here(self) -> memoryview:
        """What is at hand without asking for more; empty only at the end."""
        if not self._view:
            self._view = memoryview(self._refill())
        return self._view

    def skip(self, size: int) -> None:
        """Drop bytes of :attr:`here`."""
        self._view = self._view[size:]
        self.taken += size

    def some(self, limit: int = PIECE) -> memoryview:
        """Take what is at hand: at most ``limit`` bytes, none only at the end."""
        piece = self.here[:limit]
        self.skip(len(piece))
        return piece

    def take(self, size: int, what: str) -> bytes:
        """Take exactly ``size`` bytes.

        Args:
            size: How many.
            what: What they are, for the error.

        Raises:
            IntegrityProblem: There are fewer.
        """
        piece = self.some(size)
        if len(piece) == size:
            return bytes(piece)
        gathered = bytearray(piece)
        while len(gathered) < size:
            piece = self.some(size - len(gathered))
            if not piece:
                raise cut_off(f"{what} is not whole")
            gathered += piece
        return bytes(gathered)

    def peek(self, size: int) -> bytes:
        """Look at the next ``size`` bytes without taking them; fewer at the end of the stream."""
        view = self.here
        if len(view) < size:
            gathered = bytearray(view)
            while len(gathered) < size and (piece := self._refill()):
                gathered += piece
            self._view = view = memoryview(bytes(gathered))
        return bytes(view[:size])

    def drain(self) -> int:
        """Take everything that is left, and say how much it was."""
        size = 0
        while piece := self.some():
            size += len(piece)
        return size


def bounded(raw: ByteStream, deadline: Deadline) -> ByteStream:
    """The same stream, which ends with :class:`DeadlinePassed` when its time is over."""

    def more() -> memoryview:
        deadline.check()
        return raw.some()

    return ByteStream(more)


def of_bytes(data: bytes) -> ByteStream:
    """A cursor over bytes that are all there."""
    pieces = [data]
    return ByteStream(lambda: pieces.pop() if pieces else b"")


def of_descriptor(
    number: int, what: str, wait: Callable[[], object] = lambda: None, *, rooms: int = 1
) -> ByteStream:
    """A cursor over an open descriptor.

    Args:
        number: The descriptor; the caller closes it.
        what: What is read, for the error.
        wait: Called before each reading; returns when it will not block.
        rooms: For so many readings a piece stays what it is.
    """
    buffers = cycle([memoryview(bytearray(PIECE)) for _ in range(rooms)])

    def more() -> memoryview:
        wait()
        room = next(buffers)
        with os_errors(f"cannot read {what}"):
            return room[: os.readv(number, [room])]

    return ByteStream(more)
