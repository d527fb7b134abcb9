"""One login at one Vault or OpenBao server, shared by its targets and holders."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from pipeline.core.clock import Deadline
from pipeline.core.errors import Denied, UsageProblem
from pipeline.providers.text import one_line
from pipeline.providers.tls.files import shown_pair
from pipeline.providers.vault.answers import VaultRefusal, take
from pipeline.providers.vault.connection import VaultConnection
from pipeline.providers.vault.login import TokenFacts, VaultLogin, by_server

if TYPE_CHECKING:
    from pipeline.config.identities import VaultIdentity
    from pipeline.config.places import VaultPlace
    from pipeline.providers.vault.client import VaultClient

T = TypeVar("T")
log = logging.getLogger(__name__)


class VaultSession(VaultConnection):
    """Logs in late and once, bounds every call, and lets only ``OrgkeyError`` out.

    A token that expires during the run is replaced once. Sessions may be used from several threads.

    Args:
        place: The server.
        identity: How to log in; ``None`` takes ``VAULT_TOKEN`` or ``~/.vault-token``, as Vault's own
            command does. No other ``VAULT_*`` variable has any effect.
        call_seconds: Time allowed for one request, in seconds.
        deadline: The end of the run; no request reaches beyond it.
        role: The identity, for messages.
        refusals: Logins that were refused in this run, by server and identity; they are not made again.
    """

    def __init__(
        self,
        place: VaultPlace,
        identity: VaultIdentity | None,
        *,
        call_seconds: float,
        deadline: Deadline,
        role: str,
        refusals: dict[object, Denied] | None = None,
    ) -> None:
        pair = shown_pair(identity, place)
        super().__init__(place, pair, call_seconds=call_seconds, deadline=deadline, role=role)
        self.auth_mount = identity.mounted if identity is not None and identity.way != "token" else "approle"
        self.login = VaultLogin(self, identity, {} if refusals is None else refusals)
        self._client: VaultClient | None = None
        self._replaced = False
        self._versioned: set[str] = set()
        self._silent = False

    def call(self, fn: Callable[[VaultClient], T], what: str) -> T:
        """Make one call.

        Args:
            fn: Makes it; errors of its own that descend from ``OrgkeyError`` pass unchanged. It may run
                twice, when the token was refused before the server did anything.
            what: What it is for, as the beginning of a message: ``target vault-eu, write``.

        Returns:
            What ``fn`` returned.

        Raises:
            Denied: The login or the call was refused.
            Unreachable: No answer, or one that says the server cannot serve.
            DeadlinePassed: There was no time left, before or during the call.
            UsageProblem: Mount, path or request are not what the server knows.
        """
        client = self._ready(what)
        try:
            return self.guard(lambda: fn(client), what)
        except Denied as error:
            if not by_server(error) or not self._dead(client, what):
                raise
        client = self._replace(client, what)
        try:
            return self.guard(lambda: fn(client), what)
        except Denied:
            # A fresh token that may not even look itself up: the same answer says nothing next time.
            self._silent = self._dead(client, what)
            raise

    def token(self, what: str) -> TokenFacts:
        """Say what the server knows of the token in use.

        Raises:
            Denied, Unreachable, DeadlinePassed, UsageProblem: As in :meth:`call`.
        """
        return self.call(lambda client: TokenFacts.of(client.look_up(), what), what)

    def capabilities(self, paths: Sequence[str], what: str) -> dict[str, frozenset[str]]:
        """Say what the token in use may do, without doing it.

        Args:
            paths: API paths, for example ``orgkey/data/records/x``.
            what: As in :meth:`call`.

        Returns:
            For each path the capabilities: ``root``, or some of ``create``, ``read``, ``update``,
            ``patch``, ``delete``, ``list``, ``sudo``; empty for none.

        Raises:
            Denied, Unreachable, DeadlinePassed, UsageProblem: As in :meth:`call`.
        """

        def ask(client: VaultClient) -> dict[str, frozenset[str]]:
            data = client.post("sys/capabilities-self", {"paths": list(paths)}).get("data")
            return {path: frozenset(take(data, what, path, kind=list)) - {"deny"} for path in paths}

        return self.call(ask, what)

    def read(self, path: str, what: str) -> Mapping[str, Any] | None:
        """Read an API path, for example ``sys/mounts``.

        Args:
            path: Without the leading slash.
            what: As in :meth:`call`.

        Returns:
            The answer's ``data``, or the whole answer where it has none; ``None`` where nothing is there.

        Raises:
            Denied, Unreachable, DeadlinePassed, UsageProblem: As in :meth:`call`.
        """

        def ask(client: VaultClient) -> Mapping[str, Any] | None:
            try:
                answer = client.get(path)
            except VaultRefusal as error:
                if error.status == 404:
                    return None
                raise
            found: Mapping[str, Any] = (
                take(answer, what, "data", kind=Mapping) if "data" in answer else answer
            )
            return found

        return self.call(ask, what)

    def write(self, path: str, body: Mapping[str, Any], what: str) -> None:
        """Write to an API path, for setting a server up.

        Args:
            path: Without the leading slash.
            body: What is sent.
            what: As in :meth:`call`.

        Raises:
            Unreachable: Also while a new mount is not ready, which passes.
            Denied, DeadlinePassed, UsageProblem: As in :meth:`call`.
        """
        from pipeline.providers.vault import whole_api

        self.call(lambda client: whole_api.api(client).write_data(path, data=dict(body)), what)

    def demand_versions(self, mount: str, what: str) -> None:
        """See, once, that a mount is a key-value store of version 2: others take writes that are not copies.

        Where the server does not tell this identity, nothing is said.

        Raises:
            UsageProblem: It is something else.
            Unreachable, DeadlinePassed: As in :meth:`call`.
        """
        mount = mount.strip("/")
        if mount in self._versioned:
            return
        try:
            # The one question about a mount that any token with a right below it may ask.
            facts = self.read(f"sys/internal/ui/mounts/{mount}", what)
        except Denied:
            facts = None
        if facts is not None:
            kind, options = take(facts, what, "type"), facts.get("options")
            version = options.get("version") if isinstance(options, Mapping) else None
            if kind != "kv" or version != "2":
                found = f"a key-value store of version {version or 1}" if kind == "kv" else f"of type {kind}"
                raised = self.place.command("kv enable-versioning", mount)
                made = self.place.command("secrets enable -version=2", f"-path={mount}", "kv")
                raise UsageProblem(
                    f"{what}: {mount} at {self.place.address} is {one_line(found, 80)}, not of version 2",
                    hint=f"upgrade it ({raised}), or make another one: {made}",
                )
        self._versioned.add(mount)

    # -- the login ----------------------------------------------------------------------------

    def _ready(self, what: str) -> VaultClient:
        with self._lock:
            self.deadline.check()
            if self._client is None:
                self._client = self.login(what)
            return self._client

    def _replace(self, dead: VaultClient, what: str) -> VaultClient:
        """Log in afresh after a client's token died, unless another thread just did."""
        with self._lock:
            if self._client is dead:
                if self._replaced:
                    raise self.login.worn_out(what)
                log.info("%s: the token is no longer accepted, logging in once more", what)
                self._client = self.login(what)
                self._replaced = True
            return self._ready(what)

    def _dead(self, client: VaultClient, what: str) -> bool:
        """Whether the token itself is refused, rather than what it asked for."""
        if self._silent:
            return False
        try:
            self.guard(client.look_up, what)
        except Denied as error:
            return by_server(error)
        return False
