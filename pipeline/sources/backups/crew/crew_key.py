"""The crew's key: its machines open tickets with it; who makes tickets pins the public half."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipeline.core import files
from pipeline.core.errors import LocalFilesProblem, UsageProblem

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

_LIMIT: Final = 4096
_SIZE: Final = 32
"""Bytes of a public key of X25519 (RFC 7748 section 6.1)."""


class CrewKey:
    """The secret half, which only the crew's machines have.

    Args:
        key: The key; it is never shown.
    """

    def __init__(self, key: X25519PrivateKey) -> None:
        self.private = key

    @classmethod
    def generate(cls) -> CrewKey:
        """Make a new one."""
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

        return cls(X25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path) -> CrewKey:
        """Read a key file.

        Raises:
            LocalFilesProblem: It cannot be read.
            UsageProblem: It is not a crew's key.
        """
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        with files.os_errors(f"cannot read the crew's key {path}"):
            data = files.read_regular(files.expanded(path), _LIMIT)
        if data is None:
            raise LocalFilesProblem(f"the crew's key {path} is not a file", hint="name the crew's key file")
        try:
            key = load_pem_private_key(data, None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, X25519PrivateKey):
            raise UsageProblem(
                f"{path} is not a crew's key", hint="make one with `orgkey backups crew init`"
            ) from None
        return cls(key)

    def pem(self) -> bytes:
        """The key file: PKCS #8 in PEM, without a passphrase, since machines read it unattended."""
        from cryptography.hazmat.primitives import serialization

        return self.private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    @property
    def public(self) -> str:
        """The public half, as it is pinned: its 32 bytes in Base64."""
        return base64.b64encode(self.private.public_key().public_bytes_raw()).decode()


def public_bytes(text: str) -> bytes:
    """Read a public half, as :attr:`CrewKey.public` writes it.

    Raises:
        ValueError: It is not one.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if len(data) != _SIZE or base64.b64encode(data).decode() != text:
        raise ValueError(
            "a crew's public key is 44 characters of Base64, as `orgkey backups crew init` shows"
        )
    return data
