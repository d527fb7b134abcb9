"""Fingerprints in words, for reading aloud: the PGP word list (Juola and Zimmermann, 1995).

A byte at an even position is a word of two syllables, one at an odd position of three, so that a word left
out, doubled or swapped is heard. The list is that of PGPfone's manual.
"""

from __future__ import annotations

from importlib import resources
from typing import Final

_ROWS: Final = [
    line.split()
    for line in resources.files(__package__).joinpath("words.txt").read_text(encoding="ascii").splitlines()
    if not line.startswith("#")
]
EVEN: Final = tuple(even for _, even, _ in _ROWS)
ODD: Final = tuple(odd for _, _, odd in _ROWS)


def spoken(fingerprint: str) -> tuple[str, ...]:
    """Write a fingerprint in words, one for each byte.

    Args:
        fingerprint: Hexadecimal digits, an even number of them.
    """
    return tuple(
        (ODD if position % 2 else EVEN)[value] for position, value in enumerate(bytes.fromhex(fingerprint))
    )
