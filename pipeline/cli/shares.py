"""Shares that people bring in files: words, or an OpenPGP message that this operator's gpg opens."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from pipeline.errors import LocalFilesProblem, UsageProblem

if TYPE_CHECKING:
    from pipeline.clock import Deadline
    from pipeline.secret import Secret

LARGEST: Final = 1 << 20
"""Of a file with shares, in bytes."""

ShareFiles = Annotated[
    list[str] | None,
    typer.Option(
        "--share",
        metavar="FILE",
        help="A custodian's share: words, or encrypted to you (gpg opens it here); - for standard input; "
        "repeatable.",
    ),
]


def read(places: list[str] | None, deadline: Deadline) -> tuple[Secret, ...]:
    """Read shares from files.

    Args:
        places: The values of ``--share``.
        deadline: Bounds gpg's work; the time that a person takes at it does not count.

    Returns:
        The shares; a file may hold several, one a line.

    Raises:
        LocalFilesProblem: A file cannot be read.
        UsageProblem: A file holds nothing.
        NotEnoughShares: gpg cannot open one.
    """
    return tuple(words for place in places or () for words in read_one(place, deadline))


def read_one(place: str, deadline: Deadline) -> list[Secret]:
    """Read the shares of one file; see :func:`read`."""
    from pipeline import logs
    from pipeline.clock import Deadline as Fresh
    from pipeline.keys import own_gpg
    from pipeline.secret import Secret

    data = _bytes(place)
    if own_gpg.looks_encrypted(data):
        with deadline.paused():
            data = own_gpg.decrypt(data, f"the share in {place}", Fresh(own_gpg.SECONDS)).reveal()
    shares = [logs.redact(Secret(text)) for text in split(data)]
    if not shares:
        raise UsageProblem(f"{place} holds no share", hint="a share is 33 English words")
    return shares


def _bytes(place: str) -> bytes:
    try:
        if place == "-":
            data = sys.stdin.buffer.read(LARGEST + 1)
        else:
            with Path(place).open("rb") as stream:
                data = stream.read(LARGEST + 1)
    except OSError as error:
        raise LocalFilesProblem(
            f"cannot read {place}: {error.strerror or error}", hint="check the path and its permissions"
        ) from error
    if len(data) > LARGEST:
        raise UsageProblem(f"{place} is larger than any share", hint="check which file this is")
    return data


def split(data: bytes) -> list[bytes]:
    """Tell the shares of a text apart.

    Args:
        data: One share over any number of lines, with or without numbers before the words; or one share
            a line.

    Returns:
        The words of each, one space between them.
    """
    lines = [_words(line) for line in data.removeprefix(b"\xef\xbb\xbf").splitlines()]
    lines = [line for line in lines if line]
    counts = {len(line) for line in lines}
    if len(lines) > 1 and len(counts) == 1 and counts <= {20, 33}:
        return [b" ".join(line) for line in lines]
    together = b" ".join(word for line in lines for word in line)
    return [together] if together else []


def _words(line: bytes) -> list[bytes]:
    """The words of a line, without the numbers that a sheet prints before them."""
    return [word for word in line.split() if not re.fullmatch(rb"\d{1,2}[.):]?", word)]
