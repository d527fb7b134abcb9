"""Digests that name their algorithm."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Digest:
    """A digest and the algorithm that made it.

    Attributes:
        algorithm: Lower-case name as :mod:`hashlib` knows it.
        hex: The digest in lower-case hexadecimal.
    """

    algorithm: str
    hex: str

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"

    @property
    def raw(self) -> bytes:
        """The digest's bytes."""
        return bytes.fromhex(self.hex)

    @property
    def base64(self) -> str:
        """The digest in Base64, as S3 and a content security policy have it."""
        return base64.b64encode(self.raw).decode()


def sha256(data: bytes) -> Digest:
    """Digest ``data`` with SHA-256 (FIPS 180-4)."""
    return Digest("sha256", hashlib.sha256(data).hexdigest())
