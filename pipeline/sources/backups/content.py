"""The layers inside an encrypted message: compressed data, signatures, and the literal data in the end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from pipeline.core.clock import Deadline
from pipeline.core.errors import Unsupported
from pipeline.sources.backups.armored import binary
from pipeline.sources.backups.byte_stream import PIECE, ByteStream, cut_off
from pipeline.sources.backups.framing import Body, damaged, packet
from pipeline.sources.backups.origin import ContentSignatures

_SIGNATURE, _ONE_PASS, _COMPRESSED, _MARKER, _LITERAL = 2, 4, 8, 10, 11
_ENCRYPTED: Final = frozenset({1, 3, 9, 18, 20})
_COMPRESSED_HEADS: Final = frozenset(bytes([head]) for head in (0xC8, *range(0xA0, 0xA4)))
_DEEPEST: Final = 4
_AT_ONCE: Final = 1 << 18
"""How many bytes come out of a decompression at once: whatever its input says, memory stays bounded."""
_NAMES: Final = {0: "none", 1: "zip", 2: "zlib", 3: "bzip2"}


def unwrapped(cursor: ByteStream, deadline: Deadline) -> ByteStream:
    """The packets of a message, binary, without compression around the encrypted message.

    Args:
        cursor: The message as it is stored.
        deadline: When to stop.

    Raises:
        IntegrityProblem: It is not a message.
        Unsupported: It is compressed in a way that is not understood here.
    """
    cursor = binary(cursor)
    for _ in range(_DEEPEST):
        if cursor.peek(1)[:1] not in _COMPRESSED_HEADS:
            break
        item = packet(cursor, "the message")
        assert item is not None, "its first byte was seen"
        number = item[1].take(1, "the compressed data")[0]
        if number not in _NAMES:
            raise Unsupported(
                f"it is compressed with algorithm {number}", hint="decompress it with gpg first"
            )
        more = Decompressing(number, item[1], deadline, protected=False).more if number else item[1].some
        cursor = ByteStream(more)
    return cursor


class Content:
    """The literal data of a decrypted message.

    Args:
        cursor: The decrypted packets.
        deadline: When to stop. What is compressed may go on for long after its input is at hand.
        protected: Whether a code protects what its maker wrote. Then bytes behind the compressed data, or
            its own checksum missing, are the maker's doing, and ignored as other programs do.
        signatures: Takes those that are inside.
    """

    def __init__(
        self, cursor: ByteStream, deadline: Deadline, *, protected: bool, signatures: ContentSignatures
    ) -> None:
        self._cursor = cursor
        self._signatures = signatures
        self._deadline = deadline
        self._protected = protected
        self.compression = "none"

    def pieces(self) -> Iterator[memoryview]:
        """Give the literal data, piece by piece; each is valid until the next is asked for.

        Raises:
            IntegrityProblem: It is damaged or cut off.
            Unsupported: A layer is of a kind that is not understood here.
        """
        yield from self._inside(self._cursor, 0)

    def _inside(self, cursor: ByteStream, depth: int) -> Iterator[memoryview]:
        if depth > _DEEPEST:
            raise damaged("its layers go too deep")
        found = False
        while (item := packet(cursor, "what is inside")) is not None:
            tag, body = item
            if tag in (_COMPRESSED, _LITERAL):
                if found:
                    raise Unsupported("it has more than one content", hint="gpg may read it: --engine gpg")
                found = True
            if tag == _LITERAL:
                for piece in _literal(body):
                    self._signatures.feed(piece)
                    yield piece
            elif tag == _COMPRESSED:
                number = body.take(1, "the compressed data")[0]
                inner = self._opened(number, body)
                yield from self._inside(inner, depth + 1)
                while body.some():
                    if not self._protected:
                        raise damaged("something follows the compressed data")
            elif tag == _SIGNATURE:
                self._signatures.signature(body)
            elif tag == _ONE_PASS:
                self._signatures.announced(body)
            elif tag == _MARKER:
                while body.some():
                    pass
            elif tag in _ENCRYPTED:
                raise Unsupported(
                    "it is encrypted twice: inside is another encrypted message",
                    hint="decrypt the outer message with gpg by hand, and check what is inside by itself",
                )
            else:
                raise Unsupported(
                    f"it has a packet with tag {tag} inside", hint="gpg may read it: --engine gpg"
                )
        if not found:
            raise damaged("it has no content")

    def _opened(self, number: int, body: Body) -> ByteStream:
        if number not in _NAMES:
            raise Unsupported(
                f"it is compressed with algorithm {number}", hint="gpg may read it: --engine gpg"
            )
        if number == 0:
            return ByteStream(body.some)
        self.compression = _NAMES[number]
        return ByteStream(Decompressing(number, body, self._deadline, protected=self._protected).more)


def _literal(body: Body) -> Iterator[memoryview]:
    """The literal data without its name and date (RFC 4880 section 5.9)."""
    size = body.take(2, "the literal data")[1]
    body.take(size + 4, "the literal data")
    room = memoryview(bytearray(PIECE))
    while True:
        piece = body.some()
        if len(piece) >= PIECE // 2:  # one long part: no need to move it
            yield piece
            continue
        room[: len(piece)] = piece
        size = len(piece) + body.readinto(room[len(piece) :]) if piece else 0
        if not size:
            return
        yield room[:size]


class Decompressing:
    """Decompressed bytes of a packet's body, a bounded piece at a time.

    Args:
        number: The algorithm (RFC 4880 section 9.3): 1 raw deflate, 2 zlib, 3 bzip2.
        body: The compressed bytes.
        deadline: When to stop.
        protected: As :class:`Content` has it.
    """

    def __init__(self, number: int, body: Body, deadline: Deadline, *, protected: bool) -> None:
        self._body = body
        self._deadline = deadline
        self._protected = protected
        kind = {1: "deflate", 2: "zlib", 3: "bzip2"}[number]
        if protected and kind == "zlib":  # its checksum is left out by some, and the code says more
            header = int.from_bytes(body.take(2, "the compressed data"), "big")
            if header % 31 or header >> 8 & 15 != 8 or header & 32:
                raise damaged("its compressed data is damaged (zlib header)")
            kind = "deflate"
        self._engine = decompressor(kind)

    def more(self) -> bytes:
        """Give the next piece; an empty one at the end.

        Raises:
            IntegrityProblem: It is damaged or cut off.
            DeadlinePassed: Its time is over.
        """
        while not self._engine.eof:
            self._deadline.check()
            piece: memoryview | bytes = b""
            if self._engine.needs_input:
                piece = self._body.some(_AT_ONCE)
                if not piece:
                    raise cut_off("the compressed data goes on")
            out = decompress(self._engine, piece)
            if out:
                return out
        if self._engine.unused_data and not self._protected:
            raise damaged("something follows the compressed data")
        return b""


def decompressor(kind: str) -> Any:
    """Make a decompressor with the interface of :class:`bz2.BZ2Decompressor`.

    Args:
        kind: ``deflate``, ``zlib``, ``gzip`` or ``bzip2``.
    """
    if kind == "bzip2":
        import bz2

        return bz2.BZ2Decompressor()
    from isal import igzip_lib

    flags = {
        "deflate": igzip_lib.DECOMP_DEFLATE,
        "zlib": igzip_lib.DECOMP_ZLIB,
        "gzip": igzip_lib.DECOMP_GZIP,
    }
    return igzip_lib.IgzipDecompressor(flag=flags[kind])


def decompress(engine: Any, data: memoryview | bytes) -> bytes:
    """Decompress a bounded piece.

    Raises:
        IntegrityProblem: The data is damaged.
    """
    from isal import igzip_lib

    try:
        out: bytes = engine.decompress(data, _AT_ONCE)
    except (igzip_lib.IsalError, OSError, ValueError, EOFError) as error:  # type: ignore[misc]
        raise damaged(f"its compressed data is damaged ({error})") from None
    return out
