"""Shares that people bring in files: words, or an OpenPGP message that this operator's gpg opens."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pipeline.cli.output import printable
from pipeline.core import files, log, passphrases, typed_text
from pipeline.core.clock import Deadline
from pipeline.core.errors import UsageProblem
from pipeline.core.secret import Secret
from pipeline.custody.shares import slip39
from pipeline.custody.shares.slip39 import WORDS
from pipeline.openpgp.gnupg import user as own_gpg
from pipeline.unseal.ceremony import Brought

LARGEST: Final = 1 << 20
"""Of a file with shares, in bytes."""
_LOOKED_AT: Final = 10_000
"""Words among which shares are looked for: it takes a second or two."""
_BETWEEN: Final = re.compile(r"[\s,;/|_\udca0-]+")
"""What stands between words; a no-break space of Windows' code pages is among it."""


def read(
    places: list[str] | None, deadline: Deadline, descriptors: list[int] | None = None
) -> tuple[Brought, ...]:
    """Read shares from files.

    Args:
        places: The values of ``--share``.
        descriptors: The values of ``--share-fd``.
        deadline: Bounds gpg's work; the time that a person takes at it does not count.

    Returns:
        The shares, each named by its file; a file may hold several, one a line.

    Raises:
        LocalFilesProblem: A file cannot be read.
        UsageProblem: A file holds nothing.
        NotEnoughShares: gpg cannot open one.
    """
    return tuple(
        item for place in [*(places or ()), *(descriptors or ())] for item in read_one(place, deadline)
    )


def read_one(place: str | int, deadline: Deadline) -> list[Brought]:
    """Read the shares of one file or descriptor; see :func:`read`."""
    origin = "standard input" if place == "-" else printable(str(place))
    if isinstance(place, int):
        origin = f"descriptor {place}"
        if place < 0:
            raise UsageProblem(f"{origin} is not a descriptor", hint="give a number from 0 up")
    data = _bytes(place, origin)
    message = own_gpg.message_in(data)
    if message is not None:
        with deadline.paused():
            data = own_gpg.decrypt(message, f"the share in {origin}", Deadline(own_gpg.SECONDS)).reveal()
    shares = [log.redact(Secret(text)) for text in split(data)]
    if not shares:
        raise UsageProblem(f"{origin} holds no share", hint="a share is 33 English words")
    if len(shares) == 1:
        return [Brought(shares[0], f"the share in {origin}")]
    return [Brought(words, f"share {number} in {origin}") for number, words in enumerate(shares, 1)]


def _bytes(place: str | int, origin: str) -> bytes:
    with files.os_errors(f"cannot read {origin}"):
        if place == "-":
            data = passphrases.standard_input(LARGEST + 1, "a share")
        else:
            path = files.expanded(Path(place)) if isinstance(place, str) else place
            with open(path, "rb", closefd=path is not place) as stream:
                data = stream.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise UsageProblem(f"{origin} is larger than any share", hint="check which file this is")
    return data


def split(data: bytes) -> list[bytes]:
    """Tell the shares of a text apart.

    Args:
        data: One share over any number of lines, with numbers, list marks, quotes or other signs around the
            words or without; or several, one a line, with an empty line between them, or one after the other.
            Where other words stand around them, only a share that is whole is found.

    Returns:
        The words of each, one space between them.
    """
    lines = typed_text.words(data).splitlines()
    for pieces in (lines, re.split(r"\n\s*\n", "\n".join(lines).strip())):
        found = [words for piece in pieces if (words := _words(piece))]
        counts = {len(words) for words in found}
        if len(found) > 1 and len(counts) == 1 and counts <= {20, 33}:
            return [_joined(words) for words in [*filter(slip39.meant, found)] or found]
    together = _words(" ".join(lines))
    # With nothing between them, they are counted; with other text around them, as a mail has it, looked for.
    even = len(together) % WORDS == 0
    counted = [together[at : at + WORDS] for at in range(0, len(together), WORDS)] if even else [together]
    plain = even and not slip39.unknown(together)
    return list(map(_joined, counted if plain else slip39.whole(together[:_LOOKED_AT]) or counted))


def _joined(words: Sequence[str]) -> bytes:
    return " ".join(words).encode(errors="surrogateescape")


def _words(line: str) -> list[str]:
    """The words of a text, without the numbers and signs that a sheet or an editor puts around them."""
    words = (re.sub(r"^[^a-z]+|[^a-z]+$", "", word) for word in _BETWEEN.split(line))
    return [word for word in words if word]
