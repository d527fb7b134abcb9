"""The ledger's heads in Vault: ``<mount>/<prefix>/<FINGERPRINT>/ledger/head-<number>``.

A head is the number of an entry and its digest. It vouches for all entries before, so heads need not be
there for every number.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import Conflict, IntegrityProblem
from pipeline.storage.interface import Presence
from pipeline.storage.names import checked_fingerprint
from pipeline.storage.vault.kv import Entries

if TYPE_CHECKING:
    from pipeline.config import VaultTarget as Settings
    from pipeline.providers.vault.session import VaultSession

_NAME = re.compile(r"head-([0-9]{9})(?:-r([1-9]))?", re.ASCII)


class VaultHeads:
    """A KV v2 mount. Writes with ``cas=0``: an entry is written once.

    Args:
        name: The target's name in the config.
        settings: Its table in the config.
        session: The login.
        fingerprint: Whose ledger it is.
    """

    kind = "vault"

    def __init__(self, name: str, settings: Settings, session: VaultSession, fingerprint: str) -> None:
        self.name = name
        self._entries = Entries(settings.mount, session)
        self._folder = f"{settings.prefix}/{checked_fingerprint(fingerprint)}/ledger".lstrip("/")

    def listing(self, after: int) -> Mapping[int, tuple[str, ...]]:
        """See :meth:`pipeline.storage.ledger_mirror.Mirror.listing`."""
        names = self._entries.names(self._folder, f"target {self.name}, list the ledger's heads")
        found: dict[int, list[str]] = {}
        for name in sorted(names):
            match = _NAME.fullmatch(name)
            if match and int(match[1]) > after:
                found.setdefault(int(match[1]), []).append(name)
        return {number: tuple(found[number]) for number in sorted(found)}

    def get(self, handle: str) -> bytes:
        """See :meth:`pipeline.storage.ledger_mirror.Mirror.get`.

        What whoever may overwrite an entry has written over it is not read: the first version is.
        """
        path = f"{self._folder}/{handle}"
        presence, data = self._entries.read(path, "1", f"target {self.name}, read the ledger's head")
        fields = data.get("data")
        if presence is not Presence.CURRENT or not isinstance(fields, Mapping):
            raise IntegrityProblem(
                f"target {self.name}: {self._entries.location(path)} is gone",
                hint="find out who could delete it",
            )
        return json.dumps(dict(fields), sort_keys=True, separators=(",", ":")).encode()

    def confirm(self, handle: str, made: datetime) -> None:
        """See :meth:`pipeline.storage.ledger_mirror.Mirror.confirm`: no lock can be asked for here."""

    def put(self, number: int, data: bytes, *, beside: bool = False) -> None:
        """See :meth:`pipeline.storage.ledger_mirror.Mirror.put`; ``data`` is a JSON object of texts."""
        path = f"{self._folder}/head-{number:09d}"
        fields: Mapping[str, Any] = json.loads(data)
        what = f"target {self.name}, write the ledger's head"
        for place in ("", *(f"-r{count}" for count in range(1, 10) if beside)):
            try:
                self._entries.create(path + place, fields, what)
                return
            except Conflict:
                if not beside or place == "-r9":
                    raise
