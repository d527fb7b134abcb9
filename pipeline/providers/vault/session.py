"""One login at one Vault or OpenBao server, shared by its targets and holders."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from pipeline.core.clock import Deadline
from pipeline.core.errors import Denied, OrgkeyError, Unreachable, UsageProblem
from pipeline.core.retry import in_time
from pipeline.core.secret import Secret
from pipeline.providers.imports import load_requests
from pipeline.providers.text import one_line
from pipeline.providers.vault.fields import field, mapping
from pipeline.providers.vault.health import Health, LastAnswer
from pipeline.providers.vault.login import TokenFacts, VaultLogin, by_server, look_up

if TYPE_CHECKING:
    import hvac
    import requests

    from pipeline.config import VaultIdentity, VaultPlace
    from pipeline.providers.wire import Wire

T = TypeVar("T")
log = logging.getLogger(__name__)


def client_pair(place: VaultPlace, identity: VaultIdentity | None) -> tuple[str, str] | None:
    """Files with the certificate and key that a connection shows: the identity's own, else the place's."""
    for owner in (identity, place):
        if owner is not None and owner.client_cert_file and owner.client_key_file:
            return owner.client_cert_file, owner.client_key_file
    return None


def _says_sealed(response: requests.Response) -> bool:
    try:
        return response.json().get("sealed") is True
    except (ValueError, AttributeError):
        return False


class VaultSession:
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
        self.place = place
        self.role = role
        self.auth_mount = identity.mounted if identity is not None and identity.way != "token" else "approle"
        self.deadline = deadline
        self.request_ids: list[str] = []
        self._call_seconds = call_seconds
        self._last = LastAnswer()
        self._lock = threading.RLock()
        self._http: requests.Session | None = None
        self._wire: Wire | None = None
        self._pair = client_pair(place, identity)
        self._client: hvac.Client | None = None
        self.login = VaultLogin(
            place,
            identity,
            role=role,
            deadline=deadline,
            guard=self._guard,
            connect=self._connect,
            refusals={} if refusals is None else refusals,
        )
        self._replaced = False
        self._versioned: set[str] = set()
        self._silent = False

    def call(self, fn: Callable[[hvac.Client], T], what: str) -> T:
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
            return self._guard(lambda: fn(client), what)
        except Denied as error:
            if not by_server(error) or not self._dead(client, what):
                raise
        client = self._replace(client, what)
        try:
            return self._guard(lambda: fn(client), what)
        except Denied:
            # A fresh token that may not even look itself up: the same answer says nothing next time.
            self._silent = self._dead(client, what)
            raise

    def health(self) -> Health | None:
        """Ask for the server's state, without a login; ``None`` when the answer is not a known state.

        Raises:
            Unreachable, DeadlinePassed, UsageProblem: There is no answer.
        """
        what = "health"

        def ask() -> Health | None:
            response = self._public("sys/health")
            known = {state.value: state for state in Health}
            state = known.get(response.status_code)
            # A load balancer without a healthy server says 503 too, and that passes by itself.
            return None if state is Health.SEALED and not _says_sealed(response) else state

        return self._guard(ask, what)

    def seal_type(self) -> str:
        """How the server is unsealed, without a login: ``shamir``, or the kind of its auto-unseal.

        Raises:
            Unreachable, DeadlinePassed, UsageProblem: There is no answer, or none that says it.
        """
        what = "seal status"

        def ask() -> object:
            return self._public("sys/seal-status").json().get("type")

        kind = self._guard(ask, what)
        if not isinstance(kind, str) or not kind.isalnum():
            raise Unreachable(
                f"{self.place.address} does not say how it is unsealed",
                hint="look at `vault status` there",
                again=False,
            )
        return kind

    def _public(self, path: str) -> requests.Response:
        """Ask what the server says without a login."""
        with self._lock:
            http = self._connect(None).session
        response: requests.Response = http.get(f"{self.place.address}/v1/{path}")
        return response

    def token(self, what: str) -> TokenFacts:
        """Say what the server knows of the token in use.

        Raises:
            Denied, Unreachable, DeadlinePassed, UsageProblem: As in :meth:`call`.
        """
        return self.call(lambda client: look_up(client, what), what)

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

        def ask(client: hvac.Client) -> dict[str, frozenset[str]]:
            data = mapping(client.sys.get_capabilities(list(paths)), what, "data")
            return {path: frozenset(field(data, what, path)) - {"deny"} for path in paths}

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
        import hvac.exceptions

        def ask(client: hvac.Client) -> Mapping[str, Any] | None:
            try:
                answer = client.adapter.get(f"/v1/{path}")
            except hvac.exceptions.InvalidPath:
                return None
            if isinstance(answer, Mapping) and "data" not in answer:
                return answer
            return mapping(answer, what, "data")

        return self.call(ask, what)

    def write(self, path: str, body: Mapping[str, Any], what: str) -> None:
        """Write to an API path.

        Args:
            path: Without the leading slash.
            body: What is sent.
            what: As in :meth:`call`.

        Raises:
            Unreachable: Also while a new mount is not ready, which passes.
            Denied, DeadlinePassed, UsageProblem: As in :meth:`call`.
        """
        self.call(lambda client: client.adapter.post(f"/v1/{path}", json=dict(body)), what)

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
            kind, options = field(facts, what, "type"), facts.get("options")
            version = options.get("version") if isinstance(options, Mapping) else None
            if kind != "kv" or version != "2":
                found = f"a key-value store of version {version or 1}" if kind == "kv" else f"of type {kind}"
                raise UsageProblem(
                    f"{what}: {mount} at {self.place.address} is {one_line(found, 80)}, not of version 2",
                    hint=f"upgrade it (vault kv enable-versioning {mount}), or make another one: "
                    f"vault secrets enable -path={mount} -version=2 kv",
                )
        self._versioned.add(mount)

    # -- the connection and the login ---------------------------------------------------------

    def _connect(self, token: Secret | None) -> hvac.Client:
        """A client with one token for good, on connections that all clients share; callers hold the lock."""
        load_requests()
        import hvac

        if self._http is None:
            from pipeline.providers.vault.transport import open_session
            from pipeline.providers.wire import Wire

            # Nothing below refers to this object: the connections end with it.
            limit = partial(self.deadline.limit, self._call_seconds)
            self._wire = Wire(
                self.place,
                limit,
                ca_file=self.place.ca_file,
                pair=self._pair,
                dated=self.deadline.note_date,
            )
            self._http = open_session(self._wire, self._last, self.request_ids, self.deadline.written)
            weakref.finalize(self, self._http.close)
        return hvac.Client(
            url=self.place.address,
            # An empty string keeps hvac from looking at VAULT_TOKEN and ~/.vault-token itself.
            token=token.text() if token is not None else "",
            # The same for VAULT_CLIENT_CERT.
            cert="",
            verify=self.place.ca_file or True,
            namespace=self.place.namespace,
            allow_redirects=False,
            session=self._http,
        )

    def _ready(self, what: str) -> hvac.Client:
        with self._lock:
            self.deadline.check()
            if self._client is None:
                self._client = self.login(what)
            return self._client

    def _replace(self, dead: hvac.Client, what: str) -> hvac.Client:
        """Log in afresh after a client's token died, unless another thread just did."""
        with self._lock:
            if self._client is dead:
                if self._replaced:
                    raise self.login.worn_out(what)
                log.info("%s: the token is no longer accepted, logging in once more", what)
                self._client = self.login(what)
                self._replaced = True
            return self._ready(what)

    def _dead(self, client: hvac.Client, what: str) -> bool:
        """Whether the token itself is refused, rather than what it asked for."""
        if self._silent:
            return False
        try:
            self._guard(lambda: look_up(client, what), what)
        except Denied as error:
            return by_server(error)
        return False

    # -- the boundary: nothing of hvac or requests leaves -------------------------------------

    def _guard(self, fn: Callable[[], T], what: str) -> T:
        load_requests()
        self._last.status = None
        try:
            return fn()
        except OrgkeyError as error:
            raise self._timely(error) from error.__cause__
        except MemoryError:
            raise
        except Exception as error:
            from pipeline.providers.vault.errors import translate

            log.debug("%s: the call raised %s", what, type(error).__name__)
            translated = translate(
                error, what, place=self.place, role=self.role, last=self._last,
                health=self._state_or_none, pair=self._pair,
                seconds=max(0.1, min(self._call_seconds, self.deadline.left())),
            )  # fmt: skip
            raise self._timely(translated) from error

    def _timely(self, error: OrgkeyError) -> OrgkeyError:
        return in_time(error, self.deadline) if isinstance(error, Unreachable) else error

    def _state_or_none(self) -> Health | None:
        try:
            return self.health()
        except OrgkeyError:
            return None
