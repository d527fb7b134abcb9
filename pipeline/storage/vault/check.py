"""What `doctor` should know about a target in Vault; asks, and writes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pipeline.core.errors import Code, Denied
from pipeline.core.finding import Finding
from pipeline.providers.vault import rights as vault_rights
from pipeline.providers.vault.answers import not_vault
from pipeline.storage.check import Check, on_this_host
from pipeline.storage.names import is_epoch
from pipeline.storage.vault.kv import Entries, path_of

if TYPE_CHECKING:
    from pipeline.config.places import VaultTargetConfig
    from pipeline.providers.vault.session import VaultSession

_NOBODY, _NEVER = "0" * 40, "20000101T000000Z-00000000"
_NEEDED = {"writer": frozenset({"create", "read"}), "auditor": frozenset[str]()}
_WRITES = vault_rights.WRITES
_ENTRIES = 50  # how many entries are looked at for settings of their own
_NO_END = {"", "0s", "0"}
_OTHERS = ("metadata", "delete", "undelete", "destroy")
_LOSS = "with which records can be lost"
Capabilities = Mapping[str, frozenset[str]]


class VaultCheck(Check):
    """The looks at a target in Vault: server, login, rights, and the mount's and the entries' settings.

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
        self._needed = _NEEDED.get(self.role, frozenset({"read"}))
        self._keys = [path_of(settings.prefix, pin) for pin in dict.fromkeys((*pins, _NOBODY))]

    def look(self) -> list[Finding]:
        """Take all looks."""
        return self.run([self.server, self.login], [self.rights, self.mount, self.entries])

    def server(self) -> None:
        """Whether the server serves, and over which connection."""
        address = self._session.place.address
        if urlsplit(address).scheme == "http" and not on_this_host(address):
            self.fail(
                f"{address} is not encrypted: tokens cross the network in the clear",
                "use https, with ca_file for an authority of your own",
            )
        health = self._session.health()
        if health is not None and (error := self._session.unusable(health, self.what)) is not None:
            raise error

    def login(self) -> None:
        """Whether the token is one for jobs."""
        token = self._session.token(self.what)
        if "root" in token.policies:
            self.fail(
                f"the {self.role} logs in with a root token",
                "give it an AppRole with a policy of its own; see `orgkey explain how-to Vault`",
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
        asked = dict.fromkeys((*mount, *more))
        for key in self._keys:
            asked |= dict.fromkeys(
                (self._head(key), *(self._record(key, verb) for verb in ("data", *_OTHERS)))
            )
        can = self._session.capabilities(list(asked), self.what)
        if "root" in can[mount[0]]:
            return  # the token is a failure already
        known: set[tuple[object, ...]] = set()  # a wide rule is the same for every key: it is named once
        for key in self._keys:
            record = self._record(key, "data")
            missing = " or ".join(sorted(self._needed - can[record]))
            if missing and (missing,) not in known:
                known.add((missing,))
                self.fail(
                    f"the {self.role} may not {missing} {record}",
                    f"add it to the {self.role}'s policy",
                    Code.DENIED,
                )
            for kind, path, surplus, why in self._surplus(key, can):
                if (kind, surplus) not in known:
                    known.add((kind, surplus))
                    self._too_much(path, surplus, why)
        for path in mount:
            self._too_much(path, can[path] & _WRITES, _LOSS)
        self.note(vault_rights.judge(self._session, more, can))
        self._sight(self._keys[0], can)

    def _surplus(self, key: str, can: Capabilities) -> Iterator[tuple[str, str, frozenset[str], str]]:
        """What the identity may do to one key's records and heads, and should not."""
        record, head = self._record(key, "data"), self._head(key)
        forbidden = _WRITES if self._needed else _WRITES | {"read"}
        reads = self.role == "auditor" and "read" in can[record]
        why = "and an auditor reads no record" if reads else _LOSS
        yield "data", record, (can[record] & forbidden) - self._needed, why
        for verb in _OTHERS:
            path = self._record(key, verb)
            yield verb, path, can[path] & _WRITES, _LOSS
        made = {"create"} if self.role == "writer" else set()
        yield "head", head, (can[head] & _WRITES) - made, "and only the writer makes heads"

    def _too_much(self, path: str, rights: frozenset[str], why: str) -> None:
        if rights:
            self.fail(
                f"the {self.role} may {' and '.join(sorted(rights))} {path}, {why}",
                f"take it out of the {self.role}'s policy",
            )

    def _sight(self, key: str, can: Capabilities) -> None:
        """Whether it sees what its role should see."""
        metadata, head = self._record(key, "metadata"), self._head(key)
        if self.role != "writer" and "read" not in can[metadata]:
            self.warn(
                f"the {self.role} may not read {metadata}: older and deleted versions stay unseen",
                f"add read and list on the metadata to the {self.role}'s policy",
            )
        if self.role == "auditor" and "read" not in can[head]:
            self.warn(
                f"the auditor may not read {head}: the ledger's heads stay unseen",
                "add read on the heads to the auditor's policy",
            )

    def mount(self) -> None:
        """Whether the mount keeps versions, and for how long."""
        mount = self._settings.mount
        self._session.demand_versions(mount, self.what)
        try:
            config = self._session.read(f"{mount}/config", self.what)
        except Denied:  # a right that a small policy does not give
            self.unseen(f"how many versions {mount} keeps, and for how long")
            return
        if config is None:
            raise not_vault(self.what, f"configuration of {mount}")
        remedy = self._settings.command("write", f"{mount}/config", "delete_version_after=0s")
        self._expiry(f"mount {mount}", config, remedy)

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
                    remedy = self._settings.command("kv metadata put -delete-version-after=0s", where)
                    self._expiry(f"entry {where}", settings, remedy)
        except Denied:
            self.unseen("the entries' own settings")

    def _expiry(self, where: str, settings: Mapping[str, Any], remedy: str) -> None:
        after = str(settings.get("delete_version_after") or "")
        if after not in _NO_END and not after.startswith("-"):  # below zero: expiry is switched off
            self.fail(f"{where} deletes versions {after} after they are written", remedy)
        try:
            kept = int(settings.get("max_versions") or 0)
        except (TypeError, ValueError):
            odd = f"max_versions {settings['max_versions']!r}, which is not a number"
            self.fail(
                f"{where}: the server says {odd}",
                "check that the address is that of a vault, with no proxy that changes answers",
                Code.UNREACHABLE,
            )
            return
        if kept == 1:
            self.warn(
                f"{where} keeps one version: whoever may overwrite an entry destroys the record in it",
                "keep at least 10 (max_versions=0 is vault's default)",
            )

    def _record(self, key: str, verb: str) -> str:
        """The API's path for a verb on a record of a key."""
        return f"{self._settings.mount}/{verb}/{key}/{_NEVER}"

    def _head(self, key: str) -> str:
        return f"{self._settings.mount}/data/{key}/ledger/head-000000001"
