"""The witness: an Ed25519 key that only who recovered the escrow passphrase has.

Its seed is HKDF-SHA256 (RFC 5869) of the escrow passphrase's 32 bytes, with the record id's 32
hexadecimal digits as salt and ``orgkey witness 1`` as info. The manifest has the public part. A
signature by it tells a drill that really recovered the passphrase from one that had the original key.
Signatures are plain Ed25519 (RFC 8032), so ``openssl pkeyutl -verify -rawin`` accepts them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.core.errors import IntegrityProblem
from pipeline.core.secret import Secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_HINT = "the certificate or the manifest was altered; take them from a copy that `orgkey verify` accepts"


def _key(raw: Secret, record_id: str) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    seed = HKDF(SHA256(), 32, salt=record_id.encode(), info=b"orgkey witness 1").derive(raw.reveal())
    return Ed25519PrivateKey.from_private_bytes(seed)


def public_pem(raw: Secret, record_id: str) -> str:
    """The witness's public key.

    Args:
        raw: The escrow passphrase, 32 bytes.
        record_id: The record's id, 32 lower-case hexadecimal digits.

    Returns:
        SubjectPublicKeyInfo in PEM (RFC 8410), with a final newline.
    """
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public = _key(raw, record_id).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def sign(raw: Secret, record_id: str, data: bytes) -> bytes:
    """Sign with the witness key.

    Args:
        raw: The escrow passphrase, 32 bytes.
        record_id: The record's id, 32 lower-case hexadecimal digits.
        data: What is signed.

    Returns:
        The signature, 64 bytes.
    """
    return _key(raw, record_id).sign(data)


def verify(public_pem: str, data: bytes, signature: bytes) -> None:
    """Verify a witness's signature.

    Args:
        public_pem: The public key from an authentic manifest.
        data: What was signed.
        signature: The signature, 64 bytes.

    Raises:
        IntegrityProblem: It is not the witness's signature, or the key is no Ed25519 key.
    """
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

    try:
        key = load_pem_public_key(public_pem.encode())
        same = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode() == public_pem
    except (ValueError, UnsupportedAlgorithm) as error:
        raise IntegrityProblem("the witness's public key cannot be read", hint=_HINT) from error
    if not isinstance(key, Ed25519PublicKey):
        raise IntegrityProblem("the witness's public key is not an Ed25519 key", hint=_HINT)
    if not same:
        raise IntegrityProblem("the witness's public key is not written as it was issued", hint=_HINT)
    try:
        key.verify(signature, data)
    except InvalidSignature as error:
        raise IntegrityProblem("the witness's signature does not fit", hint=_HINT) from error
