"""OpenPGP's CFB decryption, many blocks at a time (RFC 4880 section 13.9).

``P[i] = C[i] xor E(C[i-1])``: every input of the cipher is known beforehand, so that one AES-ECB
*encryption* over the ciphertext shifted by a block, and one XOR, decrypt a whole piece. The cipher is
OpenSSL's.
"""

from __future__ import annotations

from typing import Any, Final

BLOCK: Final = 16
ALGORITHMS: Final = {7: 16, 8: 24, 9: 32}
"""AES by its OpenPGP number (RFC 4880 section 9.2), with the length of its key in bytes."""


class Decryptor:
    """Decrypts one message.

    Args:
        key: The session key: 16, 24 or 32 bytes.
        piece: The longest piece, in bytes; a multiple of 16.
    """

    def __init__(self, key: bytes, piece: int) -> None:
        import numpy
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        # ECB is the raw cipher that CFB is made of.
        self._encrypt: Any = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305
        # An array has no buffer interface in the stubs of older Pythons.
        self._cipher: Any = numpy.zeros(piece + 2 * BLOCK, numpy.uint8)
        self._room = _view(self._cipher)

    @property
    def room(self) -> memoryview:
        """Where the next piece of ciphertext is put; behind the block before it."""
        return self._room[BLOCK:-BLOCK]

    def restart(self, block: bytes) -> None:
        """Take another block as the one before the next piece (resynchronisation)."""
        self._room[:BLOCK] = block

    def decrypt(self, size: int, out: Any) -> None:
        """Decrypt what lies in :attr:`room`.

        Args:
            size: How much, in bytes; a multiple of 16 but for the last piece.
            out: Where the plaintext goes; at least 31 bytes longer than ``size``.
        """
        import numpy

        whole = -(-size // BLOCK) * BLOCK
        self._encrypt.update_into(self._room[:whole], _view(out))
        numpy.bitwise_xor(out[:size], self._cipher[BLOCK : BLOCK + size], out=out[:size])
        self._cipher[:BLOCK] = self._cipher[whole : whole + BLOCK]


def _view(array: Any) -> memoryview:
    return memoryview(array)
