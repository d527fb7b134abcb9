"""Open one encrypted message as a stream, and prove that it is whole.

Two threads: this one reads, decrypts, decompresses and lists; the other computes the integrity code,
whose SHA-1 is the slowest step. Nothing that came out counts before the code has been compared.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import deque
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle
from typing import Final

from pipeline.core.clock import Deadline
from pipeline.core.errors import DeadlinePassed, IntegrityProblem, OrgkeyError, Unsupported
from pipeline.core.secret import Secret
from pipeline.openpgp.format import ciphers
from pipeline.sources.backups.aead import Chunks
from pipeline.sources.backups.byte_stream import PIECE, ByteStream
from pipeline.sources.backups.container import Contents, ContentSummary
from pipeline.sources.backups.content import Content
from pipeline.sources.backups.framing import Body, damaged, packet
from pipeline.sources.backups.message_header import MessageHeader
from pipeline.sources.backups.origin import ContentSignatures

_ALGORITHMS: Final = {7: 16, 8: 24, 9: 32}
"""AES by its OpenPGP number (RFC 4880 section 9.2), with the length of its key in bytes."""
BLOCK: Final = 16
_PREFIX: Final = BLOCK + 2
_SIGNATURE: Final = 2
_TRAILER: Final = 22
"""The integrity packet: two octets of header and a SHA-1 (RFC 4880 section 5.14)."""
_LEAD: Final = 32
"""Room before a piece for what was held back of the one before."""
_BUFFERS: Final = 8


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
class ReadResult:
    """A message that was read to its end.

    Attributes:
        found: What it holds.
        compression: ``none``, ``zip``, ``zlib`` or ``bzip2``; ``None`` where gpg did not say.
        integrity: ``mdc`` when its code was right, ``aead`` when those of its chunks were, ``none`` when it
            has none.
        engine: ``orgkey`` or ``gnupg``: who read it.
        signed_by: The fingerprint of the signer who has signed the content; ``None`` where none has, or gpg
            read it.
    """

    found: ContentSummary
    compression: str | None
    integrity: str
    engine: str
    signed_by: str | None = None


@dataclass(frozen=True)
class Reading:
    """What came of reading one backup.

    Attributes:
        outcome: What it was, or what is wrong with it.
        sha256: Of all its stored bytes, in hexadecimal; ``None`` where they could not all be read.
    """

    outcome: ReadResult | OrgkeyError
    sha256: str | None = None

    def result(self) -> ReadResult:
        """What it was.

        Raises:
            OrgkeyError: What is wrong with it.
        """
        if isinstance(self.outcome, OrgkeyError):
            raise self.outcome
        return self.outcome


@dataclass(frozen=True)
class Expectations:
    """What a backup should be, besides whole.

    Attributes:
        entries: Patterns, as a shell has them; each has to fit the name of an entry of the archive.
        signers: Public keys, each armored or binary: a signature by one of them says who made the backup.
    """

    entries: tuple[str, ...] = ()
    signers: tuple[bytes, ...] = ()


NO_EXPECTATIONS: Final = Expectations()


def load() -> None:
    """Import what reading takes, so that it does not count as reading."""
    import isal.igzip_lib
    from cryptography.hazmat.primitives.ciphers import Cipher

    del isal, Cipher


def understands(header: MessageHeader, key: SessionKey) -> bool:
    """Whether this engine reads such a message; gpg may, where it does not."""
    return key.algorithm in _ALGORITHMS and header.protection != "aead-2"


def read(
    cursor: ByteStream,
    header: MessageHeader,
    key: SessionKey,
    deadline: Deadline,
    contents: Contents | None = None,
    expected: Expectations = NO_EXPECTATIONS,
) -> ReadResult:
    """Read a message to its end.

    Args:
        cursor: The message in binary form, at its first byte.
        header: What its beginning says.
        key: Its session key.
        deadline: When to stop.
        contents: Takes the content; a new one when ``None``.
        expected: What it should be.

    Returns:
        What it was; its integrity code, where it has one, is right.

    Raises:
        IntegrityProblem: It was altered or cut off, or what is inside is damaged.
        Unsupported: It has a form that is not understood here.
        DeadlinePassed: Its time is over.
    """
    if not understands(header, key) or len(key.key) != _ALGORITHMS[key.algorithm]:
        raise Unsupported(
            f"its cipher (algorithm {key.algorithm}) or its protection is not understood here",
            hint="gpg may read it: --engine gpg",
        )
    cursor.take(header.offset, "the message")
    opened = packet(cursor, "the message")
    assert opened is not None, "the head was read from here"
    contents = contents or Contents(expected.entries)
    signatures = ContentSignatures(expected.signers)
    content: Content | None = None
    problem: OrgkeyError | None = None
    found: ContentSummary | None = None
    with ThreadPoolExecutor(1, "integrity-code") as hasher:
        plaintext = _PLAINTEXTS[header.protection](opened[1], key, hasher)
        try:
            content = Content(
                plaintext.start(), deadline, protected=header.protection != "none", signatures=signatures
            )
            for piece in content.pieces():
                contents.feed(piece)
            found = contents.finish()
        except OrgkeyError as error:
            problem = error  # the integrity code has the first word
        plaintext.finish(problem)
    if problem is not None:
        raise problem
    _end(cursor)
    assert found is not None
    assert content is not None
    return ReadResult(found, content.compression, header.protection, "orgkey", signatures.signed_by())


def _end(cursor: ByteStream) -> None:
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


class _Cfb:
    """OpenPGP's CFB decryption of a packet's body (RFC 4880 section 13.9)."""

    def __init__(self, key: bytes, iv: bytes = bytes(BLOCK)) -> None:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

        self._decryptor = Cipher(algorithms.AES(key), ciphers.cfb(iv)).decryptor()
        self._ciphertext = memoryview(bytearray(PIECE))

    def fill(self, body: Body, target: memoryview) -> int:
        """Decrypt the next piece to the front of ``target``, which has a block more room than it takes."""
        size = body.readinto(self._ciphertext)
        return self._decryptor.update_into(self._ciphertext[:size], target) if size else 0


class _Plaintext:
    """Plaintext of one encrypted data packet.

    Args:
        body: The packet's content.
        key: The session key.
        hasher: Computes the integrity code beside the thread that decrypts.
    """

    def __init__(self, body: Body, key: SessionKey, hasher: Executor) -> None:
        self._body = body
        self._algorithm = key.algorithm
        self._key = key.key.reveal()
        self._hasher = hasher

    def start(self) -> ByteStream:
        """Begin to decrypt."""
        raise NotImplementedError

    def finish(self, problem: OrgkeyError | None) -> None:
        """Read to the end, and compare the codes.

        Args:
            problem: What is wrong inside.

        Raises:
            IntegrityProblem: It was cut off or altered; then the problem may be the alteration's doing.
        """
        raise NotImplementedError


class _Mdc(_Plaintext):
    """With a modification detection code: all but its last bytes is hashed."""

    def __init__(self, body: Body, key: SessionKey, hasher: Executor) -> None:
        super().__init__(body, key, hasher)
        if body.take(1, "the encrypted data") != b"\x01":  # it was another one when the header was read
            raise _altered("its version is another one")
        self._cfb = _Cfb(self._key)
        self._digest = hashlib.sha1(usedforsecurity=False)
        self._buffers = cycle(memoryview(bytearray(_LEAD + PIECE + BLOCK)) for _ in range(_BUFFERS))
        self._hashing: deque[Future[None]] = deque()
        self._tail = b""

    def start(self) -> ByteStream:
        stream = ByteStream(self._more)
        _check_prefix(stream.take(_PREFIX, "the encrypted data"))
        return stream

    def _more(self) -> memoryview:
        """The next piece, without what may be the integrity packet."""
        while True:
            if len(self._hashing) == _BUFFERS:
                self._hashing.popleft().result()
            buffer = next(self._buffers)
            size = self._cfb.fill(self._body, buffer[_LEAD:])
            if not size:
                return memoryview(b"")
            start, end = _LEAD - len(self._tail), _LEAD + size
            buffer[start:_LEAD] = self._tail
            keep = min(_TRAILER, end - start)
            self._tail = bytes(buffer[end - keep : end])
            piece = buffer[start : end - keep]
            self._hashing.append(self._hasher.submit(self._digest.update, piece))
            if piece:
                return piece

    def finish(self, problem: OrgkeyError | None) -> None:
        while self._more():
            pass
        for job in self._hashing:
            job.result()
        self._digest.update(self._tail[:2])
        if len(self._tail) < _TRAILER or self._tail[:2] != b"\xd3\x14":
            raise _altered("its integrity code is missing")
        if not hmac.compare_digest(self._digest.digest(), self._tail[2:]):
            raise _altered("its integrity code is wrong")


class _Unprotected(_Plaintext):
    """Without an integrity code, as very old programs write; CFB resynchronises after its prefix."""

    def start(self) -> ByteStream:
        room = memoryview(bytearray(PIECE + BLOCK))
        first = self._body.take(_PREFIX, "the encrypted data")
        _check_prefix(ciphers.crypt(self._algorithm, self._key, bytes(BLOCK), first, encrypt=False))
        cfb = _Cfb(self._key, first[2:])
        return ByteStream(lambda: room[: cfb.fill(self._body, room)])

    def finish(self, problem: OrgkeyError | None) -> None:
        if problem is None and self._body.some():
            raise damaged("something follows the content")


class _Aead(_Plaintext):
    """With a code for each chunk, which is compared before the chunk is given out."""

    _chunks: Chunks | None = None

    def start(self) -> ByteStream:
        self._chunks = Chunks(self._body, self._algorithm, self._key)
        return ByteStream(self._more)

    def _more(self) -> bytes:
        from cryptography.exceptions import InvalidTag

        try:
            return self._chunks.more() if self._chunks else b""
        except InvalidTag:
            raise _altered("its integrity code is wrong") from None

    def finish(self, problem: OrgkeyError | None) -> None:
        while not isinstance(problem, DeadlinePassed | Unsupported) and self._more():
            pass


_PLAINTEXTS: Final[dict[str, type[_Plaintext]]] = {"mdc": _Mdc, "none": _Unprotected, "aead": _Aead}


def _check_prefix(prefix: bytes) -> None:
    if prefix[14:16] != prefix[16:18]:
        raise _altered("its beginning does not fit the session key")


def _altered(why: str) -> IntegrityProblem:
    return IntegrityProblem(
        f"it was altered or damaged: {why}",
        hint="take another copy of this backup; find out who can write where it lies",
    )
