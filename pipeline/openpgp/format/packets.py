"""OpenPGP packets, cut apart and put together (RFC 4880 section 4), with strict bounds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum

from pipeline.core.errors import NotAKey
from pipeline.openpgp.format.armor import DAMAGED_HINT

MAX_PACKETS = 10_000  # far above any key that an export holds; bounds the work on hostile input


class Tag(IntEnum):
    """Packet tags that occur in keys (RFC 4880 section 4.3)."""

    SIGNATURE = 2
    SECRET_KEY = 5
    PUBLIC_KEY = 6
    SECRET_SUBKEY = 7
    MARKER = 10
    TRUST = 12
    USER_ID = 13
    PUBLIC_SUBKEY = 14
    USER_ATTRIBUTE = 17
    PADDING = 21


PRIMARIES = frozenset({Tag.SECRET_KEY, Tag.PUBLIC_KEY})
SUBKEYS = frozenset({Tag.SECRET_SUBKEY, Tag.PUBLIC_SUBKEY})
SECRETS = frozenset({Tag.SECRET_KEY, Tag.SECRET_SUBKEY})
IDENTITIES = frozenset({Tag.USER_ID, Tag.USER_ATTRIBUTE})
# Local to a key ring, or without a meaning: never part of a key.
IGNORED = frozenset({Tag.MARKER, Tag.TRUST, Tag.PADDING, 60, 61, 62, 63})
# Packets of messages: encrypted session keys, encrypted, compressed, literal data, one-pass signatures.
MESSAGES = frozenset({1, 3, 4, 8, 9, 11, 18, 19, 20})


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet as it was found.

    Attributes:
        tag: Its tag; not always one of :class:`Tag`.
        body: Its content.
        raw: Header and content, byte for byte.
    """

    tag: int
    # Not shown: the body of an unprotected key is the secret itself.
    body: bytes = field(repr=False)
    raw: bytes = field(repr=False)

    @property
    def new_format(self) -> bool:
        """Whether the header has the new form (RFC 4880 section 4.2.2)."""
        return bool(self.raw[0] & 0x40)


def parse(data: bytes) -> list[Packet]:
    """Cut binary data into packets.

    Raises:
        NotAKey: A header is wrong, a packet goes past the end, or its length is not definite.
    """
    found: list[Packet] = []
    at = 0
    while at < len(data):
        if len(found) == MAX_PACKETS:
            raise NotAKey(f"there are more than {MAX_PACKETS} packets", hint="export one key only")
        tag, start, size = _header(data, at)
        if start + size > len(data):
            raise NotAKey(
                f"the packet at byte {at} is cut off: {size} bytes announced, {len(data) - start} there",
                hint=DAMAGED_HINT,
            )
        found.append(Packet(tag, data[start : start + size], data[at : start + size]))
        at = start + size
    return found


def _header(data: bytes, at: int) -> tuple[int, int, int]:
    """Read a header: the tag, where the body starts, and how long it is."""
    head = data[at]
    if not head & 0x80:
        raise NotAKey(f"there is no OpenPGP packet at byte {at}", hint=DAMAGED_HINT)
    if not head & 0x40:
        width = (1, 2, 4, 0)[head & 3]
        if not width:
            raise NotAKey(f"the packet at byte {at} has no definite length", hint=DAMAGED_HINT)
        tag, start = (head >> 2) & 0x0F, at + 1 + width
        size = int.from_bytes(data[at + 1 : start], "big")
    else:
        tag = head & 0x3F
        first = data[at + 1] if at + 1 < len(data) else 0
        if first < 192:
            start, size = at + 2, first
        elif first < 224:
            start = at + 3
            size = ((first - 192) << 8) + int.from_bytes(data[at + 2 : start], "big") + 192
        elif first == 255:
            start = at + 6
            size = int.from_bytes(data[at + 2 : start], "big")
        else:
            raise NotAKey(f"the packet at byte {at} has no definite length", hint=DAMAGED_HINT)
    if start > len(data):
        raise NotAKey(f"the header of the packet at byte {at} is cut off", hint=DAMAGED_HINT)
    if tag == 0:
        raise NotAKey(f"the packet at byte {at} has the reserved tag 0", hint=DAMAGED_HINT)
    return tag, start, size


def build(tag: int, body: bytes, *, new_format: bool = False) -> Packet:
    """Make a packet with the shortest header of the form asked for.

    Args:
        tag: The packet's tag.
        body: Its content.
        new_format: New form of header; the old one, which every program reads, is the default.
    """
    size = len(body)
    if not new_format and tag < 16:
        kind = 0 if size < 0x100 else 1 if size < 0x10000 else 2
        header = bytes([0x80 | tag << 2 | kind]) + size.to_bytes((1, 2, 4)[kind], "big")
    elif size < 192:
        header = bytes([0xC0 | tag, size])
    elif size < 8384:
        header = bytes([0xC0 | tag, ((size - 192) >> 8) + 192, (size - 192) & 0xFF])
    else:
        header = bytes([0xC0 | tag, 255]) + size.to_bytes(4, "big")
    return Packet(tag, body, header + body)


def join(packets: Iterable[Packet]) -> bytes:
    """Put packets one after the other."""
    return b"".join(packet.raw for packet in packets)


class FieldReader:
    """Takes fields off the front of a packet's body.

    Args:
        data: The body.
        what: What it is, for messages.
    """

    __slots__ = ("_data", "_what", "at")

    def __init__(self, data: bytes, what: str, at: int = 0) -> None:
        self._data = data
        self._what = what
        self.at = at

    def take(self, size: int) -> bytes:
        """Take ``size`` bytes.

        Raises:
            NotAKey: There are fewer.
        """
        end = self.at + size
        if end > len(self._data):
            raise NotAKey(f"{self._what} is cut off", hint=DAMAGED_HINT)
        piece = self._data[self.at : end]
        self.at = end
        return piece

    def octet(self) -> int:
        """Take one byte as a number."""
        return self.take(1)[0]

    def number(self, width: int) -> int:
        """Take a big-endian number of ``width`` bytes."""
        return int.from_bytes(self.take(width), "big")

    def mpi(self) -> int:
        """Take a multi-precision integer (RFC 4880 section 3.2)."""
        return int.from_bytes(self.take((self.number(2) + 7) // 8), "big")

    def subpacket(self) -> tuple[int, bytes]:
        """Take a subpacket: its type, with the critical bit, and its content (RFC 4880 section 5.2.3.1).

        Raises:
            NotAKey: It is empty, or goes past the end.
        """
        size = self.octet()
        if 192 <= size < 255:
            size = ((size - 192) << 8) + self.octet() + 192
        elif size == 255:
            size = self.number(4)
        if size == 0:
            raise NotAKey(f"{self._what}: an empty subpacket", hint=DAMAGED_HINT)
        return self.octet(), self.take(size - 1)

    def rest(self) -> bytes:
        """Take all that is left."""
        return self.take(len(self._data) - self.at)

    @property
    def left(self) -> int:
        """How many bytes are left."""
        return len(self._data) - self.at
