"""One login at one Vault or OpenBao server, shared by its targets and holders."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from pipeline.clients._imports import load_requests
from pipeline.clients._vault_answers import Health, Seen
from pipeline.clients._vault_login import TokenFacts, VaultLogin, by_server, field, look_up, mapping
from pipeline.clock import Deadline
from pipeline.errors import Denied, OrgkeyError, Unreachable
from pipeline.retry import in_time
from pipeline.secret import Secret

if TYPE_CHECKING:
    import hvac
    import requests

    from pipeline.config import VaultIdentity, VaultPlace

__all__ = ["Health", "Seen", "TokenFacts", "VaultSession", "field"]

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
    """

    def __init__(
        self,
        place: VaultPlace,
        identity: VaultIdentity | None,
        *,
        call_seconds: float,
        deadline: Deadline,
        role: str,
    ) -> None:
        self.place = place
        self.role = role
        self.auth_mount = identity.mounted if identity is not None and identity.way != "token" else "approle"
        self.deadline = deadline
        self.request_ids: list[str] = []
        self._call_seconds = call_seconds
        self._seen = Seen()
        self._lock = threading.RLock()
        self._http: requests.Session | None = None
        self._pair = client_pair(place, identity)
        self._client: hvac.Client | None = None
        self._login = VaultLogin(
            place, identity, role=role, deadline=deadline, guard=self._guard, connect=self._connect
        )
        self._replaced = False
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
        """Ask for the server's state, without a login; ``None`` when the answer is no known state.

        Raises:
            Unreachable, DeadlinePassed, UsageProblem: There is no answer.
        """
        what = "health"

        def ask() -> Health | None:
            with self._lock:
                http = self._connect(None).session
            response = http.get(f"{self.place.address}/v1/sys/health")
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
            with self._lock:
                http = self._connect(None).session
            return http.get(f"{self.place.address}/v1/sys/seal-status").json().get("type")

        try:
            kind = self._guard(ask, what)
        except (ValueError, AttributeError):
            kind = None
        if not isinstance(kind, str) or not kind.isalnum():
            raise Unreachable(
                f"{self.place.address} does not say how it is unsealed",
                hint="look at `vault status` there",
                again=False,
            )
        return kind

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
            return {path: frozenset(data.get(path, ())) - {"deny"} for path in paths}

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
        import hvac.exceptions

        def send(client: hvac.Client) -> None:
            try:
                client.adapter.post(f"/v1/{path}", json=dict(body))
            except hvac.exceptions.InvalidRequest as error:
                if "Upgrading from non-versioned" in str(error):
                    raise Unreachable(
                        f"{what}: the new mount is not ready", hint="run the same command again"
                    ) from error
                raise

        self.call(send, what)

    # -- the connection and the login ---------------------------------------------------------

    def _connect(self, token: Secret | None) -> hvac.Client:
        """A client with one token for good, on connections that all clients share; callers hold the lock."""
        load_requests()
        import hvac

        if self._http is None:
            from pipeline.clients._vault_wire import open_session

            # Nothing below refers to this object: the connections end with it.
            limit = partial(self.deadline.limit, self._call_seconds)
            self._http = open_session(
                self.place, self._pair, limit, self._seen, self.request_ids, self.deadline
            )
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
                self._client = self._login(what)
            return self._client

    def _replace(self, dead: hvac.Client, what: str) -> hvac.Client:
        """Log in afresh after a client's token died, unless another thread just did."""
        with self._lock:
            if self._client is dead:
                if self._replaced:
                    raise Denied(
                        f"{what}: the {self.role}'s token at {self.place.address} expired twice in one run",
                        hint="give its role a token TTL longer than policy.deadline_seconds",
                    )
                log.info("%s: the token is no longer accepted, logging in once more", what)
                self._client = self._login(what)
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
        import hvac.exceptions
        import requests

        self._seen.status = None
        try:
            return fn()
        except Unreachable as error:
            raise in_time(error, self.deadline) from error.__cause__
        except hvac.exceptions.VaultError as error:
            from pipeline.clients._vault_errors import from_answer

            translated = from_answer(
                error, self._seen, what, self.place.address, self.role, self._state_or_none
            )
            raise self._timely(translated) from error
        except requests.RequestException as error:
            from pipeline.clients._vault_errors import from_connection

            seconds = max(0.1, self.deadline.limit(self._call_seconds)) if self.deadline.left() > 0 else 0.1
            translated = from_connection(error, what, self.place, self._pair, seconds)
            raise self._timely(translated) from error

    def _timely(self, error: Exception) -> Exception:
        return in_time(error, self.deadline) if isinstance(error, Unreachable) else error

    def _state_or_none(self) -> Health | None:
        try:
            return self.health()
        except OrgkeyError:
            return None
