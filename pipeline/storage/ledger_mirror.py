"""What every place can do that the ledger is mirrored to: four methods, nothing that deletes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final, Protocol

BESIDE: Final = 9
"""How many entries may lie beside one that has taken a number."""

MIRROR_CALLS: Final = {
    "listing": "list the ledger",
    "get": "read the ledger",
    "confirm": "look at the ledger's lock",
}
"""What is tried again. A write is made once: its own bytes would refuse a second."""

_NAME = re.compile(r"([0-9]{9})(?:-r([1-9]))?\.json", re.ASCII)


class Mirror(Protocol):
    """A place that holds numbered documents. Every error that leaves it descends from ``OrgkeyError``.

    Nothing there is trusted: whoever writes to the place can add to it, so there may be several documents
    under one number, and the reader takes the one that fits the chain.
    """

    name: str
    kind: str

    def listing(self, after: int) -> Mapping[int, tuple[str, ...]]:
        """What is stored under each number above ``after``: handles for :meth:`get`, oldest first.

        Raises:
            Unreachable, DeadlinePassed: The place cannot be reached.
            Denied, UsageProblem: This identity may not list there.
        """
        ...

    def get(self, handle: str) -> bytes:
        """Read one document.

        Raises:
            IntegrityProblem: It is gone, or damaged.
            Unreachable, DeadlinePassed: The place cannot be reached.
            Denied: This identity may not read there.
        """
        ...

    def confirm(self, handle: str, made: datetime) -> None:
        """Demand that a document which an earlier try left is kept as the configuration asks: locked.

        Args:
            handle: Of :meth:`listing`.
            made: From when on it was to be locked, at the earliest.

        Raises:
            IntegrityProblem: It is not.
            Unreachable, DeadlinePassed: The place cannot be reached.
            Denied: This identity may not look at it.
        """
        ...

    def put(self, number: int, data: bytes, *, beside: bool = False) -> None:
        """Write a document where nothing is yet.

        Args:
            number: Its number.
            data: Its bytes.
            beside: Where the number is taken, lay it beside what is there.

        Raises:
            Conflict: Something has that number already, whatever it is.
            IntegrityProblem: The place did something else than it was asked: it is not locked, say.
            Unreachable, DeadlinePassed: The place cannot be reached, or its answer was lost.
            Denied: This identity may not write there.
        """
        ...


def name_of(number: int, beside: int = 0) -> str:
    """How a document is called in a folder or a bucket."""
    return f"{number:09d}{f'-r{beside}' if beside else ''}.json"


def number_of(name: str) -> tuple[int, int] | None:
    """Its number and its place beside others; ``None`` for a name that is none of ours."""
    match = _NAME.fullmatch(name)
    return (int(match[1]), int(match[2] or 0)) if match else None
