"""Writes encrypted OpenPGP messages packet by packet, in forms that programs seldom write.

Written from RFC 4880 for the tests alone: none of the program's own code is used.
"""

from __future__ import annotations

import bz2
import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

NONE, ZIP, ZLIB, BZIP2 = range(4)
ALGORITHMS = {7: 16, 8: 24, 9: 32}
INDETERMINATE = -1
OLD = -4


@dataclass(frozen=True)
class Framing:
    """How a packet's length is written.

    Attributes:
        parts: Powers of two: the sizes of partial bodies, used in turn; none for one whole body.
        form: Without parts: octets of a new-format length (1, 2, 5; 0 for the shortest that fits),
            ``OLD`` for an old-format one, ``INDETERMINATE`` for an old-format packet up to the end.
    """

    parts: tuple[int, ...] = ()
    form: int = 0

    def packet(self, tag: int, body: bytes) -> bytes:
        """Frame a body."""
        if not self.parts:
            return _whole(tag, body, self.form)
        out = bytearray([0xC0 | tag])
        at, turn = 0, 0
        while len(body) - at >= (size := 1 << self.parts[turn % len(self.parts)]):
            out.append(0xE0 | self.parts[turn % len(self.parts)])
            out += body[at : at + size]
            at, turn = at + size, turn + 1
        return bytes(out) + _new_length(len(body) - at, 0) + body[at:]


def _whole(tag: int, body: bytes, form: int) -> bytes:
    if form == INDETERMINATE:
        return bytes([0x80 | tag << 2 | 3]) + body
    if form == OLD and tag < 16:  # an old header has room for no more
        return bytes([0x80 | tag << 2 | 2]) + len(body).to_bytes(4, "big") + body
    return bytes([0xC0 | tag]) + _new_length(len(body), form) + body


def _new_length(size: int, form: int) -> bytes:
    if form in (0, 1) and size < 192:
        return bytes([size])
    if form in (0, 2) and 192 <= size < 8384:
        return bytes([((size - 192) >> 8) + 192, (size - 192) & 255])
    return b"\xff" + size.to_bytes(4, "big")


def literal(data: bytes, framing: Framing = Framing(), name: bytes = b"b.tar") -> bytes:
    """A literal data packet."""
    return framing.packet(11, b"b" + bytes([len(name)]) + name + bytes(4) + data)


def compressed(inner: bytes, algorithm: int, framing: Framing = Framing()) -> bytes:
    """A compressed data packet; the inner packets as they are for ``NONE``."""
    if algorithm == NONE:
        return inner
    if algorithm == BZIP2:
        body = bz2.compress(inner)
    else:
        engine = zlib.compressobj(6, zlib.DEFLATED, -15 if algorithm == ZIP else 15)
        body = engine.compress(inner) + engine.flush()
    return framing.packet(8, bytes([algorithm]) + body)


def recipient(key_id: str) -> bytes:
    """A packet that names a recipient; the session key in it is garbage."""
    number = b"\x08\x00" + b"\xaa" * 256
    return Framing().packet(1, b"\x03" + bytes.fromhex(key_id) + b"\x01" + number)


def protected(
    inner: bytes, key: bytes, *, framing: Framing = Framing(), prefix: bytes = bytes(range(16))
) -> bytes:
    """Encrypted data with an integrity code (RFC 4880 section 5.13), by AES."""
    plain = prefix + prefix[-2:] + inner + b"\xd3\x14"
    plain += hashlib.sha1(plain).digest()  # noqa: S324
    return framing.packet(18, b"\x01" + _cfb(key, bytes(16), plain))


def unprotected(
    inner: bytes, key: bytes, *, framing: Framing = Framing(), prefix: bytes = bytes(range(16))
) -> bytes:
    """Encrypted data without an integrity code (section 5.7): CFB resynchronises after the prefix."""
    start = _cfb(key, bytes(16), prefix + prefix[-2:])
    return framing.packet(9, start + _cfb(key, start[2:], inner))


def _cfb(key: bytes, vector: bytes, plain: bytes) -> bytes:
    """Full-block CFB, from its definition."""
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305
    out = bytearray()
    for at in range(0, len(plain), 16):
        pad = encryptor.update(vector)
        piece = plain[at : at + 16]
        block = bytes(a ^ b for a, b in zip(piece, pad, strict=False))
        out += block
        vector = block
    return bytes(out)


def message(encrypted: bytes, recipients: Sequence[str] = ("0123456789ABCDEF",)) -> bytes:
    """A whole message."""
    return b"".join(recipient(key_id) for key_id in recipients) + encrypted
