"""Who made a backup: signatures inside the encrypted message, over its content (RFC 4880 section 5.2 to 5.4).

Anybody who has the public key can encrypt to it, so a message that decrypts says nothing of its maker. Only a
signature by a key that is named beforehand does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from pipeline.core.errors import OrgkeyError
from pipeline.openpgp.format.signatures import DOCUMENT, STRONG_DIGESTS, Signature, hasher, read_signature
from pipeline.sources.backups.framing import Body

_LONGEST: Final = 1 << 16
_MOST: Final = 16
"""How many signatures are kept; a message has one, rarely two."""


class ContentSignatures:
    """Takes the signatures of a message, and hashes its content as it passes.

    Args:
        signers: Public keys, each armored or binary, whose signature says who made the message. Without any
            nothing is hashed.
    """

    def __init__(self, signers: Sequence[bytes] = ()) -> None:
        self._signers = signers
        self._hashes: dict[int, hashlib._Hash] = {}
        self._found: list[Signature] = []
        self._begun = False

    def announced(self, body: Body) -> None:
        """Take a one-pass signature packet, which stands before what is signed."""
        data = _whole(body)
        if len(data) == 13 and data[1] == DOCUMENT:
            self._hash(data[2])

    def signature(self, body: Body) -> None:
        """Take a signature packet, before or behind what is signed."""
        made = read_signature(_whole(body))
        if made is not None and made.kind == DOCUMENT and made.version == 4 and len(self._found) < _MOST:
            self._found.append(made)
            if not self._hashes:  # the older form: there is no announcement
                self._hash(made.digest)

    def feed(self, piece: memoryview) -> None:
        """Take the next piece of the content."""
        self._begun = True
        for hashing in self._hashes.values():
            hashing.update(piece)

    def signed_by(self) -> str | None:
        """The fingerprint of the first of the signers who has signed the content; ``None`` where none has.

        A signer whose key was revoked proves nothing: whoever has stolen it can date a signature back.
        """
        if not self._found:
            return None
        from pipeline.openpgp import signing
        from pipeline.openpgp.key import parsing, validity

        for signer in self._signers:
            try:
                key = parsing.read_one(signer, "a signer's public key")
            except OrgkeyError:
                continue
            if validity.judge(key, None).primary.revoked:
                continue
            for made in self._found:
                hashing = self._hashes.get(made.digest)
                if hashing is not None and signing.objection(made, key, hashing) is None:
                    return key.fingerprint
        return None

    def _hash(self, digest: int) -> None:
        # One that is announced behind the content was not made over it.
        if self._signers and not self._begun and digest in STRONG_DIGESTS and digest not in self._hashes:
            hashing = hasher(digest)
            if hashing is not None:
                self._hashes[digest] = hashing


def _whole(body: Body) -> bytes:
    """A packet's content; nothing where it is longer than a signature is."""
    data = bytearray()
    while piece := body.some():
        if len(data) <= _LONGEST:
            data += piece
    return bytes(data) if len(data) <= _LONGEST else b""
