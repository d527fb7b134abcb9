"""Armored messages of any length, decoded as a stream (RFC 4880 section 6.2).

The armor's 24-bit checksum is not looked at: it is optional, slow to compute, and the integrity code
inside says more.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

from pipeline.sources.backups.byte_stream import ByteStream, cut_off, empty
from pipeline.sources.backups.framing import damaged

_LOOKED_AT: Final = 1 << 16
_BEGIN: Final = re.compile(rb"(?:^|\n|\xef\xbb\xbf)[ \t]*-----BEGIN PGP MESSAGE-----[ \t]*\r?\n")
_BLANK: Final = re.compile(rb"\r?\n[ \t]*\r?\n")
_END: Final = b"-----END PGP MESSAGE-----"
_HEADER: Final = re.compile(rb"[A-Za-z][A-Za-z0-9-]*:")


def binary(cursor: ByteStream) -> ByteStream:
    """The stream as binary packets, whether or not it is armored.

    Raises:
        IntegrityProblem: It is neither.
    """
    start = cursor.peek(_LOOKED_AT)
    if start[:1] >= b"\x80" and not start.startswith(b"\xef\xbb\xbf"):
        return cursor
    if not start:
        raise empty()
    begin = _BEGIN.search(start)
    if begin is None:
        raise damaged("it is not an OpenPGP message")
    at = begin.end()
    if _HEADER.match(start, at) or start[at : at + 2].lstrip(b"\r")[:1] == b"\n":
        blank = _BLANK.search(start, at - 1)
        if blank is None:
            raise damaged("the headers of its armor have no end")
        at = blank.end()
    cursor.take(at, "the armor")
    return ByteStream(_Decoder(cursor).more)


class _Decoder:
    def __init__(self, cursor: ByteStream) -> None:
        self._cursor = cursor
        self._text = b""
        self._ended = False
        self._end = b""

    def more(self) -> bytes:
        while not self._ended:
            piece = bytes(self._cursor.some())
            if not piece:
                raise cut_off("its armor has no end")
            dash = piece.find(b"-")
            if dash >= 0:
                piece, self._end = piece[:dash], piece[dash:]
            text = self._text + piece.translate(None, b" \t\r\n")
            if dash >= 0:
                self._ended = True
                pad = text.find(b"=")
                if pad >= 0:  # padding, a checksum, or both
                    text = text[: pad + (-pad % 4)]
            elif b"=" in text:
                self._text = text  # its end is near: what "=" means is seen when the dashes are there
                if len(text) - text.find(b"=") > _LOOKED_AT:
                    raise damaged("its armor is not base64")
                continue
            whole = len(text) - len(text) % 4
            if self._ended and whole != len(text):
                raise damaged("its armor is not whole base64")
            self._text = text[whole:]
            if whole:
                return _decoded(text[:whole])
        self._nothing_follows()
        return b""

    def _nothing_follows(self) -> None:
        """Read on to the end of the stream: behind the armor only white space may be."""
        while len(self._end) < len(_END) and (piece := self._cursor.some()):
            self._end += piece
        if len(self._end) < len(_END):
            raise cut_off("its armor has no end")
        if not self._end.startswith(_END):
            raise damaged("the end of its armor is not whole")
        rest: memoryview | bytes = self._end[len(_END) :]
        while rest:
            if bytes(rest).strip():
                raise damaged("something follows the message")
            rest = self._cursor.some()


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise damaged("its armor is not base64") from None
