"""Signatures that this program makes itself, in memory: for keys that no other program takes as they are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from pipeline.core.errors import Unsupported
from pipeline.openpgp.format.material import (
    CURVES,
    DSA,
    ECDSA,
    EDDSA,
    RSA,
    UNSUPPORTED_HINT,
    PublicPart,
    write_numbers,
)
from pipeline.openpgp.format.packets import Packet, Tag, build
from pipeline.openpgp.format.signatures import CREATED, FINGERPRINT, ISSUER

if TYPE_CHECKING:
    from cryptography.hazmat.primitives import hashes

_SHA256, _SHA512 = 8, 10


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
    digest = _SHA512 if maker.digest == "SHA512" else _SHA256
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
    tail = len(issuer).to_bytes(2, "big") + issuer + done[:2] + write_numbers(_numbers(maker, secret, done))
    return build(Tag.SIGNATURE, head + tail)


def _numbers(maker: PublicPart, secret: tuple[int, ...], done: bytes) -> tuple[int, ...]:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes

    kind = hashes.SHA512() if len(done) == 64 else hashes.SHA256()
    try:
        if maker.algorithm in RSA:
            return _rsa(maker, secret, done, kind)
        if maker.algorithm in (DSA, ECDSA):
            return _dss(maker, secret[0], done, kind)
        if maker.algorithm == EDDSA:
            return _eddsa(secret[0], done)
    except (UnsupportedAlgorithm, ValueError) as error:
        raise Unsupported(
            f"this program cannot sign with {maker.name}: {error}", hint=UNSUPPORTED_HINT
        ) from error
    raise Unsupported(f"{maker.name} does not sign", hint=UNSUPPORTED_HINT)


def _rsa(maker: PublicPart, secret: tuple[int, ...], done: bytes, kind: hashes.HashAlgorithm) -> tuple[int]:
    from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils

    n, e = maker.numbers
    d, p, q, _ = secret
    exponents = rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q)
    numbers = rsa.RSAPrivateNumbers(p, q, d, *exponents, rsa.RSAPublicNumbers(e, n))
    # That the numbers fit was checked when they were read; OpenSSL's own test of the primes is slow.
    key = numbers.private_key(unsafe_skip_rsa_key_validation=True)
    return (int.from_bytes(key.sign(done, padding.PKCS1v15(), utils.Prehashed(kind)), "big"),)


def _dss(maker: PublicPart, x: int, done: bytes, kind: hashes.HashAlgorithm) -> tuple[int, int]:
    from cryptography.hazmat.primitives.asymmetric import dsa, ec, utils

    if maker.algorithm == ECDSA:
        curve = getattr(ec, CURVES[maker.curve][1])()
        made = ec.derive_private_key(x, curve).sign(done, ec.ECDSA(utils.Prehashed(kind)))
    else:
        p, q, g, y = maker.numbers
        public = dsa.DSAPublicNumbers(y, dsa.DSAParameterNumbers(p, q, g))
        made = dsa.DSAPrivateNumbers(x, public).private_key().sign(done, utils.Prehashed(kind))
    r, s = utils.decode_dss_signature(made)
    return r, s


def _eddsa(x: int, done: bytes) -> tuple[int, int]:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    made = Ed25519PrivateKey.from_private_bytes(x.to_bytes(32, "big")).sign(done)
    return int.from_bytes(made[:32], "big"), int.from_bytes(made[32:], "big")
