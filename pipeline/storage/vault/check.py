"""What `doctor` should know about a target in Vault; asks, and writes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pipeline.core.errors import Code, Denied
from pipeline.core.finding import Finding
from pipeline.providers.vault import rights as vault_rights
from pipeline.providers.vault.fields import field
from pipeline.storage.check import Check
from pipeline.storage.names import is_epoch
from pipeline.storage.vault.kv import Entries, path_of

if TYPE_CHECKING:
    from pipeline.config import VaultTargetConfig
    from pipeline.providers.vault.session import VaultSession

_NOBODY, _NEVER = "0" * 40, "20000101T000000Z-00000000"
_NEEDED = {
    "writer": frozenset({"create", "read"}),
    "driller": frozenset({"read"}),
    "auditor": frozenset[str](),
}
_WRITES = vault_rights.WRITES
_ENTRIES = 50  # how many entries are looked at for settings of their own
_NO_END = {"", "0s", "0"}
_LOSS = "with which records can be lost"


def check(
    name: str, settings: VaultTargetConfig, session: VaultSession, pins: Sequence[str]
) -> list[Finding]:
    """Look at the server, the login, its rights, and the mount's and the entries' settings."""
    return VaultCheck(name, settings, session, pins).look()


class _Paths:
    """API paths whose capabilities say what an identity is able to do to the records of a key."""

    def __init__(self, settings: VaultTargetConfig, fingerprint: str) -> None:
        mount, prefix = settings.mount, settings.prefix
        path = path_of(prefix, fingerprint, _NEVER)
        self.data = f"{mount}/data/{path}"
        self.metadata = f"{mount}/metadata/{path}"
        self.head = f"{mount}/data/{path_of(prefix, fingerprint, 'ledger/head-000000001')}"
        self.others = [f"{mount}/{verb}/{path}" for verb in ("metadata", "delete", "undelete", "destroy")]
        self.all = [self.data, self.head, *self.others]


class VaultCheck(Check):
    """The looks at a target in Vault.

    Args:
        name: The target's name in the config.
        settings: Its table in the config.
        session: The login.
        pins: The trusted fingerprints, where they are known: a rule may name just them.
    """

    def __init__(
        self, name: str, settings: VaultTargetConfig, session: VaultSession, pins: Sequence[str]
    ) -> None:
        self.role = session.role
        super().__init__(name, f"{self.role}: reachable, permitted, safely set up")
        self._settings = settings
        self._session = session
        self._entries = Entries(settings.mount, session)
        self._paths = [_Paths(settings, pin) for pin in dict.fromkeys((*pins, _NOBODY))]

    def look(self) -> list[Finding]:
        """Take all looks."""
        return self.run([self.server, self.login], [self.rights, self.mount, self.entries])

    def server(self) -> None:
        """Whether the server serves, and over which connection."""
        address = self._session.place.address
        url = urlsplit(address)
        if url.scheme == "http" and url.hostname not in ("127.0.0.1", "::1", "localhost"):
            self.fail(
                f"{address} is not encrypted: tokens cross the network in the clear",
                "use https, with ca_file for an authority of your own",
            )
        if (health := self._session.health()) is not None and not health.usable:
            from pipeline.providers.vault.errors import from_health

            if (error := from_health(health, self.what, address)) is not None:
                raise error

    def login(self) -> None:
        """Whether the token is one for jobs."""
        token = self._session.token(self.what)
        if "root" in token.policies:
            self.fail(
                f"the {self.role} logs in with a root token",
                "give it an AppRole with a policy of its own; see docs/how-to",
            )
        if token.ttl and token.ttl < self._session.deadline.left():
            self.warn(
                f"the {self.role}'s token lives {token.ttl:.0f} s, less than a run may take",
                "raise the token TTL of its role above policy.deadline_seconds",
            )

    def rights(self) -> None:
        """Compare what the identity may do with what its role needs."""
        more = vault_rights.becoming(self._session, self._session.token(self.what).policies)
        mount = [f"{self._settings.mount}/config", f"sys/mounts/{self._settings.mount}"]
        asked = [*mount, *more, *(path for paths in self._paths for path in paths.all)]
        can = self._session.capabilities(list(dict.fromkeys(asked)), self.what)
        if "root" in can[self._paths[0].data]:
            return  # the token is a failure already
        known: set[tuple[str, str]] = set()  # a wide rule is the same for every key: it is named once
        for paths in self._paths:
            self._records(paths, can, known)
        for path in mount:
            self._surplus(path, can[path] & _WRITES, _LOSS)
        self.note(vault_rights.judge(self._session, more, can))
        self._sight(self._paths[0], can)

    def _records(self, paths: _Paths, can: Mapping[str, frozenset[str]], known: set[tuple[str, str]]) -> None:
        needed = _NEEDED.get(self.role, frozenset({"read"}))
        missing = " or ".join(sorted(needed - can[paths.data]))
        if missing and ("lacks", missing) not in known:
            self.fail(
                f"the {self.role} may not {missing} {paths.data}",
                f"add it to the {self.role}'s policy",
                Code.DENIED,
            )
            known.add(("lacks", missing))
        forbidden = _WRITES if needed else _WRITES | {"read"}
        reads = self.role == "auditor" and "read" in can[paths.data]
        made = {"create"} if self.role == "writer" else set()
        surplus = [
            (
                paths.data,
                (can[paths.data] & forbidden) - needed,
                "and an auditor reads no record" if reads else _LOSS,
            ),
            *((path, can[path] & _WRITES, _LOSS) for path in paths.others),
            (paths.head, (can[paths.head] & _WRITES) - made, "and only the writer makes heads"),
        ]
        for number, (path, rights, why) in enumerate(surplus):
            seen = (str(number), " ".join(sorted(rights)))
            if seen not in known:
                self._surplus(path, rights, why)
            known.add(seen)

    def _surplus(self, path: str, rights: frozenset[str], why: str) -> None:
        if rights:
            self.fail(
                f"the {self.role} may {' and '.join(sorted(rights))} {path}, {why}",
                f"take it out of the {self.role}'s policy",
            )

    def _sight(self, paths: _Paths, can: Mapping[str, frozenset[str]]) -> None:
        """Whether it sees what its role should see."""
        if self.role != "writer" and "read" not in can[paths.metadata]:
            self.warn(
                f"the {self.role} may not read {paths.metadata}: older and deleted versions stay unseen",
                f"add read and list on the metadata to the {self.role}'s policy",
            )
        if self.role == "auditor" and "read" not in can[paths.head]:
            self.warn(
                f"the auditor may not read {paths.head}: the ledger's heads stay unseen",
                "add read on the heads to the auditor's policy",
            )

    def mount(self) -> None:
        """Whether the mount keeps versions, and for how long."""
        mount = self._settings.mount
        self._session.demand_versions(mount, self.what)
        try:
            config = self._session.call(
                lambda client: field(
                    client.secrets.kv.v2.read_configuration(mount_point=mount), self.what, "data"
                ),
                self.what,
            )
        except Denied:
            return  # a right that a small policy does not give
        self._expiry(f"mount {mount}", config, f"vault write {mount}/config delete_version_after=0s")

    def entries(self) -> None:
        """Look at the settings that entries have of their own, where this identity sees them."""
        prefix, looked = self._settings.prefix, 0
        try:
            for fingerprint in self._entries.names(prefix, self.what):
                for epoch in self._entries.names(path_of(prefix, fingerprint.rstrip("/")), self.what):
                    looked += 1
                    if not is_epoch(epoch) or looked > _ENTRIES:
                        continue
                    path = path_of(prefix, fingerprint.rstrip("/"), epoch)
                    where = f"{self._settings.mount}/{path}"
                    settings = self._entries.metadata(path, self.what) or {}
                    remedy = f"vault kv metadata put -delete-version-after=0s {where}"
                    self._expiry(f"entry {where}", settings, remedy)
        except Denied:
            return

    def _expiry(self, where: str, settings: object, remedy: str) -> None:
        if not isinstance(settings, Mapping):
            field(settings, f"{self.what} {where}", "delete_version_after")  # its error names what is wrong
            return
        after = str(settings.get("delete_version_after") or "")
        if after not in _NO_END and not after.startswith("-"):  # below zero: expiry is switched off
            self.fail(f"{where} deletes versions {after} after they are written", remedy)
        try:
            kept = int(settings.get("max_versions") or 0)
        except (TypeError, ValueError):
            self.fail(
                f"{where}: the server says max_versions {settings['max_versions']!r}, which is not a number",
                "check that the address is that of a vault, with no proxy that changes answers",
                Code.UNREACHABLE,
            )
            return
        if kept == 1:
            self.warn(
                f"{where} keeps one version: whoever may overwrite an entry destroys the record in it",
                "keep at least 10 (max_versions=0 is vault's default)",
            )
