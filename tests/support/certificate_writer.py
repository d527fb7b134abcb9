"""Writes OpenPGP certificates of every kind, also such as no honest program makes; the test side's own.

Keys come from a seed, so that the same words always give the same certificate. Only public parts are
written: who has to decrypt uses the committed keys.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tests.support import openpgp_writer as writer

MADE = datetime(2025, 1, 1, 12, tzinfo=UTC)
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
CERTIFY, SIGN, ENCRYPT = 0x01, 0x02, 0x0C
UID, BINDING, DIRECT, REVOKED_KEY, REVOKED_SUBKEY = 0x13, 0x18, 0x1F, 0x20, 0x28
SHA1, SHA256 = 2, 8

_ED25519 = bytes.fromhex("2b06010401da470f01")
_X25519 = bytes.fromhex("2b060104019755010501")


def mpi(value: bytes | int) -> bytes:
    """A multi-precision integer (RFC 4880 section 3.2)."""
    number = int.from_bytes(value, "big") if isinstance(value, bytes) else value
    return number.bit_length().to_bytes(2, "big") + number.to_bytes((number.bit_length() + 7) // 8, "big")


def _seed(words: str) -> bytes:
    return hashlib.sha256(words.encode()).digest()


def _stamp(moment: datetime) -> bytes:
    return int(moment.timestamp()).to_bytes(4, "big")


def _number(words: str, bits: int) -> int:
    """An odd number of exactly so many bits."""
    data = hashlib.shake_256(words.encode()).digest(bits // 8)
    return int.from_bytes(data, "big") | 1 << (bits - 1) | 1


def body(kind: str, seed: str, made: datetime = MADE) -> bytes:
    """A key packet's body.

    Args:
        kind: ``ed25519``, ``x25519``, or ``rsaBITS`` and ``elgBITS``, whose numbers only look right.
        seed: Whose key.
        made: When.
    """
    head = b"\x04" + _stamp(made)
    if kind == "ed25519":
        point = Ed25519PrivateKey.from_private_bytes(_seed(seed)).public_key().public_bytes_raw()
        return head + b"\x16" + bytes([len(_ED25519)]) + _ED25519 + mpi(b"\x40" + point)
    if kind == "x25519":
        point = X25519PrivateKey.from_private_bytes(_seed(seed)).public_key().public_bytes_raw()
        return head + b"\x12" + bytes([len(_X25519)]) + _X25519 + mpi(b"\x40" + point) + b"\x03\x01\x08\x07"
    bits = int(kind[3:])
    numbers = (
        (_number(seed, bits), 65537) if kind[:3] == "rsa" else (_number(seed, bits), 5, _number(seed, 512))
    )
    return head + (b"\x01" if kind[:3] == "rsa" else b"\x10") + b"".join(mpi(number) for number in numbers)


def fingerprint(key: bytes) -> str:
    """The fingerprint of a key packet's body."""
    return writer.fingerprint(key)


def _hashed(key: bytes) -> bytes:
    return b"\x99" + len(key).to_bytes(2, "big") + key


@dataclass
class Person:
    """A certificate in the making, with an Ed25519 primary key.

    Attributes:
        name: The seed, and the start of the user id.
        made: When the primary key was made.
        packets: The certificate so far.
    """

    name: str
    made: datetime = MADE
    packets: list[writer.Packet] = field(default_factory=list)

    @property
    def primary(self) -> bytes:
        return body("ed25519", self.name, self.made)

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.primary)

    @property
    def user_id(self) -> str:
        return f"{self.name.title()} <{self.name}@example.com>"

    @property
    def binary(self) -> bytes:
        return writer.join(self.packets)

    def write(self, path: Path) -> Path:
        """Write it into a file, armored."""
        path.write_text(writer.armor(self.binary, "PUBLIC KEY BLOCK"))
        return path

    def sign(
        self,
        kind: int,
        data: bytes,
        *,
        at: datetime | None = None,
        flags: int | None = None,
        expires: timedelta | None = None,
        digest: int = SHA256,
        by: str | None = None,
    ) -> writer.Packet:
        """Make a signature packet.

        Args:
            kind: Its type.
            data: What is signed, behind the primary key.
            at: When; the primary key's time when left out.
            flags: Key flags.
            expires: The lifetime of the key that it is on, from that key's making.
            digest: Digest algorithm.
            by: Who really makes it, whatever it says.
        """
        area = b"\x05\x02" + _stamp(at or self.made)
        area += b"\x02\x1b" + bytes([flags]) if flags is not None else b""
        area += b"\x05\x09" + int(expires.total_seconds()).to_bytes(4, "big") if expires else b""
        area += b"\x02\x1d\x00" if kind in (REVOKED_KEY, REVOKED_SUBKEY) else b""
        area += b"\x16\x21\x04" + bytes.fromhex(self.fingerprint)
        start = bytes([4, kind, 22, digest]) + len(area).to_bytes(2, "big") + area
        trailer = b"\x04\xff" + len(start).to_bytes(4, "big")
        name = {SHA1: "sha1", SHA256: "sha256"}[digest]
        done = hashlib.new(name, _hashed(self.primary) + data + start + trailer).digest()
        made = Ed25519PrivateKey.from_private_bytes(_seed(by or self.name)).sign(done)
        issuer = b"\x09\x10" + bytes.fromhex(self.fingerprint[-16:])
        unhashed = len(issuer).to_bytes(2, "big") + issuer
        return writer.SIGNATURE, start + unhashed + done[:2] + mpi(made[:32]) + mpi(made[32:])

    def start(
        self, *, expires: timedelta | None = None, digest: int = SHA256, at: datetime | None = None
    ) -> Person:
        """Write the primary key and its user id."""
        self.packets.append((writer.PUBLIC_KEY, self.primary))
        return self.identity(expires=expires, digest=digest, at=at)

    def identity(
        self,
        user_id: str | None = None,
        *,
        expires: timedelta | None = None,
        digest: int = SHA256,
        at: datetime | None = None,
        by: str | None = None,
    ) -> Person:
        """Add a user id with its self-signature."""
        text = (user_id or self.user_id).encode()
        data = b"\xb4" + len(text).to_bytes(4, "big") + text
        made = self.sign(UID, data, flags=CERTIFY | SIGN, expires=expires, digest=digest, at=at, by=by)
        self.packets += [(writer.USER_ID, text), made]
        return self

    def subkey(
        self,
        seed: str,
        kind: str = "x25519",
        *,
        made: datetime | None = None,
        flags: int = ENCRYPT,
        expires: timedelta | None = None,
        digest: int = SHA256,
        by: str | None = None,
        revoked: bool = False,
        bound: bool = True,
    ) -> str:
        """Add a subkey, and return its fingerprint; see :meth:`sign`."""
        key = body(kind, seed, made or self.made)
        self.packets.append((writer.PUBLIC_SUBKEY, key))
        at = made or self.made
        if bound:
            binding = self.sign(
                BINDING, _hashed(key), at=at, flags=flags, expires=expires, digest=digest, by=by
            )
            self.packets.append(binding)
        if revoked:
            self.packets.append(self.sign(REVOKED_SUBKEY, _hashed(key), at=at + timedelta(days=1), by=by))
        return fingerprint(key)

    def revocation(self, *, by: str | None = None) -> writer.Packet:
        """A revocation of the whole key."""
        return self.sign(REVOKED_KEY, b"", at=self.made + timedelta(days=1), by=by)


def person(name: str, **start: datetime | timedelta | int) -> Person:
    """A certificate with one user id and one encryption subkey; see :meth:`Person.start`."""
    made = Person(name)
    made.start(**start)  # type: ignore[arg-type]
    made.subkey(f"{name} encrypts")
    return made


@cache
def committed(name: str) -> bytes:
    """The public part of a committed throwaway key, binary."""
    text = (Path(__file__).parents[1] / "assets" / "keys" / f"{name}-unprotected.asc").read_text()
    return writer.join(writer.public_of(writer.split(writer.dearmor(text))))
