"""The beginning of an encrypted message: whom it is for, and how it is protected (RFC 4880 section 5)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from pipeline.core.errors import Unsupported
from pipeline.openpgp.format import packets
from pipeline.sources.backups.byte_stream import ByteStream, cut_off, empty, of_bytes
from pipeline.sources.backups.framing import damaged, packet

LENGTH: Final = 1 << 18
"""How much of a file is looked at for its head, in bytes."""
_DECODED: Final = 1 << 17
"""How far the encrypted data may begin behind the start, in bytes: some 250 recipients. An armored file's
first ``LENGTH`` bytes hold as much."""

HIDDEN: Final = "0" * 16
"""The key id of a recipient who is not named."""

_FOR_KEY, _FOR_PASSPHRASE, _MARKER, _PADDING = 1, 3, 10, 21
_SIGNATURE, _ONE_PASS = 2, 4
_PLAIN, _PROTECTED, _AEAD = 9, 18, 20
_OTHERS: Final = {
    5: "a secret key",
    6: "a public key",
    8: "compressed data",
    11: "data that is not encrypted",
}
_STUB: Final = 64
"""How much of the encrypted data goes along where only its session key is wanted, in bytes."""

Protection = Literal["mdc", "none", "aead", "aead-2"]


@dataclass(frozen=True)
class MessageHeader:
    """What the beginning of a message says.

    Attributes:
        key_ids: Of the (sub)keys that it is encrypted to, 16 upper-case hexadecimal digits each; zeros
            for one that is hidden.
        protection: How its integrity is protected: a modification detection code, not at all, by
            authenticated encryption (AEAD), or by that of RFC 9580.
        offset: Where the packet with the encrypted data begins, in bytes.
        stub: The recipients' packets and a first bit of the data: enough to get the session key. Those for
            passphrases are left out: gpg would try the escrow passphrase on what anybody may have written.
    """

    key_ids: tuple[str, ...]
    protection: Protection
    offset: int
    stub: bytes = field(repr=False)
    newer: bool = False
    """Whether a recipient's packet is of a version that only newer programs read."""


def read(cursor: ByteStream) -> MessageHeader:
    """Look at a message's beginning; nothing is taken from the stream.

    Raises:
        IntegrityProblem: It is not an OpenPGP message, or cut off.
        Unsupported: It is a message of another kind, which is named.
    """
    start = cursor.peek(_DECODED)
    if not start:
        raise empty()
    inside = of_bytes(start)
    key_ids: list[str] = []
    stub = bytearray()
    newer = False
    while True:
        offset = inside.taken
        found = packet(inside, "the message")
        if found is None:
            raise cut_off("it has no encrypted data")
        tag, body = found
        if tag in (_PLAIN, _PROTECTED, _AEAD):
            first = bytes(body.some(_STUB))
            if not key_ids:
                raise Unsupported(
                    "it is encrypted to a passphrase alone, not to any key",
                    hint="whoever made it has the passphrase; a server encrypts its backups to the Org Key",
                )
            stub += packets.build(tag, first, new_format=True).raw
            return MessageHeader(tuple(key_ids), _protection(tag, first), offset, bytes(stub), newer)
        if tag in _OTHERS:
            raise Unsupported(
                f"it is not an encrypted message: it holds {_OTHERS[tag]}",
                hint="check that this file is the backup: `gpg --list-packets` shows what it is",
            )
        if tag not in (_FOR_KEY, _FOR_PASSPHRASE, _SIGNATURE, _ONE_PASS, _MARKER, _PADDING):
            raise damaged("it is not an encrypted OpenPGP message")
        content = bytearray()
        while piece := body.some():
            content += piece
        if tag not in (_FOR_PASSPHRASE, _SIGNATURE, _ONE_PASS):
            stub += start[offset : inside.taken]
        if tag == _FOR_KEY and len(content) >= 9:
            newer = newer or content[0] != 3
            key_ids.append(content[1:9].hex().upper() if content[0] == 3 else _newer_id(bytes(content)))


def _protection(tag: int, first: bytes) -> Protection:
    if tag == _PLAIN:
        return "none"
    if tag == _AEAD:
        return "aead"
    return "mdc" if first[:1] in (b"", b"\x01") else "aead-2"


def _newer_id(content: bytes) -> str:
    """The key id of a recipient's packet of RFC 9580 (section 5.1.2), where it names one."""
    size, version = content[1], content[2]
    fingerprint = content[3 : 2 + size]
    if size == 0 or len(fingerprint) < 8:
        return HIDDEN
    return (fingerprint[-8:] if version == 4 else fingerprint[:8]).hex().upper()
