"""Writes OpenPGP secret keys as other programs do: the test side's own, independent of what it tests.

It takes unprotected keys (as gpg exports them) and protects them with any cipher, digest, S2K and
usage octet of RFC 4880 section 5.5.3, which gpg itself no longer writes.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cryptography.hazmat.decrepit.ciphers import algorithms as old_ciphers
from cryptography.hazmat.primitives.ciphers import Cipher, CipherAlgorithm, algorithms

try:  # CFB moves to the decrepit modes in newer releases
    from cryptography.hazmat.decrepit.ciphers.modes import CFB
except ImportError:  # pragma: no cover - older releases
    from cryptography.hazmat.primitives.ciphers.modes import CFB

PASSPHRASE = b"correct horse battery staple"
SECRET_KEY, PUBLIC_KEY, SECRET_SUBKEY, PUBLIC_SUBKEY = 5, 6, 7, 14
SIGNATURE, USER_ID, USER_ATTRIBUTE = 2, 13, 17
PRODUCT_COUNT = 0xA8  # 1,572,864 bytes, what the product writes

Packet = tuple[int, bytes]

# name -> (id, key length in bytes, block length in bytes, algorithm)
CIPHERS: dict[str, tuple[int, int, int, Callable[[bytes], CipherAlgorithm]]] = {
    "idea": (1, 16, 8, old_ciphers.IDEA),
    "3des": (2, 24, 8, old_ciphers.TripleDES),
    "cast5": (3, 16, 8, old_ciphers.CAST5),
    "blowfish": (4, 16, 8, old_ciphers.Blowfish),
    "aes128": (7, 16, 16, algorithms.AES),
    "aes192": (8, 24, 16, algorithms.AES),
    "aes256": (9, 32, 16, algorithms.AES),
    "camellia128": (11, 16, 16, old_ciphers.Camellia),
    "camellia192": (12, 24, 16, old_ciphers.Camellia),
    "camellia256": (13, 32, 16, old_ciphers.Camellia),
}
DIGESTS = {
    "md5": 1,
    "sha1": 2,
    "ripemd160": 3,
    "sha256": 8,
    "sha384": 9,
    "sha512": 10,
    "sha224": 11,
}
# How many multi-precision integers the public part of each algorithm has (after a curve's OID).
PUBLIC_NUMBERS = {1: 2, 2: 2, 3: 2, 16: 3, 17: 4, 18: 1, 19: 1, 22: 1}


@dataclass(frozen=True)
class Protection:
    """How a secret part is protected; the default is what the product writes."""

    cipher: str = "aes256"
    digest: str = "sha1"
    s2k: int = 3
    count: int = PRODUCT_COUNT
    usage: int = 254  # 254, 255, 0, or -1: the legacy form, the cipher's id is the usage octet


PRODUCT = Protection()


def split(data: bytes) -> list[Packet]:
    """Cut binary packets apart."""
    packets = []
    at = 0
    while at < len(data):
        head = data[at]
        if head & 0x40:
            tag, first = head & 0x3F, data[at + 1]
            if first < 192:
                size, at = first, at + 2
            elif first < 224:
                size, at = ((first - 192) << 8) + data[at + 2] + 192, at + 3
            else:
                assert first == 255, "partial length"
                size, at = int.from_bytes(data[at + 2 : at + 6], "big"), at + 6
        else:
            tag, width = (head >> 2) & 0x0F, (1, 2, 4)[head & 3]
            size, at = int.from_bytes(data[at + 1 : at + 1 + width], "big"), at + 1 + width
        packets.append((tag, data[at : at + size]))
        at += size
    return packets


def packet(tag: int, body: bytes, *, new: bool = False) -> bytes:
    """Write one packet, with an old-format header unless its tag needs a new one."""
    size = len(body)
    if not new and tag < 16:
        width = 0 if size < 0x100 else 1 if size < 0x10000 else 2
        return bytes([0x80 | tag << 2 | width]) + size.to_bytes((1, 2, 4)[width], "big") + body
    if size < 192:
        return bytes([0xC0 | tag, size]) + body
    if size < 8384:
        return bytes([0xC0 | tag, ((size - 192) >> 8) + 192, (size - 192) & 0xFF]) + body
    return bytes([0xC0 | tag, 255]) + size.to_bytes(4, "big") + body


def join(packets: Iterable[Packet], *, new: bool = False) -> bytes:
    """Write packets one after the other."""
    return b"".join(packet(tag, body, new=new) for tag, body in packets)


def crc24(data: bytes) -> int:
    """RFC 4880 section 6.1."""
    crc = 0xB704CE
    for octet in data:
        crc ^= octet << 16
        for _ in range(8):
            crc <<= 1
            if crc & 0x1000000:
                crc ^= 0x1864CFB
    return crc


def armor(data: bytes, kind: str, *, headers: str = "Version: Test 1.0\n", crc: bool = True) -> str:
    """Write ASCII armor (RFC 4880 section 6.2)."""
    text = base64.b64encode(data).decode()
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    if crc:
        lines.append("=" + base64.b64encode(crc24(data).to_bytes(3, "big")).decode())
    return f"-----BEGIN PGP {kind}-----\n{headers}\n" + "\n".join(lines) + f"\n-----END PGP {kind}-----\n"


def dearmor(text: str) -> bytes:
    """Read the first armor block of well-formed text."""
    body = text.split("-----BEGIN PGP ", 1)[1].split("\n\n", 1)[1].split("\n-----END", 1)[0]
    return base64.b64decode("".join(line for line in body.splitlines() if not line.startswith("=")))


def public_size(body: bytes) -> int:
    """Length of the public part of a v4 key packet's body."""
    algorithm, at = body[5], 6
    if algorithm in (18, 19, 22):
        at += 1 + body[at]
    for _ in range(PUBLIC_NUMBERS[algorithm]):
        at += 2 + (int.from_bytes(body[at : at + 2], "big") + 7) // 8
    if algorithm == 18:
        at += 1 + body[at]
    return at


def derive(passphrase: bytes, digest: str, kind: int, salt: bytes, count: int, size: int) -> bytes:
    """Make a key from a passphrase (RFC 4880 section 3.7)."""
    data = (salt if kind else b"") + passphrase
    total = len(data)
    if kind == 3:
        total = max(total, (16 + (count & 15)) << ((count >> 4) + 6))
    data = (data * (total // len(data) + 1))[:total]
    key, zeros = b"", b""
    while len(key) < size:
        key += hashlib.new(digest, zeros + data).digest()
        zeros += b"\0"
    return key[:size]


def fingerprint(body: bytes) -> str:
    """The v4 fingerprint of a key packet's body (RFC 4880 section 12.2)."""
    public = body[: public_size(body)]
    return hashlib.sha1(b"\x99" + len(public).to_bytes(2, "big") + public).hexdigest().upper()  # noqa: S324


def protect(
    body: bytes, passphrase: bytes = PASSPHRASE, how: Protection = PRODUCT, *, secret: bytes | None = None
) -> bytes:
    """Protect an unprotected secret key packet's body; ``secret`` replaces its secret numbers."""
    size = public_size(body)
    public = body[:size]
    assert body[size] == 0, "the packet is protected already"
    clear = body[size + 1 : -2] if secret is None else secret
    sum16 = (sum(clear) & 0xFFFF).to_bytes(2, "big")
    if how.usage == 0:
        return public + b"\0" + clear + sum16
    number, key_size, block, algorithm = CIPHERS[how.cipher]
    salt, iv = os.urandom(8) if how.s2k else b"", os.urandom(block)
    check = hashlib.sha1(clear).digest() if how.usage == 254 else sum16  # noqa: S324
    if how.usage == -1:
        head = bytes([number])
        key = derive(passphrase, "md5", 0, b"", 0, key_size)
    else:
        count = bytes([how.count]) if how.s2k == 3 else b""
        head = bytes([how.usage, number, how.s2k, DIGESTS[how.digest]]) + salt + count
        key = derive(passphrase, how.digest, how.s2k, salt, how.count, key_size)
    encryptor = Cipher(algorithm(key), CFB(iv)).encryptor()
    return public + head + iv + encryptor.update(clear + check) + encryptor.finalize()


def protect_all(
    packets: Iterable[Packet], passphrase: bytes = PASSPHRASE, how: Protection = PRODUCT
) -> list[Packet]:
    """Protect every secret packet of a key."""
    return [
        (tag, protect(body, passphrase, how)) if tag in (SECRET_KEY, SECRET_SUBKEY) else (tag, body)
        for tag, body in packets
    ]


def public_of(packets: Iterable[Packet]) -> list[Packet]:
    """The transferable public key of a transferable secret key."""
    tags = {SECRET_KEY: PUBLIC_KEY, SECRET_SUBKEY: PUBLIC_SUBKEY}
    return [(tags[tag], body[: public_size(body)]) if tag in tags else (tag, body) for tag, body in packets]


def without_signatures(packets: Iterable[Packet]) -> list[Packet]:
    """What the product puts into its private block: keys and user ids only."""
    return [(tag, body) for tag, body in packets if tag != SIGNATURE]


def two_block(
    packets: list[Packet],
    passphrase: bytes = PASSPHRASE,
    how: Protection = PRODUCT,
    *,
    public: list[Packet] | None = None,
) -> str:
    """Write the product's layout: a private block without self-signatures, then the public block."""
    headers = "Version: Encryption Server 3.4.2 (Build 1)\nCharset: utf-8\n"
    private = armor(
        join(protect_all(without_signatures(packets), passphrase, how)), "PRIVATE KEY BLOCK", headers=headers
    )
    return private + armor(
        join(public_of(packets) if public is None else public), "PUBLIC KEY BLOCK", headers=headers
    )


def single(packets: list[Packet], passphrase: bytes = PASSPHRASE, how: Protection = PRODUCT) -> str:
    """Write one private block with everything in it, as gpg does."""
    return armor(join(protect_all(packets, passphrase, how)), "PRIVATE KEY BLOCK")
