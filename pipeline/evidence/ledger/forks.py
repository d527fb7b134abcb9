"""The entries that gave way in forks: what a ledger's folder keeps of them, and where they stand now."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.core.digest import sha256
from pipeline.core.errors import LedgerBroken, LocalFilesProblem
from pipeline.evidence.ledger import entry as chain
from pipeline.evidence.ledger.entry import Malformed
from pipeline.evidence.ledger.store import ASIDE, read_entry


class Aside:
    """What gave way.

    Args:
        folder: Where a ledger keeps it; read when it is first asked for.
        rechained: The entries of the chain that were written again, by the SHA-256 of what they were.
        fingerprint: Whose ledger it is.
    """

    def __init__(
        self, folder: Path, rechained: Mapping[str, dict[str, Any]], fingerprint: str | None
    ) -> None:
        self._folder = folder
        self._rechained = rechained
        self._fingerprint = fingerprint

    def get(self, number: int, digest: str) -> dict[str, Any] | None:
        """An entry that gave way, by its number and SHA-256."""
        found = self._entries.get(digest)
        return found if found and found["sequence"] == number else None

    def stands(self, digest: str, sense: str | None) -> int | None:
        """The number under which the chain says again what an entry said.

        Args:
            digest: The entry's SHA-256.
            sense: What it said (:func:`pipeline.evidence.ledger.entry.sense`); nothing stands for what is
                not known.
        """
        while sense is not None:
            entry = self._rechained.get(digest)
            if entry is not None:
                return int(entry["sequence"]) if chain.sense(entry) == sense else None
            # Where it was written again that gave way, too.
            again = [
                other
                for other, old in self._entries.items()
                if old.get("rechained_from", {}).get("sha256") == digest and chain.sense(old) == sense
            ]
            if not again:
                return None
            digest = again[0]
        return None

    @cached_property
    def _entries(self) -> dict[str, dict[str, Any]]:
        found = {}
        for path in sorted(self._folder.glob("*.json")):
            match = ASIDE.fullmatch(path.name)
            if match is None:
                continue
            with suppress(LedgerBroken, LocalFilesProblem, Malformed):
                data = read_entry(path)
                found[sha256(data).hex] = chain.parse(data, int(match[1]), self._fingerprint)
        return found
