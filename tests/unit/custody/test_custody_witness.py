from __future__ import annotations

import pytest

from pipeline.core.errors import IntegrityProblem
from pipeline.core.secret import Secret
from pipeline.custody.shares import passphrase, witness

RAW = Secret(bytes(range(32)))
RECORD = "0123456789abcdef" * 2


def test_the_witness_is_a_function_of_passphrase_and_record() -> None:
    public = witness.public_pem(RAW, RECORD)
    assert public == witness.public_pem(RAW, RECORD)
    assert public != witness.public_pem(RAW, "f" * 32)
    assert public != witness.public_pem(passphrase.draw(), RECORD)
    # Made with a plain HMAC: records that exist cannot be changed.
    assert "\nMCowBQYDK2VwAyEAfM2ojBGL8WkK8PlngwY2FULVMxgZ/Rq9fX3Gwr6PVEg=\n" in public


def test_a_signature_verifies_and_nothing_else_does() -> None:
    public = witness.public_pem(RAW, RECORD)
    signature = witness.sign(RAW, RECORD, b"certificate")
    witness.verify(public, b"certificate", signature)
    for data, bad in (
        (b"Certificate", signature),
        (b"certificate", signature[:-1]),
        (b"certificate", b""),
        (b"certificate", witness.sign(passphrase.draw(), RECORD, b"certificate")),
    ):
        with pytest.raises(IntegrityProblem):
            witness.verify(public, data, bad)


def test_other_keys_are_refused() -> None:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    pem = other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    mine = witness.public_pem(RAW, RECORD)
    for public, told in (
        (pem, "is not an Ed25519 key"),
        ("", "cannot be read"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "cannot be read"),
        (mine + "\n", "is not written as it was issued"),
    ):
        with pytest.raises(IntegrityProblem, match=told):
            witness.verify(public, b"x", witness.sign(RAW, RECORD, b"x"))
