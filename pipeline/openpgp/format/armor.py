"""ASCII armor, read as tolerantly as files in the wild ask for, written as RFC 4880 section 6.2 says.

Tolerated: a byte order mark, CRLF, UTF-16 (Windows' "Unicode"), blank lines, white space at line ends,
text around the blocks, blocks joined without a line break, any header lines, no checksum. Not tolerated:
a wrong checksum, a block without its end, characters that are not base64.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Literal

from pipeline.core.errors import NotAKey

Kind = Literal["PRIVATE KEY BLOCK", "PUBLIC KEY BLOCK", "SIGNATURE", "MESSAGE"]

DAMAGED_HINT = "export the keypair again, and copy the file in binary mode, whole and unchanged"

_BEGIN = re.compile(rb"^[ \t]*-----BEGIN PGP ([A-Z0-9 ,/]{1,60})-----[ \t]*$", re.MULTILINE)
_END = re.compile(rb"^[ \t]*-----END PGP ([A-Z0-9 ,/]{1,60})-----[ \t]*$", re.MULTILINE)
# Where files were put together without a line break: behind one block's end, or behind its checksum.
_JOINED = re.compile(
    rb"(?<=[^\n])(?=-----END PGP [A-Z0-9 ,/]{1,60}-----[ \t]*(?:\n|-----|\Z))"
    rb"|(?<=[^\n]-----)[ \t]*(?=-----BEGIN PGP [A-Z0-9 ,/]{1,60}-----[ \t]*$)",
    re.MULTILINE,
)
_HEADER = re.compile(rb"^[A-Za-z][A-Za-z0-9-]*:( |$)")
_BASE64 = re.compile(rb"^[A-Za-z0-9+/]*={0,2}$")
_CRC = re.compile(rb"^=([A-Za-z0-9+/]{4})$")


def _crc_step(crc: int) -> int:
    for _ in range(8):
        crc = (crc << 1) ^ 0x1864CFB if crc & 0x800000 else crc << 1
    return crc & 0xFFFFFF


_TABLE = tuple(_crc_step(octet << 16) for octet in range(256))


def crc24(data: bytes) -> int:
    """The armor's checksum (RFC 4880 section 6.1)."""
    crc = 0xB704CE
    table = _TABLE
    for octet in data:
        crc = ((crc << 8) & 0xFFFFFF) ^ table[(crc >> 16) ^ octet]
    return crc


def armor(data: bytes, kind: Kind) -> bytes:
    """Write one armor block, with a checksum and without header lines.

    Args:
        data: Binary packets.
        kind: The block's name.
    """
    text = base64.b64encode(data)
    lines = [b"-----BEGIN PGP " + kind.encode() + b"-----", b""]
    lines += [text[at : at + 64] for at in range(0, len(text), 64)]
    lines.append(b"=" + base64.b64encode(crc24(data).to_bytes(3, "big")))
    lines.append(b"-----END PGP " + kind.encode() + b"-----")
    return b"\n".join(lines) + b"\n"


def dearmor(data: bytes) -> bytes:
    """Return binary packets: of all armor blocks in turn, or the data itself where it is binary.

    Raises:
        NotAKey: The armor is damaged, or there is neither armor nor an OpenPGP packet.
    """
    data, _ = normalise(data)
    if is_armored(data):
        return b"".join(blocks(data))
    if data[:1] and data[0] & 0x80:
        return data
    raise NotAKey("this is not OpenPGP data", hint="give OpenPGP data, armored or binary")


def is_armored(data: bytes) -> bool:
    """Whether an armor block begins somewhere in the (normalised) data."""
    return _BEGIN.search(data) is not None


def normalise(data: bytes) -> tuple[bytes, tuple[str, ...]]:
    """Take a byte order mark away, and make all line ends one kind where the data is armored text.

    Returns:
        The bytes to read; and what was changed, for people.
    """
    notes = []
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        # Neither is the begin of a packet that a key can have (tags 62 and 63 are private).
        data = data.decode("utf-16", errors="replace").encode()
        notes.append("the file is UTF-16; it was read as text")
    elif data[:3] == b"\xef\xbb\xbf":
        data = data[3:]
        notes.append("a byte order mark before the key was removed")
    if b"\r" in data and (data[:1] < b"\x80" or b"-----BEGIN PGP " in data):
        unix = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if is_armored(unix):
            data = unix
            notes.append("line ends were CRLF")
    if (data[:1] < b"\x80" or is_armored(data)) and _JOINED.search(data):
        data = _JOINED.sub(b"\n", data)
        notes.append("a line break between two armor blocks, or before the end of one, was missing")
    return data, tuple(notes)


def blocks(data: bytes) -> list[bytes]:
    """The binary packets of all armor blocks of a normalised file, in their order.

    Raises:
        NotAKey: A block has no end, a wrong checksum, or characters that are not base64.
    """
    found = []
    at = 0
    while begin := _BEGIN.search(data, at):
        kind = begin.group(1).decode()
        end = _END.search(data, begin.end())
        following = _BEGIN.search(data, begin.end())
        if end is None or (following and following.start() < end.start()):
            raise NotAKey(f"the armor block {kind} has no end, the file is cut off", hint=DAMAGED_HINT)
        if end.group(1) != begin.group(1):
            raise NotAKey(f"the armor block {kind} ends as another kind of block", hint=DAMAGED_HINT)
        found.append(_decode(kind, data[begin.end() : end.start()]))
        at = end.end()
    return found


def _decode(kind: str, inside: bytes) -> bytes:
    lines = [line.strip() for line in inside.split(b"\n")]
    at = 0
    # Header lines have a colon, which base64 has not: the blank line after them may be missing.
    while at < len(lines) and (not lines[at] or _HEADER.match(lines[at])):
        at += 1
    body: list[bytes] = []
    checksum: bytes | None = None
    for line in lines[at:]:
        if not line:
            continue
        if checksum is not None:
            raise NotAKey(f"the armor block {kind} goes on after its checksum", hint=DAMAGED_HINT)
        if mark := _CRC.match(line):
            checksum = mark.group(1)
        elif _BASE64.match(line):
            body.append(line)
        else:
            raise NotAKey(f"the armor block {kind} has characters that are not base64", hint=DAMAGED_HINT)
    try:
        data = base64.b64decode(b"".join(body), validate=True)
        expected = None if checksum is None else int.from_bytes(base64.b64decode(checksum), "big")
    except (binascii.Error, ValueError):
        raise NotAKey(f"the armor block {kind} is not whole base64", hint=DAMAGED_HINT) from None
    if expected is not None and crc24(data) != expected:
        raise NotAKey(f"the checksum of the armor block {kind} is wrong", hint=DAMAGED_HINT)
    return data
