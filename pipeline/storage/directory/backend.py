"""Records in a directory: a mounted disk or share."""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.core.errors import Code
from pipeline.core.finding import Finding
from pipeline.core.text import shell_word
from pipeline.storage.check import Check
from pipeline.storage.directory.tree import Tree
from pipeline.storage.interface import Presence, Receipt, Slot, Stored, receipt
from pipeline.storage.names import (
    MAX_RECORD,
    checked,
    checked_epoch,
    checked_fingerprint,
    is_epoch,
    nothing_there,
)

if TYPE_CHECKING:
    from pipeline.config.places import DirectoryTargetConfig

_LOW_SPACE = 16 * 1024 * 1024


class DirectoryBackend:
    """Records at ``<dir>/<FINGERPRINT>/<epoch>.tar``, read-only, never overwritten.

    The directory itself is never made: a disk that is not mounted must not be mistaken for its empty
    mount point.

    Args:
        name: The target's name in the config.
        settings: Its table in the config.
    """

    kind = "directory"
    largest = MAX_RECORD

    def __init__(self, name: str, settings: DirectoryTargetConfig) -> None:
        self.name = name
        self.domain = settings.domain or name
        self._top = Path(settings.path)
        self._tree = Tree(name, self._top)

    def put(self, slot: Slot, data: bytes) -> Receipt:
        """See :meth:`pipeline.storage.interface.Target.put`."""
        path = self._path(checked(slot))
        self._tree.put_new(path, data)
        return receipt(self, str(path), None, data)

    def get(self, slot: Slot, version: str | None = None) -> bytes:
        """See :meth:`pipeline.storage.interface.Target.get`; a directory has no versions."""
        path = self._path(checked(slot))
        if version is not None:
            raise nothing_there(f"target {self.name}, read: {path}", f"has no version {version!r}")
        return self._tree.get(path)

    def find(self, fingerprint: str, epoch: str | None = None) -> list[Stored]:
        """See :meth:`pipeline.storage.interface.Target.find`."""
        if epoch is not None:
            checked_epoch(epoch)
        place = self._top / checked_fingerprint(fingerprint)
        found = [
            Stored(slot, str(path), None, Presence.CURRENT, identity=self._tree.identity(path))
            for name in self._tree.names(place)
            if name.endswith(".tar") and is_epoch(name.removesuffix(".tar"))
            for slot in [Slot(fingerprint, name.removesuffix(".tar"))]
            if epoch in (None, slot.epoch)
            for path in [self._path(slot)]
        ]
        return sorted(found, key=lambda stored: stored.slot.epoch)

    def check(self) -> list[Finding]:
        """See :meth:`pipeline.storage.interface.Target.check`."""
        check = Check(self.name, f"{self._top} can be read and written")
        return check.run([partial(self._look, check)], [])

    def _look(self, check: Check) -> None:
        try:
            self._tree.enter(self._top)
            facts = self._top.stat()
            free = shutil.disk_usage(self._top).free
        except OSError as error:
            raise self._tree.translate(error, "check", self._top) from error
        if facts.st_uid not in (0, os.geteuid()) or facts.st_mode & 0o022:
            remedy = f"chmod go-w {shell_word(self._top)}, and let it belong to this user or to root"
            check.warn(f"others can change {self._top}", remedy)
        if not os.access(self._top, os.W_OK | os.X_OK):
            remedy = "check its permissions and mount options"
            check.fail(f"{self._top} cannot be written", remedy, Code.DENIED)
        if free < _LOW_SPACE:
            check.warn(f"only {free // 1024} KiB are free at {self._top}", "make room on that disk")

    # -- inside ----------------------------------------------------------------------------------

    def _path(self, slot: Slot) -> Path:
        return self._top / slot.fingerprint / f"{slot.epoch}.tar"
