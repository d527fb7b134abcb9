"""Symmetric ciphers and digests of OpenPGP, from ``cryptography`` and :mod:`hashlib`.

Old ciphers are being retired there, and moved before that: all of it is looked up here, when needed,
so that a removal one day is a clear refusal and no crash.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import Unsupported

if TYPE_CHECKING:
    from cryptography.hazmat.decrepit.ciphers.modes import CFB

# id -> (name for people, class name in `cryptography`, key length, block length in bytes)
CIPHERS: dict[int, tuple[str, str, int, int]] = {
    1: ("IDEA", "IDEA", 16, 8),
    2: ("3DES", "TripleDES", 24, 8),
    3: ("CAST5", "CAST5", 16, 8),
    4: ("Blowfish", "Blowfish", 16, 8),
    7: ("AES-128", "AES", 16, 16),
    8: ("AES-192", "AES", 24, 16),
    9: ("AES-256", "AES", 32, 16),
    10: ("Twofish", "Twofish", 32, 16),  # no library here has it; named, so that the message can
    11: ("Camellia-128", "Camellia", 16, 16),
    12: ("Camellia-192", "Camellia", 24, 16),
    13: ("Camellia-256", "Camellia", 32, 16),
}
# id -> (name for people, hashlib's name)
DIGESTS: dict[int, tuple[str, str]] = {
    1: ("MD5", "md5"),
    2: ("SHA-1", "sha1"),
    3: ("RIPEMD-160", "ripemd160"),
    8: ("SHA-256", "sha256"),
    9: ("SHA-384", "sha384"),
    10: ("SHA-512", "sha512"),
    11: ("SHA-224", "sha224"),
}


def digest_available(digest: int) -> bool:
    """Whether this installation has a digest: FIPS modes, for example, lack MD5."""
    try:
        hashlib.new(DIGESTS[digest][1], usedforsecurity=False)
    except ValueError:
        return False
    return True


def _find(kind: str, name: str) -> Any:
    """Find a cipher or mode, wherever this release of ``cryptography`` keeps it.

    Raises:
        UnsupportedAlgorithm: It no longer does.
    """
    from cryptography.exceptions import UnsupportedAlgorithm

    for place in ("decrepit", "primitives"):
        with suppress(ImportError):
            module = import_module(f"cryptography.hazmat.{place}.ciphers.{kind}")
            if hasattr(module, name):
                return getattr(module, name)
    raise UnsupportedAlgorithm("gone")


def cipher_available(cipher: int) -> bool:
    """Whether the installed libraries have this cipher at all."""
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        return bool(_find("algorithms", CIPHERS[cipher][1]))
    except UnsupportedAlgorithm:
        return False


def cfb(iv: bytes) -> CFB:
    """The mode in which secret keys and messages are encrypted."""
    mode: CFB = _find("modes", "CFB")(iv)
    return mode


def crypt(cipher: int, key: bytes, iv: bytes, data: bytes, *, encrypt: bool) -> bytes:
    """Encrypt or decrypt in plain CFB, as secret keys do.

    Args:
        cipher: Symmetric algorithm id (RFC 4880 section 9.2).
        key: Of the cipher's length.
        iv: One block.
        data: Of any length.
        encrypt: The direction.

    Raises:
        Unsupported: The installed libraries have retired the cipher.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.ciphers import Cipher

    try:
        engine = Cipher(_find("algorithms", CIPHERS[cipher][1])(key), cfb(iv))
        context = engine.encryptor() if encrypt else engine.decryptor()
    except UnsupportedAlgorithm as error:
        raise Unsupported(
            f"the cipher {CIPHERS[cipher][0]} is not available in this installation",
            hint="the cryptography library or OpenSSL has retired it: use a release that still has it, "
            "or export the key again with AES",
        ) from error
    return context.update(data) + context.finalize()
