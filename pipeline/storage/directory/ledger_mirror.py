"""The ledger's entries in a directory: ``<dir>/<FINGERPRINT>/ledger/<number>.json``, read-only."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.core.errors import Conflict
from pipeline.storage.directory.tree import Tree
from pipeline.storage.ledger_mirror import BESIDE, name_of, number_of
from pipeline.storage.names import checked_fingerprint

if TYPE_CHECKING:
    from pipeline.config import DirectoryTarget as Settings


class DirectoryMirror:
    """A mounted disk or share.

    Args:
        name: The target's name in the config.
        settings: Its table in the config.
        fingerprint: Whose ledger it is.
    """

    kind = "directory"

    def __init__(self, name: str, settings: Settings, fingerprint: str) -> None:
        self.name = name
        top = Path(settings.path)
        self._tree = Tree(name, top)
        self._folder = top / checked_fingerprint(fingerprint) / "ledger"

    def listing(self, after: int) -> Mapping[int, tuple[str, ...]]:
        """See :meth:`pipeline.storage.ledger_mirror.Mirror.listing`."""
        found: dict[int, list[str]] = {}
        named = [(place, name) for name in self._tree.names(self._folder) if (place := number_of(name))]
        for (number, _), name in sorted(named):
            if number > after:
                found.setdefault(number, []).append(name)
        return {number: tuple(names) for number, names in found.items()}

    def get(self, handle: str) -> bytes:
        """See :meth:`pipeline.storage.ledger_mirror.Mirror.get`."""
        return self._tree.get(self._folder / Path(handle).name)

    def confirm(self, handle: str, made: datetime) -> None:
        """See :meth:`pipeline.storage.ledger_mirror.Mirror.confirm`: no lock can be asked for here."""

    def put(self, number: int, data: bytes, *, beside: bool = False) -> None:
        """See :meth:`pipeline.storage.ledger_mirror.Mirror.put`."""
        for place in range(BESIDE + 1 if beside else 1):
            try:
                return self._tree.put_new(self._folder / name_of(number, place), data)
            except Conflict:
                if not beside or place == BESIDE:
                    raise
        return None
