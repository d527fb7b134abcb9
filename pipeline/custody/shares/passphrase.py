"""The escrow passphrase: 256 fresh random bits, written as 64 hexadecimal digits.

Its 32 raw bytes are the master secret of every SLIP-39 split, so that ``shamir recover``, which prints
hexadecimal, prints exactly what GnuPG asks for.
"""

from __future__ import annotations

import secrets

from pipeline.core import log
from pipeline.core.errors import WrongPassphrase
from pipeline.core.secret import Secret

SIZE = 32
"""Bytes of an escrow passphrase: 256 bits, so that stretching it adds nothing."""


def draw() -> Secret:
    """Draw a new escrow passphrase from the operating system's generator, as 32 raw bytes."""
    return Secret(secrets.token_bytes(SIZE))


def written(raw: Secret) -> Secret:
    """Write an escrow passphrase as OpenPGP programs are given it.

    Args:
        raw: 32 bytes.

    Returns:
        64 lower-case hexadecimal digits in ASCII.

    Raises:
        WrongPassphrase: ``raw`` has another length.
    """
    if len(raw) != SIZE:
        raise WrongPassphrase(
            f"an escrow passphrase has {SIZE} bytes, this has {len(raw)}",
            hint="it is made by the escrow itself, or recovered from its shares",
        )
    # From here on it can meet a library's debug log: have it blotted out there, in every spelling.
    return log.redact(Secret(raw.reveal().hex()))
