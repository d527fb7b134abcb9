"""Makes throwaway keys or messages with PGPy: ``python -m tools.make_pgpy keys``, or ``messages``.

Every key exists to be published: nothing real is ever protected by them.
"""

from __future__ import annotations

import sys
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.support.openpgp_writer import PASSPHRASE

ASSETS = Path(__file__).parents[1] / "tests" / "assets"
MADE = datetime(2025, 1, 1, 12, tzinfo=UTC)
LONG = timedelta(days=365 * 30)
TEXT = b"".join(b"user %d has a key\n" % number for number in range(40))


def make_keys() -> None:
    """A key for each algorithm that the program has to take from PGPy."""
    from pgpy import PGPUID, PGPKey
    from pgpy.constants import (
        EllipticCurveOID,
        HashAlgorithm,
        KeyFlags,
        PubKeyAlgorithm,
        SymmetricKeyAlgorithm,
    )

    rsa = (PubKeyAlgorithm.RSAEncryptOrSign, 2048)
    for name, primary, subkey in (
        ("rsa2048", rsa, rsa),
        (
            "ed25519",
            (PubKeyAlgorithm.EdDSA, EllipticCurveOID.Ed25519),
            (PubKeyAlgorithm.ECDH, EllipticCurveOID.Curve25519),
        ),
        (
            "nistp521",
            (PubKeyAlgorithm.ECDSA, EllipticCurveOID.NIST_P521),
            (PubKeyAlgorithm.ECDH, EllipticCurveOID.NIST_P521),
        ),
    ):
        key = PGPKey.new(*primary, created=MADE)
        key.add_uid(
            PGPUID.new(f"PGPy {name}", email="key@example.com"),
            usage={KeyFlags.Certify, KeyFlags.Sign},
            hashes=[HashAlgorithm.SHA256],
            ciphers=[SymmetricKeyAlgorithm.AES256],
            key_expiration=LONG,
            created=MADE,
        )
        uses = {KeyFlags.EncryptCommunications, KeyFlags.EncryptStorage}
        key.add_subkey(PGPKey.new(*subkey, created=MADE), usage=uses, key_expiration=LONG, created=MADE)
        key.protect(PASSPHRASE.decode(), SymmetricKeyAlgorithm.AES256, HashAlgorithm.SHA256)
        (ASSETS / "keys" / "makers" / f"pgpy-{name}.asc").write_text(str(key))


def make_messages() -> None:
    """Messages in the forms that PGPy writes."""
    from pgpy import PGPKey, PGPMessage
    from pgpy.constants import CompressionAlgorithm

    read = {
        name: PGPKey.from_file(ASSETS / "keys" / f"{name}-unprotected.asc")[0]
        for name in ("rsa2048", "ed25519")
    }
    for form, name, compression in (
        ("binary", "ed25519", CompressionAlgorithm.Uncompressed),
        ("bzip2", "rsa2048", CompressionAlgorithm.BZ2),
        ("signed", "rsa2048", CompressionAlgorithm.ZIP),
    ):
        message = PGPMessage.new(TEXT, format="b", compression=compression)
        if form == "signed":
            message |= read[name].sign(message)
        made = read[name].pubkey.encrypt(message)
        ending = "asc" if form == "signed" else "pgp"
        data = str(made).encode() if form == "signed" else bytes(made)
        (ASSETS / "messages" / "makers" / f"pgpy-{form}.{ending}").write_bytes(data)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    {"keys": make_keys, "messages": make_messages}[sys.argv[1]]()
