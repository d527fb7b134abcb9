"""What every place can do that the ledger is mirrored to: four methods, nothing that deletes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final, Protocol

HOST: Final = re.compile(r"[0-9a-f]{16}", re.ASCII)
"""A host-id: each host has a folder of its own at a mirror."""

MIRROR_CALLS: Final = {"hosts": "list the ledger", "listing": "list the ledger", "get": "read the ledger"}
"""What is tried again. A write is made once: the next run makes sure of it."""

_NAME = re.compile(r"([0-9]{9})\.json", re.ASCII)


class Mirror(Protocol):
    """A place that holds numbered documents of each host. Its errors descend from ``OrgkeyError``.

    Nothing there is trusted: whoever writes to the place can add to it, so there may be several documents
    under one number, and the reader takes the one that fits the chain.
    """

    name: str
    kind: str

    def hosts(self) -> tuple[str, ...]:
        """The host-ids under which something may be stored, in order.

        Raises:
            Unreachable, DeadlinePassed: The place cannot be reached.
            Denied, UsageProblem: This identity may not list there.
        """

    def listing(self, host: str, after: int) -> Mapping[int, tuple[str, ...]]:
        """What is stored under each number of a host above ``after``: handles for :meth:`get`, oldest first.

        Raises:
            Unreachable, DeadlinePassed: The place cannot be reached.
            Denied, UsageProblem: This identity may not list there.
        """

    def get(self, handle: str) -> bytes:
        """Read one document.

        Raises:
            IntegrityProblem: It is gone, or damaged.
            Unreachable, DeadlinePassed: The place cannot be reached.
            Denied: This identity may not read there.
        """

    def put(self, host: str, number: int, data: bytes, made: datetime) -> None:
        """Have a document there. Where the same one lies there already, its lock is checked.

        Args:
            host: The host's host-id.
            number: The document's number.
            data: Its bytes.
            made: When it was made; from then on it is to be locked, at the earliest.

        Raises:
            Conflict: Another document has that number.
            IntegrityProblem: The place did something else than it was asked: it is not locked, say.
            Unreachable, DeadlinePassed: The place cannot be reached, or its answer was lost.
            Denied: This identity may not write there.
        """


def name_of(number: int) -> str:
    """What a document is called in a folder or a bucket."""
    return f"{number:09d}.json"


def number_of(name: str) -> int | None:
    """Its number; ``None`` for any other name."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else None
