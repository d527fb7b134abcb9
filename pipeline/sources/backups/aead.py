"""Data that was encrypted and authenticated in chunks: OCB as GnuPG 2.4 and RNP write it, EAX as RNP does.

The packet with tag 20 of draft-ietf-openpgp-rfc4880bis-10, section 5.16. Each chunk is authenticated before
anything of it is given out; a last tag over the total length shows that none is missing.
"""

from __future__ import annotations

import hmac
from typing import Final

from pipeline.core.errors import Unsupported
from pipeline.sources.backups.framing import Body

TAG: Final = 16
"""Length of an authentication tag, in bytes."""
_VECTORS: Final = {1: 16, 2: 15}  # EAX, OCB: length of the starting vector
_LARGEST: Final = 16
"""The largest chunk that is read has 2 to the power of 6 more bytes: 4 MiB, GnuPG's own."""


class Chunks:
    """The chunks of one packet, decrypted.

    Args:
        body: The packet's content, from its first byte.
        cipher: OpenPGP's number of the cipher that the session key is for.
        key: The session key.

    Raises:
        IntegrityProblem: It is cut off.
        Unsupported: Its version, cipher, mode or chunk size is not understood here.
    """

    def __init__(self, body: Body, cipher: int, key: bytes) -> None:
        head = body.take(4, "the encrypted data")
        version, own, mode, size = head
        if version != 1 or own != cipher or mode not in _VECTORS or size > _LARGEST:
            raise Unsupported(
                f"its authenticated encryption (version {version}, cipher {own}, mode {mode}, "
                f"chunks 2^{size + 6}) is not understood here",
                hint="a newer gpg may read it: --engine gpg",
            )
        self._body = body
        self._key = key
        self._about = b"\xd4" + head
        self._vector = body.take(_VECTORS[mode], "the encrypted data")
        self._open = _eax if mode == 1 else _ocb
        self._size = 1 << (size + 6)
        self._held = bytearray()
        self._index = self._total = 0
        self._ended = False

    def more(self) -> bytes:
        """Give the next chunk; an empty one at the end.

        Raises:
            InvalidTag: It was altered, or chunks are missing.
            IntegrityProblem: It is cut off.
        """
        if self._ended:
            return b""
        wanted = self._size + 2 * TAG
        while len(self._held) < wanted and (piece := self._body.some(wanted - len(self._held))):
            self._held += piece
        if len(self._held) <= TAG:  # the last tag alone
            self._ended = True
            about = self._about + self._index.to_bytes(8, "big") + self._total.to_bytes(8, "big")
            self._open(self._key, self._nonce(), bytes(self._held), about)
            return b""
        size = min(self._size + TAG, len(self._held) - TAG)
        chunk = bytes(self._held[:size])
        del self._held[:size]
        plain = self._open(self._key, self._nonce(), chunk, self._about + self._index.to_bytes(8, "big"))
        self._index += 1
        self._total += len(plain)
        return plain

    def _nonce(self) -> bytes:
        counter = int.from_bytes(self._vector[-8:], "big") ^ self._index
        return self._vector[:-8] + counter.to_bytes(8, "big")


def _ocb(key: bytes, nonce: bytes, data: bytes, about: bytes) -> bytes:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESOCB3

    if len(data) < TAG:
        raise InvalidTag
    return AESOCB3(key).decrypt(nonce, data, about)


def _eax(key: bytes, nonce: bytes, data: bytes, about: bytes) -> bytes:
    """EAX (Bellare, Rogaway, Wagner 2004), of CTR and CMAC: the library does not have it whole."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    from cryptography.hazmat.primitives.cmac import CMAC

    def mac(number: int, text: bytes) -> bytes:
        made = CMAC(algorithms.AES(key))
        made.update(bytes(15) + bytes([number]) + text)
        return made.finalize()

    text, tag = data[:-TAG], data[-TAG:]
    start = mac(0, nonce)
    whole = zip(start, mac(1, about), mac(2, text), strict=True)
    if not hmac.compare_digest(bytes(a ^ b ^ c for a, b, c in whole), tag):
        raise InvalidTag
    decryptor = Cipher(algorithms.AES(key), modes.CTR(start)).decryptor()
    return decryptor.update(text) + decryptor.finalize()
