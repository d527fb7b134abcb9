"""The beginning of an encrypted message: whom it is for, and how it is protected (RFC 4880 section 5)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from pipeline.backups.cursor import Cursor, over
from pipeline.backups.framing import damaged, packet
from pipeline.keys import packets

LENGTH: Final = 1 << 18
"""How much of a file is looked at for its head, in bytes."""
_DECODED: Final = 1 << 17
"""How far the encrypted data may begin behind the start, in bytes: some 250 recipients. An armored file's
first ``LENGTH`` bytes hold as much."""

HIDDEN: Final = "0" * 16
"""The key id of a recipient who is not named."""

_FOR_KEY, _FOR_PASSPHRASE, _MARKER, _PADDING = 1, 3, 10, 21
_PLAIN, _PROTECTED, _AEAD = 9, 18, 20
_STUB: Final = 64
"""How much of the encrypted data goes along where only its session key is wanted, in bytes."""

Protection = Literal["mdc", "none", "aead"]


@dataclass(frozen=True)
class Head:
    """What the beginning of a message says.

    Attributes:
        key_ids: Of the (sub)keys that it is encrypted to, 16 upper-case hexadecimal digits each; zeros
            for one that is hidden.
        protection: How its integrity is protected: a modification detection code, not at all, or AEAD.
        offset: Where the packet with the encrypted data begins, in bytes.
        stub: The recipients' packets and a first bit of the data: enough to get the session key. Those for
            passphrases are left out: gpg would try the escrow passphrase on what anybody may have written.
    """

    key_ids: tuple[str, ...]
    protection: Protection
    offset: int
    stub: bytes = field(repr=False)


def read(cursor: Cursor) -> Head:
    """Look at a message's beginning; nothing is taken from the stream.

    Raises:
        IntegrityProblem: It is no encrypted message, or not encrypted to any key.
    """
    start = cursor.peek(_DECODED)
    if not start:
        raise damaged("it is empty")
    inside = over(start)
    key_ids: list[str] = []
    stub = bytearray()
    while True:
        offset = inside.taken
        found = packet(inside, "the message")
        if found is None:
            raise damaged("it has no encrypted data")
        tag, body = found
        if tag in (_PLAIN, _PROTECTED, _AEAD):
            first = bytes(body.some(_STUB))
            protection: Protection = "mdc" if tag == _PROTECTED and first[:1] in (b"", b"\x01") else "aead"
            if not key_ids:
                raise damaged("it is not encrypted to any key")
            stub += packets.build(tag, first, new_format=True).raw
            return Head(tuple(key_ids), "none" if tag == _PLAIN else protection, offset, bytes(stub))
        if tag not in (_FOR_KEY, _FOR_PASSPHRASE, _MARKER, _PADDING):
            raise damaged("it is no encrypted OpenPGP message")
        content = bytearray()
        while piece := body.some():
            content += piece
        if tag != _FOR_PASSPHRASE:
            stub += start[offset : inside.taken]
        if tag == _FOR_KEY and len(content) >= 9:
            key_ids.append(content[1:9].hex().upper() if content[0] == 3 else HIDDEN)
