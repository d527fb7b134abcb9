"""Logging in to Vault: with a fresh token, or one that is given."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from pipeline.core import log as logs
from pipeline.core.clock import Deadline
from pipeline.core.errors import Denied, OrgkeyError, UsageProblem
from pipeline.core.secret import Secret
from pipeline.providers import failures
from pipeline.providers.credentials import is_sendable, read_token
from pipeline.providers.vault.auth_methods import Attempt, prepare
from pipeline.providers.vault.fields import field, mapping, not_vault

if TYPE_CHECKING:
    import hvac

    from pipeline.config import VaultIdentity, VaultPlace

T = TypeVar("T")
log = logging.getLogger(__name__)


class Guard(Protocol):
    """Makes a call and translates what hvac raises."""

    def __call__(self, fn: Callable[[], T], what: str) -> T:
        """Return what ``fn`` returns."""
        ...


@dataclass(frozen=True, slots=True)
class TokenFacts:
    """What the server says of the token in use.

    Attributes:
        policies: Names of its policies.
        ttl: Seconds it lives on; 0 for a token without an end.
        renewable: Whether it can be renewed.
    """

    policies: tuple[str, ...]
    ttl: float
    renewable: bool


class VaultLogin:
    """Logs in, each time it is called.

    Args:
        place: The server.
        identity: How; see :class:`pipeline.providers.vault.session.VaultSession`.
        role: ``writer`` or ``driller``, for messages.
        deadline: The end of the run, which a token has to outlive.
        guard: Makes calls.
        connect: Makes a client with a token, or without one.
        refusals: Logins that were refused in this run: each more would bring a role nearer to its lockout.
    """

    def __init__(
        self,
        place: VaultPlace,
        identity: VaultIdentity | None,
        *,
        role: str,
        deadline: Deadline,
        guard: Guard,
        connect: Callable[[Secret | None], hvac.Client],
        refusals: dict[object, Denied],
    ) -> None:
        self._place = place
        self._identity = identity
        self._role = role
        self._deadline = deadline
        self._guard = guard
        self._connect = connect
        self._refusals = refusals
        self._given: Secret | None = None
        self._uses = 0

    def __call__(self, what: str) -> hvac.Client:
        """Log in.

        Args:
            what: What the login is for, as the beginning of a message.

        Returns:
            A client with the token.

        Raises:
            Denied: The server refuses, or the token will not last.
            Unreachable, DeadlinePassed, UsageProblem: As in ``VaultSession.call``.
        """
        attempt = prepare(self._identity) if self._identity is not None else None
        if attempt is not None:
            known = (self._place.address, self._place.namespace, self._identity)
            if known in self._refusals:
                earlier = self._refusals[known]
                raise Denied(f"{what}: {earlier.message.partition(': ')[2]}", hint=earlier.hint)
            try:
                return self._fresh(attempt, what)
            except Denied as error:
                self._refusals[known] = error
                raise
        token = read_token(self._identity, self._role)
        if token == self._given:
            raise self._problem("given before", what)
        client = self._connect(token)
        self._admit(client, what)
        self._given = token
        return client

    def _fresh(self, attempt: Attempt, what: str) -> hvac.Client:
        import hvac.exceptions

        nobody = self._connect(None)
        refusals = {
            hvac.exceptions.InvalidRequest: 400,  # "invalid role or secret ID"
            hvac.exceptions.Unauthorized: 401,
            hvac.exceptions.Forbidden: 403,  # also where no such auth method is mounted
        }

        def login() -> Any:
            try:
                return attempt.make(nobody)
            except tuple(refusals) as error:
                from pipeline.providers.vault.errors import words_of

                words = words_of(error)
                status = next(number for kind, number in refusals.items() if isinstance(error, kind))
                failure = failures.CallFailure("answer", service="vault", status=status, text=words)
                if failures.meaning(failure).words:
                    raise  # it is full, or busy: no verdict on this login
                facts = {"way": attempt.called, "why": f" ({words})" if words else "", "look": attempt.hint}
                raise self._problem("refused", what, **facts) from error

        answer = self._guard(login, what)
        self._whole(answer, what)
        auth = mapping(answer, what, "auth")
        given = field(auth, what, "client_token")
        if not isinstance(given, str) or not given or not is_sendable(given):
            raise not_vault(what, "auth.client_token")
        client = self._connect(logs.redact_login(Secret(given)))
        self._uses = int(auth.get("num_uses") or 0)
        facts = TokenFacts(
            policies=tuple(auth.get("policies") or ()),
            ttl=float(field(auth, what, "lease_duration")),
            renewable=bool(auth.get("renewable")),
        )
        # A TTL that stays short is not a failure here: one fresh login stands by.
        self._prolong(client, facts, what)
        return client

    def _whole(self, answer: object, what: str) -> None:
        """See that a login ended: some answers ask for more.

        Raises:
            Denied: It did not, and nobody is there who could do the rest.
        """
        body = answer if isinstance(answer, Mapping) else {}
        auth = body.get("auth")
        if isinstance(auth, Mapping) and auth.get("mfa_requirement"):
            raise self._problem("second factor", what)
        if body.get("wrap_info"):
            raise self._problem("wrapped", what)

    def worn_out(self, what: str) -> OrgkeyError:
        """The error for a second token that died within one run."""
        return self._problem("few uses" if self._uses else "expired twice", what, uses=self._uses)

    def _problem(self, code: str, what: str, **facts: object) -> OrgkeyError:
        failure = failures.CallFailure(
            "vault_login", self._place.address, role=self._role, code=code, facts=facts
        )
        return failures.explain(failure, what)

    def _admit(self, client: hvac.Client, what: str) -> None:
        """Look a given token up: it has to outlive the run, since nothing can replace it."""
        try:
            facts = self._guard(lambda: look_up(client, what), what)
        except Denied as error:
            if not by_server(error):
                raise
            raise self._problem("not known", what) from error
        ttl = self._prolong(client, facts, what)
        if ttl and ttl < self._deadline.left():
            raise self._problem("ends early", what, ttl=ttl, left=self._deadline.left())

    def _prolong(self, client: hvac.Client, facts: TokenFacts, what: str) -> float:
        """Renew a token that would not outlive the run, where it can be renewed; the TTL it then has."""
        need = self._deadline.left()
        if not facts.ttl or facts.ttl >= need or not facts.renewable:
            return facts.ttl
        increment = f"{math.ceil(need) + 1}s"
        try:
            answer = self._guard(lambda: client.auth.token.renew_self(increment=increment), what)
        except (Denied, UsageProblem) as error:
            log.info("%s: the token cannot be renewed: %s", what, error)
            return facts.ttl
        return float(field(answer, what, "auth", "lease_duration"))


def by_server(error: Denied) -> bool:
    """Whether the server refused a request, rather than TLS or a proxy the connection."""
    import hvac.exceptions

    return isinstance(error.__cause__, hvac.exceptions.Forbidden | hvac.exceptions.Unauthorized)


def look_up(client: hvac.Client, what: str) -> TokenFacts:
    """Ask the server about the client's token."""
    data = mapping(client.auth.token.lookup_self(), what, "data")
    return TokenFacts(
        tuple(data.get("policies") or ()), float(data.get("ttl") or 0), bool(data.get("renewable"))
    )
