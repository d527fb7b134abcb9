"""Entries of a KV v2 mount, written once: what records and the ledger's heads share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from pipeline.core.errors import Conflict, Denied
from pipeline.providers.vault.fields import field, mapping, not_vault
from pipeline.storage.interface import Presence

if TYPE_CHECKING:
    import hvac

    from pipeline.providers.vault.session import VaultSession


T = TypeVar("T")


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
        import hvac.exceptions

        self.session.demand_versions(self.mount, what)

        def write(client: hvac.Client) -> int:
            try:
                answer = client.secrets.kv.v2.create_or_update_secret(
                    path, dict(entry), cas=0, mount_point=self.mount
                )
                version = field(answer, what, "data", "version")
                if not isinstance(version, int):
                    raise not_vault(what, "data.version that is a number")
                return version
            except hvac.exceptions.InvalidRequest as error:
                # A 400 like any other but for its text.
                if "check-and-set" in str(error):
                    raise self._conflict(path, what) from error
                raise

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
        import hvac.exceptions

        def ask(client: hvac.Client) -> tuple[Presence | None, Mapping[str, Any]]:
            try:
                answer = client.secrets.kv.v2.read_secret_version(
                    path,
                    version=None if version is None else int(version),
                    mount_point=self.mount,
                    raise_on_deleted_version=True,
                )
            except hvac.exceptions.InvalidPath as error:
                if error.errors:
                    raise
                data = (error.json or {}).get("data")
                if not data:
                    self.session.demand_versions(self.mount, what)
                    return None, {}
                metadata = data.get("metadata") or {}
                return (Presence.DESTROYED if metadata.get("destroyed") else Presence.DELETED), data
            return Presence.CURRENT, mapping(answer, what, "data")

        return self.session.call(ask, what)

    def names(self, path: str, what: str) -> list[str]:
        """List the names directly below a path; empty when there are none.

        Raises:
            Denied, Unreachable, DeadlinePassed, UsageProblem: As in :meth:`VaultSession.call`.
        """

        def ask(client: hvac.Client) -> list[str]:
            answer = client.secrets.kv.v2.list_secrets(path, mount_point=self.mount)
            return [str(name) for name in field(answer, what, "data", "keys")]

        found = self._if_there(ask, what)
        if found is None:
            self.session.demand_versions(self.mount, what)
        return found or []

    def metadata(self, path: str, what: str) -> Mapping[str, Any] | None:
        """Read an entry's metadata; ``None`` when there is no entry.

        Raises:
            Denied, Unreachable, DeadlinePassed, UsageProblem: As in :meth:`VaultSession.call`.
        """

        def ask(client: hvac.Client) -> Mapping[str, Any]:
            answer = client.secrets.kv.v2.read_secret_metadata(path, mount_point=self.mount)
            return mapping(answer, what, "data")

        return self._if_there(ask, what)

    def _if_there(self, ask: Callable[[hvac.Client], T], what: str) -> T | None:
        """What a call returns; ``None`` where nothing is, an error where the mount itself is missing."""
        import hvac.exceptions

        def attempt(client: hvac.Client) -> T | None:
            try:
                return ask(client)
            except hvac.exceptions.InvalidPath as error:
                if error.errors:
                    raise
                return None

        return self.session.call(attempt, what)

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
