"""Writes one key in many forms: flags, expiry, kinds of self-signatures, critical subpackets, subkeys.

The key material is that of committed throwaway keys, the self-signatures are made here: nobody else would
write most of these. RSA signatures of one input are always the same, so every form is, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils

from tests.support import openpgp_writer as writer
from tests.support.certificate_writer import mpi

KEYS = Path(__file__).parents[1] / "assets" / "keys"
MADE = datetime(2025, 1, 1, 12, tzinfo=UTC)
LATER = MADE + timedelta(days=300)
CERTIFY, SIGN, ENCRYPT = 0x01, 0x02, 0x0C
DAY = timedelta(days=1)
LONG = timedelta(days=365 * 30)
UID = "Form <form@example.com>"
PERSONA, POSITIVE, BINDING, BACK, DIRECT = 0x11, 0x13, 0x18, 0x19, 0x1F
REVOKED_KEY, REVOKED_SUBKEY, REVOKED_UID = 0x20, 0x28, 0x30
DIGESTS: dict[int, Callable[[], hashes.HashAlgorithm]] = {
    1: hashes.MD5,
    2: hashes.SHA1,
    8: hashes.SHA256,
    10: hashes.SHA512,
    11: hashes.SHA224,
}


@cache
def bodies(name: str) -> tuple[bytes, ...]:
    """Unprotected key packets of a committed key, the primary key's first."""
    found = writer.split(writer.dearmor((KEYS / f"{name}-unprotected.asc").read_text()))
    return tuple(body for tag, body in found if tag in (writer.SECRET_KEY, writer.SECRET_SUBKEY))


def public(body: bytes) -> bytes:
    """The public part of a key packet."""
    return body[: writer.public_size(body)]


def as_algorithm(body: bytes, algorithm: int) -> bytes:
    """The same numbers under another algorithm id: 2 encrypts only, 3 signs only."""
    return body[:5] + bytes([algorithm]) + body[6:]


def sub(kind: int, data: bytes = b"", *, critical: bool = False) -> bytes:
    """A subpacket."""
    return bytes([len(data) + 1, kind | (0x80 if critical else 0)]) + data


def notation(name: str, *, critical: bool = False) -> bytes:
    """A notation with a text as its value."""
    value = b"value"
    head = b"\x80\0\0\0" + len(name).to_bytes(2, "big") + len(value).to_bytes(2, "big")
    return sub(20, head + name.encode() + value, critical=critical)


@dataclass(frozen=True)
class Sig:
    """A self-signature; see :meth:`packet`."""

    kind: int = POSITIVE
    at: datetime = MADE
    flags: int | None = None
    expires: timedelta | None = LONG
    extra: tuple[bytes, ...] = ()
    digest: int = 8
    version: int = 4
    issuer: str = "both"
    back: bytes | None = None
    broken: bool = False

    def packet(self, maker: bytes, data: bytes) -> writer.Packet:
        """Make it.

        Args:
            maker: The secret key packet of who signs.
            data: What is signed.
        """
        made = int(self.at.timestamp()).to_bytes(4, "big")
        name = bytes.fromhex(writer.fingerprint(public(maker)))
        if self.version == 3:
            part = trailer = bytes([self.kind]) + made
            head = b"\x03\x05" + part + name[-8:] + maker[5:6] + bytes([self.digest])
            return writer.SIGNATURE, head + self._sign(maker, data + trailer)
        area = sub(2, made)
        area += sub(27, bytes([self.flags])) if self.flags is not None else b""
        area += sub(9, int(self.expires.total_seconds()).to_bytes(4, "big")) if self.expires else b""
        area += b"".join(self.extra)
        area += sub(33, b"\x04" + name) if self.issuer in ("both", "hashed") else b""
        unhashed = sub(16, name[-8:]) if self.issuer in ("both", "unhashed") else b""
        if self.back is not None:
            bound = Sig(BACK, self.at, expires=None).packet(self.back, data)[1]
            unhashed += b"\xff" + (len(bound) + 1).to_bytes(4, "big") + b"\x20" + bound
        part = bytes([4, self.kind, maker[5], self.digest]) + len(area).to_bytes(2, "big") + area
        signed = data + part + b"\x04\xff" + len(part).to_bytes(4, "big")
        return writer.SIGNATURE, part + len(unhashed).to_bytes(2, "big") + unhashed + self._sign(
            maker, signed
        )

    def _sign(self, maker: bytes, signed: bytes) -> bytes:
        kind = DIGESTS[self.digest]()
        done = hashlib.new(kind.name, signed).digest()
        signature = _rsa(maker).sign(done, padding.PKCS1v15(), utils.Prehashed(kind))
        return done[:2] + mpi(int.from_bytes(signature, "big") ^ self.broken)


@cache
def _rsa(body: bytes) -> rsa.RSAPrivateKey:
    numbers: list[int] = []
    at = 6
    while len(numbers) < 6:
        at += 1 if len(numbers) == 2 else 0  # the usage octet, 0
        size = (int.from_bytes(body[at : at + 2], "big") + 7) // 8
        numbers.append(int.from_bytes(body[at + 2 : at + 2 + size], "big"))
        at += 2 + size
    n, e, d, p, q, _ = numbers
    exponents = rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q)
    return rsa.RSAPrivateNumbers(p, q, d, *exponents, rsa.RSAPublicNumbers(e, n)).private_key(
        unsafe_skip_rsa_key_validation=True
    )


def _hashed(body: bytes) -> bytes:
    return b"\x99" + len(public(body)).to_bytes(2, "big") + public(body)


def _identity(text: bytes, *, tag: int = writer.USER_ID) -> bytes:
    return (b"\xb4" if tag == writer.USER_ID else b"\xd1") + len(text).to_bytes(4, "big") + text


P, E = bodies("rsa2048")
*_, S = bodies("signing-subkey")  # a third key, for subkeys that sign or a second one that encrypts
CERT_SIGN = Sig(flags=CERTIFY | SIGN)
BIND = Sig(BINDING, flags=ENCRYPT)


@dataclass(frozen=True)
class Form:
    """A key in one form."""

    uids: Sequence[tuple[str, Sequence[Sig]]] = ((UID, (CERT_SIGN,)),)
    subkeys: Sequence[tuple[bytes, Sequence[Sig]]] = ((E, (BIND,)),)
    direct: Sequence[Sig] = ()
    primary: bytes = P
    attribute: Sequence[Sig] | None = None
    more: Callable[[list[writer.Packet]], list[writer.Packet]] = field(default=lambda packets: packets)

    def packets(self) -> list[writer.Packet]:
        """The transferable secret key, unprotected."""
        head = _hashed(self.primary)
        found: list[writer.Packet] = [(writer.SECRET_KEY, self.primary)]
        found += [one.packet(self.primary, head) for one in self.direct]
        for name, made in self.uids:
            text = name.encode()
            found.append((writer.USER_ID, text))
            found += [
                one.packet(self.primary, head + (text if one.version == 3 else _identity(text)))
                for one in made
            ]
        if self.attribute is not None:
            body = b"\x13\x01" + b"\x10\0\x01\x01" + bytes(14)
            found.append((writer.USER_ATTRIBUTE, body))
            data = head + _identity(body, tag=writer.USER_ATTRIBUTE)
            found += [one.packet(self.primary, data) for one in self.attribute]
        for body, made in self.subkeys:
            found.append((writer.SECRET_SUBKEY, body))
            found += [one.packet(self.primary, head + _hashed(body)) for one in made]
        return self.more(found)

    def export(self) -> bytes:
        """The same under the committed keys' passphrase, binary."""
        return writer.join(writer.protect_all(self.packets()))


def uid(*made: Sig, name: str = UID) -> tuple[str, tuple[Sig, ...]]:
    """A user id with its signatures."""
    return name, made


def with_(*extra: bytes) -> Form:
    """The plain form, with more subpackets in the user id's self-signature."""
    return Form([uid(Sig(flags=CERTIFY | SIGN, extra=extra))])


ENCRYPT_ONLY, SIGN_ONLY = as_algorithm(E, 2), as_algorithm(P, 3)
NO_FLAGS, NO_FLAGS_BIND = Sig(), Sig(BINDING)
SIGNING = Sig(BINDING, flags=SIGN, back=S)
SOON = timedelta(days=30)
_JUNK_SUBKEY = (writer.PUBLIC_SUBKEY, public(bodies("certify-only")[0]))

FORMS: dict[str, Form] = {
    "plain": Form(),
    # flags
    "no-flags": Form([uid(NO_FLAGS)], [(E, (NO_FLAGS_BIND,))]),
    "no-flags-on-subkey": Form(subkeys=[(E, (NO_FLAGS_BIND,))]),
    "no-flags-on-primary": Form([uid(NO_FLAGS)]),
    "no-flags-no-subkey": Form([uid(NO_FLAGS)], []),
    "all-flags-no-subkey": Form([uid(Sig(flags=CERTIFY | SIGN | ENCRYPT))], []),
    "flags-of-zero": Form([uid(Sig(flags=0))], [(E, (Sig(BINDING, flags=0),))]),
    "encrypts-for-storage-only": Form(subkeys=[(E, (Sig(BINDING, flags=0x08),))]),
    "encrypts-for-communication-only": Form(subkeys=[(E, (Sig(BINDING, flags=0x04),))]),
    "more-flags-than-known": Form([uid(Sig(flags=0xF3))], [(E, (Sig(BINDING, flags=0xFC),))]),
    "certify-only-primary": Form([uid(Sig(flags=CERTIFY))], [(E, (BIND,)), (S, (SIGNING,))]),
    "certify-only-without-signing": Form([uid(Sig(flags=CERTIFY))]),
    "critical-flags": Form(
        [uid(Sig(extra=(sub(27, b"\x03", critical=True),)))],
        [(E, (Sig(BINDING, extra=(sub(27, b"\x0c", critical=True),)),))],
    ),
    # algorithm ids
    "rsa-encrypt-only-subkey": Form(subkeys=[(ENCRYPT_ONLY, (BIND,))]),
    "rsa-sign-only-primary": Form(primary=SIGN_ONLY),
    "rsa-sign-only-and-encrypt-only": Form(subkeys=[(ENCRYPT_ONLY, (BIND,))], primary=SIGN_ONLY),
    # expiry
    "never-expires": Form([uid(Sig(flags=3, expires=None))], [(E, (Sig(BINDING, flags=12, expires=None),))]),
    "expired": Form([uid(Sig(flags=3, expires=SOON))], [(E, (Sig(BINDING, flags=12, expires=SOON),))]),
    "expired-subkey": Form(subkeys=[(E, (Sig(BINDING, flags=12, expires=SOON),))]),
    "renewed": Form(
        [uid(Sig(flags=3, expires=SOON), Sig(flags=3, at=LATER))],
        [(E, (Sig(BINDING, flags=12, expires=SOON), Sig(BINDING, flags=12, at=LATER)))],
    ),
    "renewed-on-one-user-id": Form(
        [uid(Sig(flags=3, expires=SOON), name="Old <old@example.com>"), uid(Sig(flags=3, at=LATER))]
    ),
    "renewed-beside-the-primary-user-id": Form(
        [
            uid(Sig(flags=3, expires=SOON, extra=(sub(25, b"\x01"),)), name="First <first@example.com>"),
            uid(Sig(flags=3, at=LATER)),
        ]
    ),
    "shortened-later": Form([uid(CERT_SIGN, Sig(flags=3, at=LATER, expires=LONG / 2))]),
    "expiry-in-a-direct-signature": Form(
        [uid(Sig(flags=3, expires=None))], direct=[Sig(DIRECT, flags=3, expires=LONG)]
    ),
    "self-signature-expires-late": with_(sub(3, (10**9).to_bytes(4, "big"))),
    "self-signature-expired": Form([uid(Sig(flags=3, extra=(sub(3, (86400).to_bytes(4, "big")),)))]),
    "critical-expiry": Form([uid(Sig(flags=3, expires=None, extra=(sub(9, b"\x30\0\0\0", critical=True),)))]),
    "two-encryption-subkeys-one-expired": Form(
        subkeys=[(E, (BIND,)), (S, (Sig(BINDING, flags=12, at=LATER, expires=SOON),))]
    ),
    "two-encryption-subkeys-one-revoked": Form(
        subkeys=[(E, (BIND,)), (S, (BIND, Sig(REVOKED_SUBKEY, at=LATER, expires=None)))]
    ),
    "two-encryption-subkeys": Form(subkeys=[(E, (BIND,)), (S, (BIND,))]),
    # self-signatures
    "version-3-self-signatures": Form([uid(Sig(version=3))], [(E, (BIND,))]),
    "version-3-everywhere": Form([uid(Sig(version=3))], [(E, (Sig(BINDING, version=3),))]),
    "version-3-then-4": Form([uid(Sig(version=3), Sig(flags=3, at=LATER))]),
    "direct-key-signature-alone": Form([uid()], direct=[Sig(DIRECT, flags=3)]),
    "direct-key-signature-too": Form(direct=[Sig(DIRECT, flags=3)]),
    "preferences-in-a-direct-signature": Form([uid(Sig(flags=None))], direct=[Sig(DIRECT, flags=3)]),
    "persona-certification": Form([uid(Sig(PERSONA, flags=3))]),
    "generic-certification": Form([uid(Sig(0x10, flags=3))]),
    "two-user-ids": Form([uid(CERT_SIGN), uid(CERT_SIGN, name="Second <second@example.com>")]),
    "one-user-id-revoked": Form(
        [uid(CERT_SIGN), uid(CERT_SIGN, Sig(REVOKED_UID, at=LATER, expires=None), name="Former")]
    ),
    "every-user-id-revoked": Form([uid(CERT_SIGN, Sig(REVOKED_UID, at=LATER, expires=None))]),
    "one-user-id-unsigned": Form([uid(CERT_SIGN), uid(name="Unsigned <unsigned@example.com>")]),
    "a-user-attribute-too": Form(attribute=[CERT_SIGN]),
    "sha1": Form([uid(Sig(flags=3, digest=2))], [(E, (Sig(BINDING, flags=12, digest=2),))]),
    "sha1-on-subkey": Form(subkeys=[(E, (Sig(BINDING, flags=12, digest=2),))]),
    "sha224": Form([uid(Sig(flags=3, digest=11))], [(E, (Sig(BINDING, flags=12, digest=11),))]),
    "sha512": Form([uid(Sig(flags=3, digest=10))], [(E, (Sig(BINDING, flags=12, digest=10),))]),
    "md5": Form([uid(Sig(flags=3, digest=1))], [(E, (Sig(BINDING, flags=12, digest=1),))]),
    "issuer-unhashed": Form([uid(Sig(flags=3, issuer="unhashed"))]),
    "issuer-hashed": Form([uid(Sig(flags=3, issuer="hashed"))]),
    "no-issuer": Form([uid(Sig(flags=3, issuer="none"))]),
    "one-bad-signature-more": Form([uid(Sig(flags=3, at=LATER, broken=True), CERT_SIGN)]),
    "signing-subkey": Form(subkeys=[(E, (BIND,)), (S, (SIGNING,))]),
    "signing-subkey-without-back-signature": Form(subkeys=[(E, (BIND,)), (S, (Sig(BINDING, flags=SIGN),))]),
    "unbound-subkey": Form(more=lambda packets: [*packets, _JUNK_SUBKEY]),
    "trust-and-marker-packets": Form(more=lambda packets: [*packets, (12, b"\x06\0"), (10, b"PGP")]),
    # subpackets
    "unknown-subpacket": with_(sub(60, b"?")),
    "private-subpacket": with_(sub(101, b"?")),
    "notation": with_(notation("policy@example.com")),
    "preferences-of-the-future": with_(sub(21, bytes([14, 12, 8])), sub(11, bytes([9, 10, 90]))),
    "preferences-of-old": with_(sub(11, bytes([2, 3, 1])), sub(21, bytes([2]))),
    "features-of-the-future": with_(sub(30, b"\x0f"), sub(39, bytes([9, 2, 7, 2]))),
    "critical-unknown-subpacket": with_(sub(60, b"?", critical=True)),
    "critical-unknown-subpacket-on-subkey": Form(
        subkeys=[(E, (Sig(BINDING, flags=12, extra=(sub(60, b"?", critical=True),)),))]
    ),
    "critical-private-subpacket": with_(sub(101, b"?", critical=True)),
    "critical-notation": with_(notation("policy@example.com", critical=True)),
    "critical-notation-known-to-pgp": with_(notation("preferred-email-encoding@pgp.com", critical=True)),
    "critical-notation-on-the-newest-only": Form(
        [uid(CERT_SIGN, Sig(flags=3, at=LATER, extra=(notation("policy@example.com", critical=True),)))]
    ),
    "critical-preferences": with_(sub(11, bytes([9, 7]), critical=True), sub(21, bytes([8]), critical=True)),
    "critical-features": with_(sub(30, b"\x01", critical=True)),
    "critical-policy-uri": with_(sub(26, b"https://example.com", critical=True)),
    "critical-additional-decryption-key": with_(sub(10, b"\x80\x01" + bytes(20), critical=True)),
    "additional-decryption-key": with_(sub(10, b"\x80\x01" + bytes(20))),
    "critical-aead-preferences": with_(sub(39, bytes([9, 2]), critical=True)),
    "critical-key-server-preferences": with_(sub(23, b"\x80", critical=True)),
    "critical-regular-expression": with_(sub(6, b"<[^>]+[@.]example\\.com>$\0", critical=True)),
    "critical-intended-recipient": with_(sub(35, b"\x04" + bytes(20), critical=True)),
}
