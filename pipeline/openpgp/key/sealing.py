"""Bytes as an OpenPGP message under a passphrase, as ``gpg --symmetric`` makes them."""

from __future__ import annotations

from pipeline.core.errors import IntegrityProblem
from pipeline.core.secret import Secret

BY = "sequoia"
"""The implementation that reads and writes them."""


def seal(data: bytes, passphrase: Secret) -> bytes:
    """Encrypt with a passphrase, in binary form."""
    import pysequoia

    return bytes(pysequoia.encrypt(data, recipients=[], passwords=[passphrase.text()], armor=False))


def unseal(message: bytes, passphrase: Secret) -> bytes:
    """Decrypt what :func:`seal` made.

    Raises:
        IntegrityProblem: It is another message, is damaged, or the passphrase does not open it.
    """
    import pysequoia

    try:
        opened = pysequoia.decrypt(message, passwords=[passphrase.text()])
    except Exception as error:
        # Whatever the library raises: nothing came out.
        raise IntegrityProblem(
            "the message does not open with this passphrase", hint="take another copy"
        ) from error
    return bytes(opened.bytes or b"")
