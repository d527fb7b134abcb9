"""Bytes as an OpenPGP message under a passphrase, as ``gpg --symmetric`` makes them.

Written here, and read by Sequoia: who reads is not who wrote, and Sequoia would stretch a passphrase that has
256 random bits (ADR 2), each time for as long as all the rest of an escrow's arithmetic takes.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

from pipeline.core.errors import IntegrityProblem
from pipeline.core.secret import Secret
from pipeline.openpgp.format.ciphers import crypt
from pipeline.openpgp.format.packets import build
from pipeline.openpgp.format.protection import (
    AES256,
    ESCROW_COUNT_OCTET,
    SHA256,
    Protection,
    ProtectionState,
    derive,
)

BY = "sequoia"
"""The implementation that reads them."""

# RFC 4880 sections 5.3, 5.9 and 5.13.
_SESSION_KEY: Final = 3
_LITERAL: Final = 11
_ENCRYPTED: Final = 18
_BLOCK: Final = 16


def seal(data: bytes, passphrase: Secret) -> bytes:
    """Encrypt with a passphrase, in binary form: AES-256, integrity protected, not stretched.

    Args:
        data: What is encrypted.
        passphrase: Of 256 random bits: a person's would be guessed.
    """
    salt, begun = secrets.token_bytes(8), secrets.token_bytes(_BLOCK)
    count = ESCROW_COUNT_OCTET
    how = Protection(ProtectionState.PROTECTED, 254, AES256, 3, SHA256, salt, count)
    head = bytes([4, AES256, 3, SHA256]) + salt + bytes([count])
    # Binary, without a name and a date; then the header of the packet that protects the whole.
    literal = build(_LITERAL, b"b\0" + bytes(4) + data).raw
    plain = begun + begun[-2:] + literal + b"\xd3\x14"
    plain += hashlib.sha1(plain, usedforsecurity=False).digest()
    sealed = crypt(AES256, derive(how, passphrase.reveal()), bytes(_BLOCK), plain, encrypt=True)
    return build(_SESSION_KEY, head).raw + build(_ENCRYPTED, b"\x01" + sealed).raw


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
