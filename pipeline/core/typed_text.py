"""Text that people bring: passphrases, shares, words. What an editor or a printer did to it is undone here.

A passphrase is bytes to OpenPGP, and it was typed somewhere: so the bytes as they stand are tried first, and
then what was most likely meant (:func:`readings`). What is odd about them is told in a hint
(:func:`oddity`). A *new* passphrase that nobody can type is refused (:func:`unfit`).
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

SHORT: Final = 8
"""Characters; a new passphrase below it is guessed by whoever has the file."""


def decoded(data: bytes) -> bytes:
    """A text as UTF-8 without a byte order mark; bytes that are not such a text stay as they are."""
    if data.startswith(b"\xef\xbb\xbf"):
        return _from(data[3:], "utf-8")
    for mark, encoding in ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        if data.startswith(mark):
            return _from(data.removeprefix(mark), encoding)
    if b"\x00" in data:
        little = data[1::2].count(0) >= data[::2].count(0)
        return _from(data, "utf-16-le" if little else "utf-16-be")
    return data


def _from(data: bytes, encoding: str) -> bytes:
    if encoding == "utf-16-be" and len(data) % 2 and data.endswith(b"\x00"):
        data = data[:-1]  # half of a line end, whose other half was stripped
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        return data
    return data if "\x00" in text else text.encode()


def readings(data: bytes) -> list[bytes]:
    """What bytes that somebody brought as a passphrase can mean, themselves first, each once.

    A space at an edge is never taken away: it may be a part of the passphrase, and is named in the hint.
    """
    text = decoded(data)
    whole = text.rstrip(b"\r\n")
    plain = _spaced(whole)
    lines = [line for line in plain.splitlines() if line.strip()]
    first = lines[0] if lines else plain
    return list(dict.fromkeys([data, text, whole, plain, first]))


def _spaced(data: bytes) -> bytes:
    """Each kind of space as the one that a keyboard has."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return data
    return "".join(" " if unicodedata.category(char) == "Zs" else char for char in text).encode()


def words(data: bytes) -> str:
    """Words as they were meant: of any width, with any space between them, without marks that do not show.

    Args:
        data: One or more lines.

    Returns:
        The text, in lower case; lines stay lines.
    """
    text = shown(decoded(data).decode(errors="surrogateescape")).lower()
    return text.replace("i\u0307", "i").replace("\u0131", "i")  # a Turkish keyboard's capital and small i


def shown(text: str) -> str:
    """Text of one width, without marks that do not show, such as come along from a page or a dialogue."""
    if text.isascii():  # most is: a fiftieth of the time
        return text
    return "".join(c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) != "Cf")


def fingerprint(text: str) -> str | None:
    """A fingerprint of 40 hexadecimal digits in upper case, spaced or not; ``None`` for anything else."""
    digits = re.sub(r"[\s:]", "", shown(text)).upper().removeprefix("0X")
    return digits if re.fullmatch(r"[0-9A-F]{40}", digits) else None


def oddity(data: bytes) -> str | None:
    """Say what is odd about a passphrase, without showing any of it; ``None`` when nothing is."""
    text = decoded(data)
    if text != data:
        if data.startswith(b"\xef\xbb\xbf"):
            return "it begins with a byte order mark: save the file as UTF-8 without one"
        return "it is UTF-16, as Windows calls Unicode: save the file as UTF-8"
    ends = data.rstrip(b"\r\n")
    if b"\n" in ends or b"\r" in ends:
        return f"it has {len(ends.splitlines())} lines: a passphrase is one"
    if data.endswith((b"\r", b"\r\n")):
        return "it ends with a carriage return (a file with Windows line ends?): remove it"
    if data != ends:
        return "it ends with a line feed beyond the one that is stripped"
    if data.strip() != data:
        return "it begins or ends with a space or other white space: remove that if it is not part of it"
    if _spaced(data) != data:
        return "it has no-break or other wide spaces, as word processors make"
    if any(unicodedata.category(char) in _UNSEEN for char in data.decode(errors="ignore")):
        return "it has characters inside that do not show"
    return None


_UNSEEN: Final = frozenset({"Cc", "Cf", "Co", "Cn", "Zl", "Zp"})


def unfit(data: bytes) -> str | None:
    """Say why nobody could type a new passphrase; ``None`` for one that can be typed.

    Args:
        data: The new passphrase.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return oddity(data) or "it is not text in UTF-8"
    if any(unicodedata.category(char) in _UNSEEN for char in text):
        return oddity(data) or "it has characters inside that do not show"
    return None
