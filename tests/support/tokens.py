"""JSON web tokens (RFC 7519), signed with ES256 by an issuer of the test's own."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Issuer:
    """A key that signs tokens."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())

    @property
    def public_pem(self) -> str:
        """The public key, as servers want it."""
        made = self._key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return made.decode()

    def token(self, *, seconds: float = 600, **claims: Any) -> str:
        """Sign a token.

        Args:
            seconds: Until its end; negative for one that has expired.
            claims: What it says, besides its times.
        """
        now = int(time.time())
        said = {"iat": now - 3600, "nbf": now - 3600, "exp": int(now + seconds), **claims}
        text = ".".join(
            _b64(json.dumps(part).encode()) for part in ({"alg": "ES256", "typ": "JWT", "kid": "k"}, said)
        )
        r, s = decode_dss_signature(self._key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{text}.{_b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"
