"""How the secret part of a key packet is protected: read, opened and written anew.

RFC 4880 section 5.5.3, with string-to-key of section 3.7. Secret keys use plain CFB, not OpenPGP's own
variant with resynchronisation. All ciphers and digests come from ``cryptography`` and :mod:`hashlib`.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field, replace
from enum import StrEnum

from pipeline.core.errors import NotAKey
from pipeline.core.secret import Secret
from pipeline.openpgp.format.armor import DAMAGED_HINT
from pipeline.openpgp.format.ciphers import CIPHERS, DIGESTS, cipher_available, crypt, digest_available
from pipeline.openpgp.format.packets import FieldReader

AES256, SHA256 = 9, 8
S2K_NAMES = {0: "simple", 1: "salted", 3: "iterated-salted"}
MAX_COUNT_OCTET = 255
"""65,011,712 bytes: the most that RFC 4880 can stretch; for passphrases that people choose."""
ESCROW_COUNT_OCTET = 0x60
"""65,536 bytes. The escrow passphrase is 256 random bits: no search ends, so stretching adds nothing,
and the least that no program calls weak (GnuPG's own floor) is taken for speed."""

_CHUNK = 1 << 16
_NO_CHARACTERS = bytes({*range(0x20), *range(0x7F, 0xA1)} - {*b"\b\t\v\n\f\r"})


class ProtectionState(StrEnum):
    """What the secret part of a packet is."""

    PROTECTED = "protected"
    UNPROTECTED = "unprotected"
    DUMMY = "gnu-dummy"  # GnuPG's mark for "the secret is elsewhere"
    CARD = "card-stub"  # the secret is on a smart card
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True)
class Protection:
    """The secret part of one packet as it lies in the file.

    Attributes:
        state: Whether and how it can be opened.
        usage: The S2K usage octet.
        cipher: Symmetric algorithm id, 0 without protection.
        s2k: String-to-key specifier, ``-1`` for the legacy form (MD5 of the passphrase).
        digest: Digest id of the string-to-key.
        salt: 8 bytes, or none.
        count: The coded count octet of an iterated one.
        iv: Initialisation vector.
        data: The encrypted numbers with their checksum; the plain ones when unprotected.
        problem: Why it cannot be handled, for :attr:`ProtectionState.UNSUPPORTED`.
    """

    state: ProtectionState
    usage: int
    cipher: int = 0
    s2k: int = -1
    digest: int = 1
    salt: bytes = b""
    count: int = 0
    iv: bytes = b""
    data: bytes = field(default=b"", repr=False)
    problem: str = ""

    @property
    def text_like(self) -> bool:
        """Whether the agent of GnuPG may lose a byte of the salt or the IV, and refuse the right passphrase.

        Its key files are text. A value in which each byte could be a character is written there as a quoted
        string, and loses a space where the line is folded (seen with 2.2.40, for one key in some 2,500). What
        begins with a set bit is written in hexadecimal digits.
        """
        return any(
            data and data[0] < 0x80 and not any(byte in _NO_CHARACTERS for byte in data)
            for data in (self.salt, self.iv)
        )

    def describe(self) -> dict[str, str | int | bool | None]:
        """The protection as the JSON documents show it."""
        if self.state is not ProtectionState.PROTECTED:
            nothing = dict.fromkeys(("cipher", "s2k", "digest", "count", "checksum"))
            return {"state": self.state.value, **nothing}
        return {
            "state": self.state.value,
            "cipher": CIPHERS[self.cipher][0],
            "s2k": S2K_NAMES.get(self.s2k, "simple (legacy)"),
            "digest": DIGESTS[self.digest][0],
            "count": decode_count(self.count) if self.s2k == 3 else None,
            "checksum": "SHA-1" if self.usage == 254 else "16-bit",
        }


def decode_count(octet: int) -> int:
    """How many bytes an iterated string-to-key hashes (RFC 4880 section 3.7.1.3)."""
    return (16 + (octet & 15)) << ((octet >> 4) + 6)


def read_protection(body: bytes, at: int) -> Protection:
    """Read the secret part of a key packet.

    Args:
        body: The packet's body.
        at: Where its public part ends.

    Raises:
        NotAKey: It is cut off.
    """
    reader = FieldReader(body, "the secret part of a key packet", at)
    usage = reader.octet()
    if usage == 0:
        return Protection(ProtectionState.UNPROTECTED, usage, data=reader.rest())
    if usage in (254, 255):
        return _read_s2k(reader, usage)
    if usage in CIPHERS:
        return _with_cipher(reader, Protection(ProtectionState.PROTECTED, usage, usage))
    what = "AEAD" if usage == 253 else f"the unknown usage octet {usage}"
    return Protection(ProtectionState.UNSUPPORTED, usage, problem=f"protected with {what}")


def _read_s2k(reader: FieldReader, usage: int) -> Protection:
    cipher, kind = reader.octet(), reader.octet()
    if kind == 101:
        # GnuPG's extension: digest octet, "GNU", mode 1 (nothing there) or 2 (card, then its serial)
        mark = reader.rest()
        mode = mark[4] if len(mark) > 4 and mark[1:4] == b"GNU" else 0
        if mode in (1, 2):
            return Protection(ProtectionState.DUMMY if mode == 1 else ProtectionState.CARD, usage)
        return Protection(
            ProtectionState.UNSUPPORTED, usage, problem="protected with an unknown GNU extension"
        )
    if kind not in S2K_NAMES:
        name = "Argon2" if kind == 4 else f"the unknown string-to-key {kind}"
        return Protection(ProtectionState.UNSUPPORTED, usage, problem=f"protected with {name}")
    digest = reader.octet()
    salt = reader.take(8) if kind else b""
    count = reader.octet() if kind == 3 else 0
    found = Protection(ProtectionState.PROTECTED, usage, cipher, kind, digest, salt, count)
    if digest not in DIGESTS or not digest_available(digest):
        name = DIGESTS[digest][0] if digest in DIGESTS else f"number {digest}"
        problem = f"protected with the digest {name}, which is not available"
        return replace(found, state=ProtectionState.UNSUPPORTED, problem=problem)
    return _with_cipher(reader, found)


def _with_cipher(reader: FieldReader, found: Protection) -> Protection:
    known = CIPHERS.get(found.cipher)
    if known is None or not cipher_available(found.cipher):
        name = known[0] if known else f"number {found.cipher}"
        problem = f"protected with the cipher {name}, which is not available"
        return replace(found, state=ProtectionState.UNSUPPORTED, problem=problem)
    return replace(found, iv=reader.take(known[3]), data=reader.rest())


def derive(how: Protection, passphrase: bytes) -> bytes:
    """Make a cipher's key from a passphrase (RFC 4880 section 3.7).

    Args:
        how: The cipher and the string-to-key.
        passphrase: As the bytes that are hashed.
    """
    size = CIPHERS[how.cipher][2]
    unit = how.salt + passphrase
    total = max(len(unit), decode_count(how.count)) if how.s2k == 3 else len(unit)
    # hashlib is fast on long buffers and slow on many short ones.
    chunk = unit * (_CHUNK // len(unit) + 1) if unit else b""
    key = b""
    zeros = 0
    while len(key) < size:
        digest = hashlib.new(DIGESTS[how.digest][1], bytes(zeros), usedforsecurity=False)
        left = total
        while left >= len(chunk) > 0:
            digest.update(chunk)
            left -= len(chunk)
        digest.update(chunk[:left])
        key += digest.digest()
        zeros += 1
    return key[:size]


@dataclass(frozen=True)
class OpenedSecret:
    """What a passphrase made of a protected part.

    Attributes:
        clear: The numbers, without their checksum.
        sound: Whether the checksum holds.
    """

    clear: Secret
    sound: bool


def open_secret(how: Protection, passphrase: bytes) -> OpenedSecret:
    """Decrypt, and look at the checksum; what a wrong one means is the caller's to say.

    Args:
        how: The protected (or plain) secret part.
        passphrase: Ignored when there is no protection.

    Raises:
        NotAKey: It is too short for its checksum.
        Unsupported: The cipher is gone from the installed libraries.
    """
    width = 20 if how.usage == 254 else 2
    if len(how.data) < width + 2:
        raise NotAKey("the secret part of a key packet is cut off", hint=DAMAGED_HINT)
    plain = how.data
    if how.state is ProtectionState.PROTECTED:
        plain = crypt(how.cipher, derive(how, passphrase), how.iv, how.data, encrypt=False)
    clear, check = plain[:-width], plain[-width:]
    return OpenedSecret(Secret(clear), hmac.compare_digest(check, _checksum(how.usage, clear)))


def _checksum(usage: int, clear: bytes) -> bytes:
    if usage == 254:
        return hashlib.sha1(clear, usedforsecurity=False).digest()
    return (sum(clear) & 0xFFFF).to_bytes(2, "big")


def _random(size: int) -> bytes:
    """Random bytes that are not :attr:`Protection.text_like`: the first bit is set."""
    data = secrets.token_bytes(size)
    return bytes([data[0] | 0x80]) + data[1:]


def close_secret(clear: Secret, passphrase: Secret, *, s2k_count_octet: int, digest: int = SHA256) -> bytes:
    """Protect secret numbers in the one form that production code ever writes.

    AES-256 in CFB with a fresh key and IV, iterated-salted SHA-256, a SHA-1 checksum (usage 254): the
    strongest form of RFC 4880, which the server, GnuPG, Sequoia and PGPy all read. AEAD would be
    stronger against tampering, and unreadable to the server; the record's signature covers that.

    Args:
        clear: The numbers, without a checksum.
        passphrase: The new passphrase.
        s2k_count_octet: Coded count, 0 to 255.
        digest: Of the string-to-key; only the stand-in server asks for another, as the product writes.

    Returns:
        The secret part of the packet, from the usage octet on.
    """
    salt, iv = _random(8), _random(16)
    how = Protection(ProtectionState.PROTECTED, 254, AES256, 3, digest, salt, s2k_count_octet, iv)
    plain = clear.reveal() + _checksum(254, clear.reveal())
    sealed = crypt(AES256, derive(how, passphrase.reveal()), iv, plain, encrypt=True)
    head = bytes([254, AES256, 3, digest]) + salt + bytes([s2k_count_octet])
    return head + iv + sealed
