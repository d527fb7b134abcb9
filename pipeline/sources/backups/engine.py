"""Open one encrypted message as a stream, and prove that it is whole.

Two threads: this one reads, decrypts, decompresses and lists; the other computes the integrity code,
whose SHA-1 is the slowest step. Nothing that came out counts before the code has been compared.
"""

from __future__ import annotations

import hashlib
import hmac
import queue
import threading
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import Any, Final, Self

from pipeline.core.clock import Deadline
from pipeline.core.errors import DeadlinePassed, IntegrityProblem, OrgkeyError, Unsupported
from pipeline.core.secret import Secret
from pipeline.sources.backups.aead import Chunks
from pipeline.sources.backups.cfb import ALGORITHMS, BLOCK, Decryptor
from pipeline.sources.backups.container import Contents, Found
from pipeline.sources.backups.content import Content
from pipeline.sources.backups.cursor import PIECE, Cursor
from pipeline.sources.backups.framing import Body, damaged, packet
from pipeline.sources.backups.head import Head

_PREFIX: Final = BLOCK + 2
_SIGNATURE: Final = 2
_TRAILER: Final = 22
"""The integrity packet: two octets of header and a SHA-1 (RFC 4880 section 5.14)."""
_LEAD: Final = 32
"""Room before a piece for what was held back of the one before; a multiple of 8, for fast XOR."""
_BUFFERS: Final = 4

Buffer = Any
"""An array of octets. Its type has no buffer interface in the stubs of older Pythons."""


@dataclass(frozen=True)
class SessionKey:
    """What a message is encrypted with.

    Attributes:
        algorithm: OpenPGP's number of the cipher.
        key: The key itself.
    """

    algorithm: int
    key: Secret


@dataclass(frozen=True)
class Reading:
    """A message that was read to its end.

    Attributes:
        found: What it holds.
        compression: ``none``, ``zip``, ``zlib`` or ``bzip2``; ``None`` where gpg did not say.
        integrity: ``mdc`` when its code was right, ``aead`` when those of its chunks were, ``none`` when it
            has none.
        engine: ``orgkey`` or ``gnupg``: who read it.
    """

    found: Found
    compression: str | None
    integrity: str
    engine: str


def load() -> None:
    """Import what reading takes, so that it does not count as reading."""
    import isal.igzip_lib
    import numpy
    from cryptography.hazmat.primitives.ciphers import Cipher

    del isal, numpy, Cipher


def understands(head: Head, key: SessionKey) -> bool:
    """Whether this engine reads such a message; gpg may, where it does not."""
    return key.algorithm in ALGORITHMS and head.protection != "aead-2"


def read(
    cursor: Cursor, head: Head, key: SessionKey, deadline: Deadline, contents: Contents | None = None
) -> Reading:
    """Read a message to its end.

    Args:
        cursor: The message in binary form, at its first byte.
        head: What its beginning says.
        key: Its session key.
        deadline: When to stop.
        contents: Takes the content; a new one when ``None``.

    Returns:
        What it was; its integrity code, where it has one, is right.

    Raises:
        IntegrityProblem: It was altered or cut off, or what is inside is damaged.
        Unsupported: It has a form that is not understood here.
        DeadlinePassed: Its time is over.
    """
    if not understands(head, key) or len(key.key) != ALGORITHMS[key.algorithm]:
        raise Unsupported(
            f"its cipher (algorithm {key.algorithm}) or its protection is not understood here",
            hint="gpg may read it: --engine gpg",
        )
    cursor.take(head.offset, "the message")
    opened = packet(cursor, "the message")
    assert opened is not None, "the head was read from here"
    body = opened[1]
    contents = contents or Contents()
    plain = _STREAMS[head.protection]
    content: Content | None = None
    problem: OrgkeyError | None = None
    found: Found | None = None
    with plain(body, key) as stream:
        try:
            content = Content(stream.start(), deadline, protected=head.protection != "none")
            for piece in content.pieces():
                contents.feed(piece)
            found = contents.finish()
        except OrgkeyError as error:
            problem = error  # which may be the alteration's doing: the integrity code has the first word
        stream.finish(problem)
    _end(cursor)
    assert found is not None
    assert content is not None
    return Reading(found, content.compression, head.protection, "orgkey")


def _end(cursor: Cursor) -> None:
    """Only signatures, of a message that was signed after it was encrypted, may follow."""
    before = cursor.taken
    try:
        while (item := packet(cursor, "what follows")) is not None and item[0] == _SIGNATURE:
            while item[1].some():
                pass
        if item is None:
            return
    except IntegrityProblem:
        pass
    cursor.drain()
    raise damaged(f"something follows the message, {cursor.taken - before} bytes")


class _Stream:
    """Plaintext of one encrypted data packet."""

    def __init__(self, body: Body, key: SessionKey) -> None:
        self._body = body
        self._algorithm = key.algorithm
        self._key = key.key.reveal()

    @cached_property
    def _decryptor(self) -> Decryptor:
        return Decryptor(self._key, PIECE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def start(self) -> Cursor:
        """Begin to decrypt."""
        raise NotImplementedError

    def finish(self, problem: OrgkeyError | None) -> None:
        """Read to the end, and only then let another problem speak."""
        raise NotImplementedError

    def _fill(self, out: Buffer) -> int:
        """Decrypt the next piece to the front of ``out``."""
        size = self._body.readinto(self._decryptor.room)
        if size:
            self._decryptor.decrypt(size, out)
        return size


class _Protected(_Stream):
    """With an integrity code: all but its last bytes is hashed, by another thread."""

    def __init__(self, body: Body, key: SessionKey) -> None:
        super().__init__(body, key)
        version = body.take(1, "the encrypted data")
        if version != b"\x01":  # it was another one when the head was read
            raise _altered("its version is another one")
        self._free: queue.SimpleQueue[Buffer] = queue.SimpleQueue()
        self._work: queue.SimpleQueue[tuple[Buffer, memoryview] | None] = queue.SimpleQueue()
        self._digest = hashlib.sha1(usedforsecurity=False)
        self._thread = threading.Thread(target=self._hash, name="integrity code", daemon=True)
        self._tail = b""

    def __enter__(self) -> Self:
        for _ in range(_BUFFERS):
            self._free.put(_buffer(_LEAD + PIECE + 2 * BLOCK))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._work.put(None)
        self._thread.join()

    def _hash(self) -> None:
        while (item := self._work.get()) is not None:
            buffer, piece = item
            self._digest.update(piece)
            self._free.put(buffer)

    def start(self) -> Cursor:
        cursor = Cursor(self._more)
        _check_prefix(cursor.take(_PREFIX, "the encrypted data"))
        return cursor

    def _more(self) -> memoryview:
        """The next piece, without what may be the integrity packet."""
        while True:
            # Whoever got the last piece is done with it by asking for the next.
            buffer = self._free.get()
            size = self._fill(buffer[_LEAD:])
            if not size:
                self._free.put(buffer)
                return memoryview(b"")
            room = memoryview(buffer)
            start = _LEAD - len(self._tail)
            room[start:_LEAD] = self._tail
            end = _LEAD + size
            keep = min(_TRAILER, end - start)
            self._tail = bytes(room[end - keep : end])
            piece = room[start : end - keep]
            self._work.put((buffer, piece))
            if piece:
                return piece

    def finish(self, problem: OrgkeyError | None) -> None:
        """Read to the end, compare the integrity code, and only then let another problem speak.

        Raises:
            IntegrityProblem: It was cut off or altered.
            OrgkeyError: ``problem``, where the message is what its maker wrote.
        """
        while self._more():
            pass
        self._work.put(None)
        self._thread.join()
        self._digest.update(self._tail[:2])
        if len(self._tail) < _TRAILER or self._tail[:2] != b"\xd3\x14":
            raise _altered("its integrity code is missing")
        if not hmac.compare_digest(self._digest.digest(), self._tail[2:]):
            raise _altered("its integrity code is wrong")
        if problem is not None:
            raise problem


class _Unprotected(_Stream):
    """Without an integrity code, as very old programs write; CFB resynchronises after its prefix."""

    def start(self) -> Cursor:
        self._out: Buffer = _buffer(PIECE + 2 * BLOCK)
        first = self._body.take(_PREFIX, "the encrypted data")
        self._decryptor.room[:_PREFIX] = first
        self._decryptor.decrypt(_PREFIX, self._out)
        _check_prefix(bytes(memoryview(self._out)[:_PREFIX]))
        self._decryptor.restart(first[2:])
        return Cursor(self._more)

    def _more(self) -> memoryview:
        return memoryview(self._out)[: self._fill(self._out)]

    def finish(self, problem: OrgkeyError | None) -> None:
        """Let what went wrong speak.

        Raises:
            OrgkeyError: ``problem``.
        """
        if problem is not None:
            raise problem
        if self._body.some():
            raise damaged("something follows the content")


class _Authenticated(_Stream):
    """With a code for each chunk, which is compared before the chunk is given out."""

    _chunks: Chunks | None = None

    def start(self) -> Cursor:
        self._chunks = Chunks(self._body, self._algorithm, self._key)
        return Cursor(self._more)

    def _more(self) -> bytes:
        from cryptography.exceptions import InvalidTag

        try:
            return self._chunks.more() if self._chunks else b""
        except InvalidTag:
            raise _altered("its integrity code is wrong") from None

    def finish(self, problem: OrgkeyError | None) -> None:
        """Compare the codes that are left, and only then let another problem speak.

        Raises:
            IntegrityProblem: It was cut off or altered.
            OrgkeyError: ``problem``, where the message is what its maker wrote.
        """
        while not isinstance(problem, DeadlinePassed | Unsupported) and self._more():
            pass
        if problem is not None:
            raise problem


_STREAMS: Final[dict[str, type[_Stream]]] = {
    "mdc": _Protected,
    "none": _Unprotected,
    "aead": _Authenticated,
}


def _check_prefix(prefix: Any) -> None:
    if prefix[14:16] != prefix[16:18]:
        raise _altered("its beginning does not fit the session key")


def _altered(why: str) -> IntegrityProblem:
    return IntegrityProblem(
        f"it was altered or damaged: {why}",
        hint="take another copy of this backup; find out who can write where it lies",
    )


def _buffer(size: int) -> Buffer:
    import numpy

    return numpy.empty(size, numpy.uint8)
