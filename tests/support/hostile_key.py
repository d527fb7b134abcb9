"""A stranger's key with any user id, and what it signs: to try checks that read gpg's words."""

from __future__ import annotations

import hashlib
import struct
import time

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from tests.support import openpgp_writer as writer

_SHA256 = 8
_EXPONENT = 65537


class HostileKey:
    """An RSA key that signs OpenPGP; its user id is any bytes.

    Args:
        user_id: What it calls itself.
    """

    def __init__(self, user_id: bytes) -> None:
        self._key = rsa.generate_private_key(_EXPONENT, 2048)
        self._made = int(time.time()) - 3600
        numbers = self._key.public_key().public_numbers()
        self._body = b"\x04" + struct.pack(">IB", self._made, 1) + _number(numbers.n) + _number(numbers.e)
        self.fingerprint = writer.fingerprint(self._body)
        hashed = b"\x99" + struct.pack(">H", len(self._body)) + self._body
        bound = self._signature(0x13, hashed + b"\xb4" + struct.pack(">I", len(user_id)) + user_id)
        self.packets = [(writer.PUBLIC_KEY, self._body), (13, user_id), (writer.SIGNATURE, bound)]

    @property
    def public(self) -> str:
        """The key, in armor."""
        return writer.armor(writer.join(self.packets), "PUBLIC KEY BLOCK")

    def sign(self, data: bytes) -> str:
        """A detached signature, in armor, with a notation that says what the user id says."""
        return writer.armor(writer.join([(writer.SIGNATURE, self._signature(0x00, data))]), "SIGNATURE")

    def _signature(self, kind: int, data: bytes) -> bytes:
        parts = [
            b"\x02" + struct.pack(">I", self._made),  # creation time
            b"\x1b\x03",  # it certifies and signs
            b"\x21\x04" + bytes.fromhex(self.fingerprint),  # issuer
        ]
        area = b"".join(bytes([len(part)]) + part for part in parts)
        head = bytes([4, kind, 1, _SHA256]) + struct.pack(">H", len(area)) + area
        digest = hashlib.sha256(data + head + b"\x04\xff" + struct.pack(">I", len(head))).digest()
        signed = self._key.sign(digest, padding.PKCS1v15(), Prehashed(hashes.SHA256()))
        issuer = b"\x09\x10" + bytes.fromhex(self.fingerprint)[-8:]
        return (
            head
            + struct.pack(">H", len(issuer))
            + issuer
            + digest[:2]
            + _number(int.from_bytes(signed, "big"))
        )


def _number(value: int) -> bytes:
    return struct.pack(">H", value.bit_length()) + value.to_bytes((value.bit_length() + 7) // 8, "big")
