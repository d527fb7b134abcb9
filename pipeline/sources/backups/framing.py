"""Packets of a message that may be longer than memory (RFC 4880 section 4.2).

A body comes with a definite length, in parts whose lengths are powers of two, or up to the end of the
stream. Programs that do not know a length beforehand write equal parts: those are freed of their length
octets many at a time.
"""

from __future__ import annotations

from typing import Final

from pipeline.core.errors import IntegrityProblem
from pipeline.sources.backups.byte_stream import PIECE, ByteStream, cut_off

_WIDEST_ROW: Final = 1 << 16
"""Parts larger than this are moved one by one, which costs nothing either."""


def damaged(what: str) -> IntegrityProblem:
    """The error for bytes that are not an OpenPGP message."""
    return IntegrityProblem(what, hint="copy the backup again, whole, in binary mode; else take another one")


class Body:
    """The content of one packet.

    Args:
        cursor: The stream, at the body's first byte.
        left: Length of the body, or of its first part; ``None`` when it goes on to the end.
        first: The length octet of the first of several parts; 0 for a whole body.
        what: What the packet is, for errors.
    """

    __slots__ = ("_cursor", "_first", "_left", "_what")

    def __init__(self, cursor: ByteStream, left: int | None, first: int, what: str) -> None:
        self._cursor = cursor
        self._left = left
        self._first = first
        self._what = what

    def some(self, limit: int = PIECE) -> memoryview:
        """Take the next piece, at most ``limit`` bytes; an empty one at the end.

        Raises:
            IntegrityProblem: The stream ends before the body does.
        """
        if not self._part():
            return memoryview(b"")
        piece = self._cursor.some(limit if self._left is None else min(limit, self._left))
        if self._left is not None:
            if not piece:
                raise cut_off(f"{self._what} goes on")
            self._left -= len(piece)
        return piece

    def readinto(self, target: memoryview) -> int:
        """Fill ``target`` from the front, as far as the body goes.

        Returns:
            How many bytes were written; fewer than its length only at the end.

        Raises:
            IntegrityProblem: The stream ends before the body does.
        """
        at = 0
        while at < len(target) and self._part():
            if self._first and (moved := self._rows(target[at:])):
                at += moved
                continue
            piece = self.some(len(target) - at)
            if not piece:
                break
            target[at : at + len(piece)] = piece
            at += len(piece)
        return at

    def take(self, size: int, what: str) -> bytes:
        """Take exactly ``size`` bytes.

        Raises:
            IntegrityProblem: There are fewer.
        """
        gathered = bytearray(size)
        if self.readinto(memoryview(gathered)) < size:
            raise cut_off(f"{what} is not whole")
        return bytes(gathered)

    def _part(self) -> bool:
        """Go on to a part that has something left; false at the end."""
        while self._left == 0:
            if not self._first:
                return False
            first = self._cursor.take(1, self._what)[0]
            self._left, self._first = _length(self._cursor, first, self._what)
        return True

    def _rows(self, target: memoryview) -> int:
        """Move whole parts that are as long as this one, each but its length octet."""
        size = 1 << (self._first & 31)
        if self._left != size or size > _WIDEST_ROW:
            return 0
        here = self._cursor.here
        count = min(len(here) // (size + 1), len(target) // size)
        if count < 2:
            return 0
        marks = bytes(here[size : count * (size + 1) : size + 1])
        alike = count - len(marks.lstrip(bytes([self._first])))
        if alike:
            starts = range(0, alike * (size + 1), size + 1)
            target[: alike * size] = b"".join([here[at : at + size] for at in starts])
            self._cursor.skip(alike * (size + 1))
        return alike * size


def packet(cursor: ByteStream, where: str) -> tuple[int, Body] | None:
    """Read a packet's header.

    Args:
        cursor: The stream.
        where: What it is, for errors.

    Returns:
        The tag and the body; ``None`` at the end of the stream.

    Raises:
        IntegrityProblem: There is no packet here.
    """
    if not cursor.here:
        return None
    head = cursor.take(1, "a packet")[0]
    if not head & 0x80:
        raise damaged(f"{where} has no OpenPGP packet where one should begin")
    if head & 0x40:
        tag = head & 0x3F
        what = f"the packet with tag {tag}"
        left, first = _length(cursor, cursor.take(1, what)[0], what)
        return tag, Body(cursor, left, first, what)
    tag = (head >> 2) & 0x0F
    what = f"the packet with tag {tag}"
    width = (1, 2, 4, 0)[head & 3]
    size = int.from_bytes(cursor.take(width, what), "big") if width else None
    return tag, Body(cursor, size, 0, what)


def _length(cursor: ByteStream, first: int, what: str) -> tuple[int, int]:
    """A new-format length: how many bytes follow, and the octet itself where more parts come."""
    if first < 192:
        return first, 0
    if first < 224:
        return ((first - 192) << 8) + cursor.take(1, what)[0] + 192, 0
    if first == 255:
        return int.from_bytes(cursor.take(4, what), "big"), 0
    return 1 << (first & 31), first
