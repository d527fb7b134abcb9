"""Key packets of version 4: their public part, where the secret part starts, and whether the two fit.

RFC 4880 sections 5.5.2 and 5.5.3, RFC 6637 (ECDSA, ECDH) and what GnuPG made of Ed25519 and X25519,
now RFC 9580 section 5.5.5.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import NotAKey, Unsupported
from pipeline.openpgp.format.armor import DAMAGED_HINT
from pipeline.openpgp.format.packets import FieldReader

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

RSA = frozenset({1, 2, 3})
DSA, ECDH, ECDSA, EDDSA = 17, 18, 19, 22
# The largest RSA modulus that gpg takes; half for the others, whose check is a full exponentiation.
MAX_BITS, MAX_LOG_BITS = 16_384, 8_192

# OID -> (name for people, class in `cryptography`'s ec module or "", bits)
CURVES: dict[bytes, tuple[str, str, int]] = {
    bytes.fromhex("2a8648ce3d030107"): ("NIST P-256", "SECP256R1", 256),
    bytes.fromhex("2b81040022"): ("NIST P-384", "SECP384R1", 384),
    bytes.fromhex("2b81040023"): ("NIST P-521", "SECP521R1", 521),
    bytes.fromhex("2b2403030208010107"): ("brainpoolP256r1", "BrainpoolP256R1", 256),
    bytes.fromhex("2b240303020801010b"): ("brainpoolP384r1", "BrainpoolP384R1", 384),
    bytes.fromhex("2b240303020801010d"): ("brainpoolP512r1", "BrainpoolP512R1", 512),
    bytes.fromhex("2b8104000a"): ("secp256k1", "SECP256K1", 256),
    bytes.fromhex("2b06010401da470f01"): ("Ed25519", "", 255),
    bytes.fromhex("2b060104019755010501"): ("X25519", "", 255),
}
NAMES = {1: "RSA", 2: "RSA (encrypt only)", 3: "RSA (sign only)", 16: "ElGamal", 17: "DSA", 20: "ElGamal"}
UNSUPPORTED_HINT = (
    "only OpenPGP version 4 keys with the protections of RFC 4880 can be escrowed; "
    "export the key in that form from the program that made it"
)


@dataclass(frozen=True)
class PublicPart:
    """The public part of a version 4 key or subkey.

    Attributes:
        raw: Its bytes, version octet first; a secret key packet goes on after them.
        created: When the key was made.
        algorithm: Public-key algorithm id (RFC 4880 section 9.1).
        numbers: The public numbers; RSA n, e; DSA p, q, g, y; ElGamal p, g, y.
        curve: OID of the curve without its length octet, empty for other algorithms.
        point: The public point without leading zeros, empty for other algorithms.
    """

    raw: bytes
    created: datetime
    algorithm: int
    numbers: tuple[int, ...] = ()
    curve: bytes = b""
    point: bytes = b""

    @cached_property
    def fingerprint(self) -> str:
        """40 upper-case hexadecimal digits (RFC 4880 section 12.2)."""
        head = b"\x99" + len(self.raw).to_bytes(2, "big")
        return hashlib.sha1(head + self.raw, usedforsecurity=False).hexdigest().upper()

    @property
    def key_id(self) -> str:
        """The last 16 digits of the fingerprint."""
        return self.fingerprint[-16:]

    @property
    def name(self) -> str:
        """The algorithm for people, for example ``RSA-4096`` or ``Ed25519``."""
        if self.curve:
            curve = CURVES[self.curve][0]
            if self.algorithm in (ECDH, ECDSA) and curve != "X25519":
                return f"{'ECDH' if self.algorithm == ECDH else 'ECDSA'} {curve}"
            return curve
        name, _, use = NAMES[self.algorithm].partition(" ")
        return f"{name}-{self.numbers[0].bit_length()} {use}".rstrip()

    @property
    def digest(self) -> str:
        """The digest to sign with: SHA-256, or SHA-512 for curves that gpg takes no shorter one with."""
        wide = self.algorithm == ECDSA and CURVES[self.curve][2] > 256
        return "SHA512" if wide else "SHA256"

    @property
    def can_sign(self) -> bool:
        """Whether the algorithm can sign at all."""
        return self.algorithm in (1, 3, DSA, ECDSA, EDDSA)

    @property
    def can_encrypt(self) -> bool:
        """Whether the algorithm can encrypt at all."""
        return self.algorithm in (1, 2, 16, 20, ECDH)

    def computable(self, curves: Collection[str]) -> bool:
        """Whether a program that knows RSA, DSA and curves of these names can calculate with it."""
        if self.curve:
            return CURVES[self.curve][0] in curves
        return self.algorithm in RSA or self.algorithm == DSA


def read_public(body: bytes) -> PublicPart:
    """Read the public part at the front of a key packet's body.

    Args:
        body: The body of a public or secret key or subkey packet.

    Raises:
        NotAKey: It is cut off or its numbers make no sense.
        Unsupported: Another version than 4, an unknown algorithm or curve.
    """
    reader = FieldReader(body, "a key packet")
    version = reader.octet()
    if version != 4:
        raise Unsupported(f"the key has version {version}, not 4", hint=UNSUPPORTED_HINT)
    created = datetime.fromtimestamp(reader.number(4), UTC)
    algorithm = reader.octet()
    numbers: tuple[int, ...] = ()
    curve = point = b""
    if algorithm in NAMES:
        count = 2 if algorithm in RSA else 4 if algorithm == DSA else 3
        numbers = _numbers(reader, count, MAX_BITS if algorithm in RSA else MAX_LOG_BITS)
    elif algorithm in (ECDH, ECDSA, EDDSA):
        curve = reader.take(reader.octet())
        _check_curve(algorithm, curve)
        bits = reader.number(2)
        # Its first octet is never zero; some programs write one before it nevertheless.
        point = reader.take((bits + 7) // 8).lstrip(b"\0")
        if algorithm == ECDH:
            reader.take(reader.octet())
    else:
        raise Unsupported(f"the key has the unknown algorithm {algorithm}", hint=UNSUPPORTED_HINT)
    return PublicPart(body[: reader.at], created, algorithm, numbers, curve, point)


def _numbers(reader: FieldReader, count: int, limit: int) -> tuple[int, ...]:
    numbers = tuple(reader.mpi() for _ in range(count))
    if any(number < 2 for number in numbers):
        raise NotAKey("a public number of the key is 0 or 1", hint=DAMAGED_HINT)
    if any(number.bit_length() > limit for number in numbers):
        raise Unsupported(f"a public number of the key has more than {limit} bits", hint=UNSUPPORTED_HINT)
    return numbers


def _check_curve(algorithm: int, curve: bytes) -> None:
    known = CURVES.get(curve)
    if known is None:
        raise Unsupported(f"the key is on an unknown curve (OID {curve.hex()})", hint=UNSUPPORTED_HINT)
    only = {"Ed25519": EDDSA, "X25519": ECDH}.get(known[0])
    if (only is not None and algorithm != only) or (algorithm == EDDSA and only is None):
        raise Unsupported(
            f"the curve {known[0]} does not go with algorithm {algorithm}", hint=UNSUPPORTED_HINT
        )


def read_secret(public: PublicPart, clear: bytes) -> tuple[int, ...]:
    """Read the secret numbers.

    Args:
        public: The public part they belong to.
        clear: The unprotected secret part without its checksum.

    Returns:
        RSA d, p, q, u; one number for all others.

    Raises:
        NotAKey: They are cut off, or bytes are left over.
    """
    reader = FieldReader(clear, "the secret part")
    numbers = tuple(reader.mpi() for _ in range(4 if public.algorithm in RSA else 1))
    if reader.left:
        raise NotAKey("the secret part is longer than its numbers", hint=DAMAGED_HINT)
    return numbers


def write_numbers(numbers: Iterable[int]) -> bytes:
    """Write multi-precision integers in canonical form: no leading zeros (RFC 9580 section 3.2)."""
    return b"".join(
        number.bit_length().to_bytes(2, "big") + number.to_bytes((number.bit_length() + 7) // 8, "big")
        for number in numbers
    )


def fits(public: PublicPart, secret: tuple[int, ...]) -> bool:
    """Whether the secret numbers belong to the public ones.

    RSA: p·q = n, d·e ≡ 1 modulo lcm(p-1, q-1), u·p ≡ 1 modulo q. DSA, ElGamal: y = g^x mod p. Curves:
    the secret times the base point is the public point.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    if public.algorithm in RSA:
        n, e = public.numbers
        d, p, q, u = secret
        return p > 1 and q > 1 and p * q == n and d * e % math.lcm(p - 1, q - 1) == 1 and u * p % q == 1
    if not public.curve:
        p, *more, g, y = public.numbers  # DSA has q, too
        return 0 < secret[0] < min([p, *more]) and pow(g, secret[0], p) == y
    try:
        made = private_key(public, secret).public_key()
    except (ValueError, OverflowError):
        return False
    except UnsupportedAlgorithm as error:
        raise Unsupported(
            f"the installed cryptography library does not know the curve {CURVES[public.curve][0]}",
            hint=UNSUPPORTED_HINT,
        ) from error
    if CURVES[public.curve][1]:
        return bool(made.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint) == public.point)
    return bool(b"\x40" + made.public_bytes_raw() == public.point)


def private_key(public: PublicPart, secret: tuple[int, ...]) -> Any:
    """Make a private key of ``cryptography``, of whichever class the algorithm has there; not ElGamal.

    Raises:
        ValueError, OverflowError: There is no such key.
        UnsupportedAlgorithm: The installed libraries do not know the curve.
    """
    from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, x25519

    if public.algorithm in RSA:
        return rsa_private_key(*public.numbers, *secret[:3])
    if public.algorithm == DSA:
        p, q, g, y = public.numbers
        numbers = dsa.DSAPublicNumbers(y, dsa.DSAParameterNumbers(p, q, g))
        return dsa.DSAPrivateNumbers(secret[0], numbers).private_key()
    if CURVES[public.curve][1]:
        return ec.derive_private_key(secret[0], _curve(public))
    if public.algorithm == EDDSA:
        return ed25519.Ed25519PrivateKey.from_private_bytes(secret[0].to_bytes(32, "big"))
    # X25519's scalar is stored as a big-endian number, the function takes it little-endian.
    return x25519.X25519PrivateKey.from_private_bytes(secret[0].to_bytes(32, "little"))


def public_key(public: PublicPart) -> Any:
    """Make a public key of ``cryptography`` that verifies: RSA, DSA, ECDSA or Ed25519.

    Raises:
        ValueError: There is no such key.
        UnsupportedAlgorithm: The installed libraries do not know the curve.
    """
    from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa

    if public.algorithm in RSA:
        n, e = public.numbers
        return rsa.RSAPublicNumbers(e, n).public_key()
    if public.algorithm == DSA:
        p, q, g, y = public.numbers
        return dsa.DSAPublicNumbers(y, dsa.DSAParameterNumbers(p, q, g)).public_key()
    if public.algorithm == EDDSA:
        return ed25519.Ed25519PublicKey.from_public_bytes(public.point[1:])
    return ec.EllipticCurvePublicKey.from_encoded_point(_curve(public), public.point)


def rsa_private_key(n: int, e: int, d: int, p: int, q: int) -> rsa.RSAPrivateKey:
    """Make an RSA key whose numbers were checked when they were read: OpenSSL's test of primes is slow."""
    from cryptography.hazmat.primitives.asymmetric import rsa

    exponents = rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q)
    numbers = rsa.RSAPrivateNumbers(p, q, d, *exponents, rsa.RSAPublicNumbers(e, n))
    return numbers.private_key(unsafe_skip_rsa_key_validation=True)


def _curve(public: PublicPart) -> ec.EllipticCurve:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec

    kind: type[ec.EllipticCurve] | None = getattr(ec, CURVES[public.curve][1], None)
    if kind is None:
        raise UnsupportedAlgorithm("gone")
    return kind()
