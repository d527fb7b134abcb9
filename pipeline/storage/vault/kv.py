"""Entries of a KV v2 mount, written once: what records and the ledger's heads share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import Conflict, Denied
from pipeline.providers.vault.answers import VaultRefusal, take
from pipeline.storage.interface import Presence

if TYPE_CHECKING:
    from pipeline.providers.vault.client import VaultClient
    from pipeline.providers.vault.session import VaultSession


def path_of(*names: str) -> str:
    """A path below a mount; an empty prefix is left out."""
    return "/".join(name for name in names if name)


class Entries:
    """A mount as one identity sees it.

    Args:
        mount: Where the key-value store is mounted.
        session: The login.
    """

    def __init__(self, mount: str, session: VaultSession) -> None:
        self.mount = mount
        self.session = session

    def create(self, path: str, entry: Mapping[str, Any], what: str) -> int:
        """Write an entry where there is none.

        Returns:
            Its version.

        Raises:
            Conflict: There is one, or was.
            UsageProblem: Also where the mount keeps no versions: nothing is written there.
            Denied, Unreachable, DeadlinePassed: As in :meth:`VaultSession.call`.
        """
        self.session.demand_versions(self.mount, what)

        def write(client: VaultClient) -> int:
            try:
                answer = client.post(self._api("data", path), {"options": {"cas": 0}, "data": entry})
            except VaultRefusal as error:
                # A 400 like any other but for its text.
                if error.status == 400 and "check-and-set" in error.answer.words:
                    raise self._conflict(path, what) from error
                raise
            version: int = take(answer, what, "data", "version", kind=int)
            return version

        try:
            return self.session.call(write, what)
        except Denied as error:
            # Whoever may create, not update, meets an existing entry as "permission denied".
            if self._occupied(path, what):
                raise self._conflict(path, what) from error
            raise

    def read(self, path: str, version: str | None, what: str) -> tuple[Presence | None, Mapping[str, Any]]:
        """Read one version.

        Returns:
            What it is, ``None`` when nothing was ever there (``CURRENT`` for any readable version), and
            the answer's ``data``.

        Raises:
            Denied, Unreachable, DeadlinePassed, UsageProblem: As in :meth:`VaultSession.call`.
        """

        def ask(client: VaultClient) -> tuple[Presence | None, Mapping[str, Any]]:
            try:
                answer = client.get(self._api("data", path), f"version={version}" if version else "")
            except VaultRefusal as error:
                if not error.nothing_there:
                    raise
                data = error.answer.body.get("data")
                if not data:
                    self.session.demand_versions(self.mount, what)
                    return None, {}
                metadata = data.get("metadata") or {}
                return (Presence.DESTROYED if metadata.get("destroyed") else Presence.DELETED), data
            return Presence.CURRENT, take(answer, what, "data", kind=Mapping)

        return self.session.call(ask, what)

    def names(self, path: str, what: str) -> list[str]:
        """List the names directly below a path; empty when there are none.

        Raises:
            Denied, Unreachable, DeadlinePassed, UsageProblem: As in :meth:`VaultSession.call`.
        """
        answer = self._if_there(lambda client: client.list(self._api("metadata", path)), what)
        if answer is None:
            self.session.demand_versions(self.mount, what)
            return []
        return [str(name) for name in take(answer, what, "data", "keys", kind=list)]

    def metadata(self, path: str, what: str) -> Mapping[str, Any] | None:
        """Read an entry's metadata; ``None`` when there is no entry.

        Raises:
            Denied, Unreachable, DeadlinePassed, UsageProblem: As in :meth:`VaultSession.call`.
        """
        answer = self._if_there(lambda client: client.get(self._api("metadata", path)), what)
        found: Mapping[str, Any] | None = answer and take(answer, what, "data", kind=Mapping)
        return found

    def _if_there(
        self, ask: Callable[[VaultClient], Mapping[str, Any]], what: str
    ) -> Mapping[str, Any] | None:
        """What a call returns; ``None`` where nothing is, an error where the mount itself is missing."""

        def attempt(client: VaultClient) -> Mapping[str, Any] | None:
            try:
                return ask(client)
            except VaultRefusal as error:
                if error.nothing_there:
                    return None
                raise

        return self.session.call(attempt, what)

    def _api(self, kind: str, path: str) -> str:
        return f"{self.mount}/{kind}/{path}"

    def location(self, path: str) -> str:
        """An entry, for people."""
        return f"{self.session.place.address}/{self.mount}/{path}"

    def _conflict(self, path: str, what: str) -> Conflict:
        return Conflict(
            f"{what}: {self.location(path)} exists already",
            hint="nothing is overwritten; compare what is there with `orgkey verify`",
        )

    def _occupied(self, path: str, what: str) -> bool:
        try:
            presence, _ = self.read(path, None, what)
        except Denied:
            return False
        return presence is not None
