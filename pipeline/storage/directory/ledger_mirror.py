"""The ledger's entries in a directory: ``<dir>/<FINGERPRINT>/ledger/<host-id>/<number>.json``, read-only."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from pipeline.core.errors import Conflict
from pipeline.storage.directory.tree import Tree
from pipeline.storage.ledger_mirror import HOST, name_of, number_of
from pipeline.storage.names import checked_fingerprint

if TYPE_CHECKING:
    from pipeline.config.places import DirectoryTargetConfig


class DirectoryMirror:
    """A mounted disk or share.

    Args:
        name: The target's name in the config.
        settings: Its table in the config.
        fingerprint: Whose ledger it is.
    """

    kind = "directory"

    def __init__(self, name: str, settings: DirectoryTargetConfig, fingerprint: str) -> None:
        self.name = name
        top = Path(settings.path)
        self._tree = Tree(name, top)
        self._folder = top / checked_fingerprint(fingerprint) / "ledger"

    def hosts(self) -> tuple[str, ...]:
        """See :meth:`pipeline.storage.ledger_mirror.Mirror.hosts`."""
        return tuple(name for name in sorted(self._tree.folders(self._folder)) if HOST.fullmatch(name))

    def listing(self, host: str, after: int) -> Mapping[int, tuple[str, ...]]:
        """See :meth:`pipeline.storage.ledger_mirror.Mirror.listing`."""
        names = sorted(self._tree.names(self._folder / host))
        numbers = ((number_of(name), f"{host}/{name}") for name in names)
        return {number: (handle,) for number, handle in numbers if number is not None and number > after}

    def get(self, handle: str) -> bytes:
        """See :meth:`pipeline.storage.ledger_mirror.Mirror.get`."""
        place = PurePath(handle)
        return self._tree.get(self._folder / place.parent.name / place.name)

    def put(self, host: str, number: int, data: bytes, made: datetime) -> None:
        """See :meth:`pipeline.storage.ledger_mirror.Mirror.put`; no lock can be asked for here."""
        path = self._folder / host / name_of(number)
        try:
            self._tree.put_new(path, data)
        except Conflict:
            if self._tree.get(path) != data:
                raise
