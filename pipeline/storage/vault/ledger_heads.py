"""The ledger's heads in Vault: ``<mount>/<prefix>/<FINGERPRINT>/ledger/<host-id>/head-<number>``.

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
from pipeline.storage.ledger_mirror import HOST
from pipeline.storage.names import checked_fingerprint
from pipeline.storage.vault.kv import Entries

if TYPE_CHECKING:
    from pipeline.config.places import VaultTargetConfig
    from pipeline.providers.vault.session import VaultSession

_NAME = re.compile(r"head-([0-9]{9})", re.ASCII)


class VaultHeads:
    """A KV v2 mount. Writes with ``cas=0``: an entry is written once.

    Args:
        name: The target's name in the config.
        settings: Its table in the config.
        session: The login.
        fingerprint: Whose ledger it is.
    """

    kind = "vault"

    def __init__(
        self, name: str, settings: VaultTargetConfig, session: VaultSession, fingerprint: str
    ) -> None:
        self.name = name
        self._entries = Entries(settings.mount, session)
        self._folder = f"{settings.prefix}/{checked_fingerprint(fingerprint)}/ledger".lstrip("/")

    def hosts(self) -> tuple[str, ...]:
        """See :meth:`pipeline.storage.ledger_mirror.Mirror.hosts`."""
        names = self._entries.names(self._folder, f"target {self.name}, list the ledger's heads")
        found = {name.removesuffix("/") for name in names if name.endswith("/")}
        return tuple(sorted(filter(HOST.fullmatch, found)))

    def listing(self, host: str, after: int) -> Mapping[int, tuple[str, ...]]:
        """See :meth:`pipeline.storage.ledger_mirror.Mirror.listing`."""
        folder = f"{self._folder}/{host}"
        names = self._entries.names(folder, f"target {self.name}, list the ledger's heads")
        matches = (match for name in sorted(names) if (match := _NAME.fullmatch(name)))
        return {int(match[1]): (f"{host}/{match[0]}",) for match in matches if int(match[1]) > after}

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

    def put(self, host: str, number: int, data: bytes, made: datetime) -> None:
        """See :meth:`pipeline.storage.ledger_mirror.Mirror.put`; ``data`` is a JSON object of texts.

        No lock can be asked for here.
        """
        name = f"{host}/head-{number:09d}"
        fields: Mapping[str, Any] = json.loads(data)
        try:
            self._entries.create(
                f"{self._folder}/{name}", fields, f"target {self.name}, write the ledger's head"
            )
        except Conflict:
            if self.get(name) != data:
                raise
