r"""Commitments to shares, and one-time check codes.

A commitment is the SHA-256 of six lines of ASCII, each ended by one newline::

    <salt, 32 hexadecimal digits>
    <record id, 32 hexadecimal digits>
    <path>
    <holder>
    <index, decimal>
    <the words, lower case, one space between them>

so that anybody can recompute it::

    printf '%s\n' SALT RECORD_ID PATH HOLDER INDEX "WORDS" | sha256sum

No field can hold a newline, hence no two tuples give the same text. The salt's 16 bytes are random and
public. A share carries 256 bits, so a public commitment gives nothing away.

A check code is 80 bits of HKDF-SHA256 (RFC 5869) with the words as input key, the record id's 32
digits as salt and ``orgkey check code 1:<number>`` as info, numbers from 0 to 63. It is written in
Crockford's base32 in four groups of four. Its published hash is the SHA-256 of the five first lines
above, then the number, then the code without hyphens: seven lines, so it is never a commitment.
A custodian who reveals code number *i* proves to have the share, and gives away nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass

from pipeline.core.errors import UsageProblem
from pipeline.core.secret import Secret
from pipeline.core.typed_text import shown
from pipeline.custody.shares.slip39 import normalise

SALT_BYTES = 16
CODES = 64
CODE_BYTES = 10
CODE_LETTERS = 16
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford: no I, L, O, U
_CROCKFORD = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", _ALPHABET)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a share belongs.

    Attributes:
        record_id: The record's id, 32 lower-case hexadecimal digits.
        path: The custody path's name.
        holder: The holder's name.
        index: 1 for a machine; 1 to n for the members of a group.
    """

    record_id: str
    path: str
    holder: str
    index: int

    def lines(self, salt: str) -> list[str]:
        """The first five lines of what is hashed."""
        fields = [salt, self.record_id, self.path, self.holder, str(self.index)]
        if any("\n" in field for field in fields):
            raise UsageProblem("a name holds a newline", hint="names are letters, digits and hyphens")
        return fields

    def __str__(self) -> str:
        return f"path {self.path}, holder {self.holder}, share {self.index}"


def _digest(lines: list[str]) -> str:
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode("ascii")).hexdigest()


def commitment(salt: str, place: Place, words: Secret) -> str:
    """Commit to a share.

    Args:
        salt: 32 lower-case hexadecimal digits.
        place: Where the share belongs.
        words: The share.

    Returns:
        SHA-256 in lower-case hexadecimal, as the module says.

    Raises:
        WrongShare: ``words`` is not a share at all.
    """
    return _digest([*place.lines(salt), normalise(words).text()])


def verify(expected: str, salt: str, place: Place, words: Secret) -> bool:
    """Whether a share is the one that was committed to at this place.

    Raises:
        WrongShare: ``words`` is not a share at all.
    """
    return hmac.compare_digest(expected, commitment(salt, place, words))


def code(place: Place, number: int, words: Secret) -> Secret:
    """Derive one of a share's check codes.

    Args:
        place: Where the share belongs.
        number: Which code, 0 to 63.
        words: The share.

    Returns:
        The code as it is shown, for example ``7ZZX-2K4M-0Q9T-VB1C``.

    Raises:
        UsageProblem: There is no code of that number.
    """
    _check_number(number)
    return _derived(place, number, normalise(words))


def _derived(place: Place, number: int, normal: Secret) -> Secret:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    derived = HKDF(
        SHA256(), CODE_BYTES, salt=place.record_id.encode(), info=f"orgkey check code 1:{number}".encode()
    ).derive(normal.reveal())
    return Secret(_grouped(base64.b32encode(derived).decode().translate(_CROCKFORD)))


def typed_codes(text: str) -> list[str]:
    """Take apart what a person typed as one or more codes, each in one word or in several."""
    codes, part = [], ""
    for word in re.split(r"[\s,;]+", text):
        part += _plain(word)
        if len(part) >= CODE_LETTERS:
            codes.append(_grouped(part))
            part = ""
    return codes + ([_grouped(part)] if part else [])


def _grouped(text: str) -> str:
    return "-".join(text[start : start + 4] for start in range(0, len(text), 4))


def _plain(typed: str) -> str:
    """The letters and digits of a code: in upper case, O as 0, I and L as 1, whatever stands between them."""
    return re.sub(r"[\W_]", "", shown(typed)).upper().translate(str.maketrans("OIL", "011"))


def code_hash(salt: str, place: Place, number: int, code: Secret) -> str:
    """Hash a check code as the manifest does.

    Args:
        salt: The share's salt, 32 lower-case hexadecimal digits.
        place: Where the share belongs.
        number: Which code, 0 to 63.
        code: The code as a person typed it: any case, hyphens or spaces, O for 0, I or L for 1.

    Returns:
        SHA-256 in lower-case hexadecimal.

    Raises:
        UsageProblem: It has not the form of a code, or the number is out of range.
    """
    _check_number(number)
    text = _plain(code.text())
    if len(text) != CODE_LETTERS or any(letter not in _ALPHABET for letter in text):
        raise UsageProblem("this is not a check code", hint="a code is four groups of four letters or digits")
    return _digest([*place.lines(salt), str(number), text])


def code_hashes(salt: str, place: Place, words: Secret) -> tuple[str, ...]:
    """The hashes of all 64 check codes of a share, for the manifest."""
    normal = normalise(words)
    return tuple(code_hash(salt, place, number, _derived(place, number, normal)) for number in range(CODES))


def _check_number(number: int) -> None:
    if not 0 <= number < CODES:
        raise UsageProblem(f"there is no check code {number}", hint=f"codes count from 0 to {CODES - 1}")
