"""Signature packets (RFC 4880 section 5.2): their fields, whether one is genuine, and how one is made.

Signatures are made here, in memory, for keys that no other program takes as they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from pipeline.core.errors import NotAKey, Unsupported
from pipeline.openpgp.format.ciphers import DIGESTS
from pipeline.openpgp.format.material import (
    ECDSA,
    EDDSA,
    RSA,
    UNSUPPORTED_HINT,
    PublicPart,
    private_key,
    public_key,
    write_numbers,
)
from pipeline.openpgp.format.packets import FieldReader, Packet, Tag, build

DOCUMENT = 0x00
STRONG_DIGESTS = frozenset({8, 9, 10})
"""SHA-256, SHA-384, SHA-512 (RFC 4880 section 9.4): a signature over data with another one proves nothing."""
CERTIFICATIONS = frozenset({0x10, 0x11, 0x12, 0x13})
SUBKEY_BINDING, PRIMARY_BINDING, DIRECT = 0x18, 0x19, 0x1F
KEY_REVOCATION, SUBKEY_REVOCATION, CERTIFICATION_REVOCATION = 0x20, 0x28, 0x30

CREATED, EXPIRES, KEY_EXPIRES, CIPHERS, REVOKER, ISSUER, PRIMARY_UID, FLAGS, EMBEDDED, FINGERPRINT = (
    2, 3, 9, 11, 12, 16, 25, 27, 32, 33,
)  # fmt: skip
# Critical subpackets that this reader heeds or that do not change what it concludes.
_KNOWN = frozenset({2, 3, 4, 5, 6, 7, 9, 11, 12, 16, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 32, 33, 34})

NOTATION = 20
_NOTATIONS = frozenset({"preferred-email-encoding@pgp.com"})  # changes nothing of what is concluded here
_NAMES = {10: " (additional decryption key)"}

CERTIFY, SIGN, ENCRYPT = 0x01, 0x02, 0x0C
# MD5 can be collided at will; no current program takes it for a signature.
_BROKEN_DIGESTS = frozenset({1})


@dataclass(frozen=True)
class Signature:
    """The fields of a signature of version 3 or 4.

    Attributes:
        version: 3 or 4.
        kind: Signature type.
        algorithm: Public-key algorithm id.
        digest: Digest algorithm id.
        created: When it says it was made.
        hashed: The hashed subpackets in their order, type and content.
        unhashed: The other ones: anybody can change them.
        prefix: The signature's own part of what is hashed, with its trailer.
        left: The first two bytes of the digest.
        numbers: The signature itself.
        issuer: Key id of its maker, empty when it does not say.
        unknown: The critical subpackets and notations that are not understood: it does not count then
            (RFC 9580 sections 5.2.3.7 and 5.2.3.24).
    """

    version: int
    kind: int
    algorithm: int
    digest: int
    created: datetime
    hashed: tuple[tuple[int, bytes], ...]
    unhashed: tuple[tuple[int, bytes], ...]
    prefix: bytes
    left: bytes
    numbers: tuple[int, ...]
    issuer: str
    unknown: tuple[str, ...] = ()

    def first(self, kind: int) -> bytes | None:
        """The first hashed subpacket of a type."""
        return next((data for found, data in self.hashed if found == kind), None)

    def span(self, kind: int) -> timedelta | None:
        """A time span in a hashed subpacket; none when absent or zero, which mean for ever."""
        data = self.first(kind)
        seconds = int.from_bytes(data, "big") if data and len(data) == 4 else 0
        return timedelta(seconds=seconds) if seconds else None

    @property
    def flags(self) -> int | None:
        """Key flags, none when the signature does not say."""
        data = self.first(FLAGS)
        return None if data is None else (data[0] if data else 0)

    def alive(self, now: datetime | None) -> bool:
        """Whether it counts at a time; without a time, always."""
        if now is None:
            return True
        lifetime = self.span(EXPIRES)
        return self.created <= now and (lifetime is None or now < self.created + lifetime)


def read_signature(body: bytes) -> Signature | None:
    """Read a signature packet.

    Returns:
        Nothing when it is of another version, an unknown algorithm, or malformed: such a signature
        proves nothing, and is carried along as it is.
    """
    try:
        version = body[:1]
        if version == b"\x04":
            return _read_v4(body)
        return _read_v3(body) if version in (b"\x02", b"\x03") else None
    except NotAKey:
        return None


def _read_v4(body: bytes) -> Signature:
    reader = FieldReader(body, "a signature", 1)
    kind, algorithm, digest = reader.octet(), reader.octet(), reader.octet()
    hashed, unknown = _subpackets(reader.take(reader.number(2)))
    end = reader.at
    unhashed, _ = _subpackets(reader.take(reader.number(2)))
    left = reader.take(2)
    numbers = _mpis(reader)
    stamp = next((data for found, data in hashed if found == CREATED), b"")
    if len(stamp) != 4:
        raise NotAKey("a signature has no time", hint="it is left out")
    return Signature(
        4,
        kind,
        algorithm,
        digest,
        datetime.fromtimestamp(int.from_bytes(stamp, "big"), UTC),
        hashed,
        unhashed,
        body[:end] + b"\x04\xff" + end.to_bytes(4, "big"),
        left,
        numbers,
        # Anybody can change the unhashed ones: they count only where the hashed ones do not say.
        _issuer(hashed) or _issuer(unhashed),
        unknown,
    )


def _issuer(subpackets: tuple[tuple[int, bytes], ...]) -> str:
    issuer = ""
    for found, data in subpackets:
        if found == FINGERPRINT and len(data) == 21 and data[0] == 4:
            return data[-8:].hex().upper()
        if found == ISSUER and len(data) == 8 and not issuer:
            issuer = data.hex().upper()
    return issuer


def _read_v3(body: bytes) -> Signature:
    reader = FieldReader(body, "a signature", 1)
    if reader.octet() != 5:
        raise NotAKey("a signature's hashed part has another length than 5", hint="it is left out")
    hashed = reader.take(5)
    issuer = reader.take(8).hex().upper()
    algorithm, digest = reader.octet(), reader.octet()
    left = reader.take(2)
    created = datetime.fromtimestamp(int.from_bytes(hashed[1:], "big"), UTC)
    return Signature(3, hashed[0], algorithm, digest, created, (), (), hashed, left, _mpis(reader), issuer)


def _mpis(reader: FieldReader) -> tuple[int, ...]:
    numbers: list[int] = []
    while reader.left and len(numbers) < 4:
        numbers.append(reader.mpi())
    return tuple(numbers)


def _subpackets(area: bytes) -> tuple[tuple[tuple[int, bytes], ...], tuple[str, ...]]:
    reader = FieldReader(area, "a signature's subpackets")
    found = []
    unknown = []
    while reader.left:
        kind, data = reader.subpacket()
        number = kind & 0x7F
        if kind & 0x80 and number not in _KNOWN:
            unknown.append(f"subpacket {number}{_NAMES.get(number, '')}")
        elif kind & 0x80 and number == NOTATION and (name := _notation(data)) not in _NOTATIONS:
            unknown.append(f"notation {name}")
        found.append((number, data))
    return tuple(found), tuple(unknown)


def _notation(data: bytes) -> str:
    name = data[8 : 8 + int.from_bytes(data[4:6], "big")].decode(errors="replace")
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name)


def hashed_key(public: PublicPart) -> bytes:
    """A key as signatures hash it."""
    return b"\x99" + len(public.raw).to_bytes(2, "big") + public.raw


def hashed_identity(tag: int, body: bytes, *, version: int = 4) -> bytes:
    """A user id (tag 13) or user attribute (tag 17) as signatures hash it."""
    if version < 4:
        return body
    return (b"\xd1" if tag == 17 else b"\xb4") + len(body).to_bytes(4, "big") + body


def verify(signature: Signature, maker: PublicPart, data: bytes) -> bool:
    """Whether a signature over ``data`` was made by ``maker``.

    Verified here and not by a second program, because it decides what the other programs are given:
    they judge too, each by its own policy, when the key is proven.

    Args:
        signature: The signature.
        maker: Whose it should be.
        data: What is signed, without the signature's own part.
    """
    return not signature.unknown and holds(signature, maker, data)


def holds(signature: Signature, maker: PublicPart, data: bytes) -> bool:
    """The same, whatever critical subpackets the signature has: for telling why it does not count."""
    hashing = hasher(signature.digest)
    if hashing is None:
        return False
    hashing.update(data)
    return holds_hash(signature, maker, hashing)


def hasher(digest: int) -> hashlib._Hash | None:
    """A new hash for a digest algorithm id; ``None`` where it is not known, or proves nothing."""
    known = DIGESTS.get(digest)
    if known is None or digest in _BROKEN_DIGESTS:
        return None
    try:
        return hashlib.new(known[1], usedforsecurity=False)
    except ValueError:
        return None


def holds_hash(signature: Signature, maker: PublicPart, hashing: hashlib._Hash) -> bool:
    """The same of data that was hashed piece by piece, with the signature's own algorithm.

    Args:
        signature: The signature.
        maker: Whose it should be.
        hashing: Has taken the data; it is left as it is.
    """
    if signature.issuer and signature.issuer != maker.key_id:
        return False
    hashing = hashing.copy()
    hashing.update(signature.prefix)
    digest = hashing.digest()
    # The two bytes in the clear spare the arithmetic for most signatures that are not over this data.
    return digest[:2] == signature.left and _check(signature, maker, digest)


# A run sees the same signatures in each copy of a record, and again in each proof.
@lru_cache(maxsize=1024)
def _check(signature: Signature, maker: PublicPart, digest: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import utils

    numbers = signature.numbers
    try:
        if maker.algorithm in RSA and signature.algorithm in RSA and len(numbers) == 1:
            made = numbers[0].to_bytes((maker.numbers[0].bit_length() + 7) // 8, "big")
        elif signature.algorithm != maker.algorithm or len(numbers) != 2 or not maker.can_sign:
            return False
        elif maker.algorithm == EDDSA:
            made = b"".join(number.to_bytes(32, "big") for number in numbers)
        else:
            made = utils.encode_dss_signature(*numbers)
        public_key(maker).verify(made, digest, *scheme(maker, signature.digest))
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, OverflowError):
        return False
    return True


def scheme(maker: PublicPart, digest: int) -> tuple[Any, ...]:
    """What ``cryptography`` is told beside the digest's value when a key of that algorithm signs or verifies.

    Args:
        maker: The key.
        digest: Digest algorithm id.

    Raises:
        ValueError: Nothing is signed over such a digest.
    """
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, utils

    if maker.algorithm == EDDSA:
        return ()
    kind = getattr(hashes, DIGESTS[digest][0].replace("-", ""), None)
    if kind is None:
        raise ValueError("no such digest")
    prehashed = utils.Prehashed(kind())
    if maker.algorithm in RSA:
        return padding.PKCS1v15(), prehashed
    return (ec.ECDSA(prehashed),) if maker.algorithm == ECDSA else (prehashed,)


def subpacket(kind: int, data: bytes) -> bytes:
    """One subpacket (RFC 4880 section 5.2.3.1)."""
    size = len(data) + 1
    head = bytes([size]) if size < 192 else b"\xff" + size.to_bytes(4, "big")
    return head + bytes([kind]) + data


def sign(
    maker: PublicPart,
    secret: tuple[int, ...],
    kind: int,
    data: bytes,
    created: datetime,
    more: Iterable[bytes] = (),
) -> Packet:
    """Make a signature of version 4.

    Args:
        maker: Who signs.
        secret: Its secret numbers.
        kind: The signature's type.
        data: What is signed, without the signature's own part.
        created: When it says it was made.
        more: Further hashed subpackets.

    Raises:
        Unsupported: The algorithm does not sign, or is gone from the installed libraries.
    """
    digest = 10 if maker.digest == "SHA512" else 8
    hashed = b"".join(
        (
            subpacket(CREATED, int(created.timestamp()).to_bytes(4, "big")),
            *more,
            subpacket(FINGERPRINT, b"\x04" + bytes.fromhex(maker.fingerprint)),
        )
    )
    head = bytes([4, kind, maker.algorithm, digest]) + len(hashed).to_bytes(2, "big") + hashed
    whole = data + head + b"\x04\xff" + len(head).to_bytes(4, "big")
    done = hashlib.new(maker.digest.lower(), whole, usedforsecurity=True).digest()
    issuer = subpacket(ISSUER, bytes.fromhex(maker.key_id))
    tail = len(issuer).to_bytes(2, "big") + issuer + done[:2]
    tail += write_numbers(_signed(maker, secret, done, digest))
    return build(Tag.SIGNATURE, head + tail)


def _signed(maker: PublicPart, secret: tuple[int, ...], done: bytes, digest: int) -> tuple[int, ...]:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import utils

    if not (maker.can_sign or maker.algorithm in RSA):
        raise Unsupported(f"{maker.name} does not sign", hint=UNSUPPORTED_HINT)
    try:
        made = private_key(maker, secret).sign(done, *scheme(maker, digest))
    except (UnsupportedAlgorithm, ValueError) as error:
        raise Unsupported(
            f"this program cannot sign with {maker.name}: {error}", hint=UNSUPPORTED_HINT
        ) from error
    if maker.algorithm in RSA:
        return (int.from_bytes(made, "big"),)
    if maker.algorithm == EDDSA:
        return int.from_bytes(made[:32], "big"), int.from_bytes(made[32:], "big")
    return utils.decode_dss_signature(made)
