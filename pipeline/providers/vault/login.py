"""Logging in to Vault: with a fresh token, or one that is given."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.core import log as logs
from pipeline.core.errors import Denied, OrgkeyError, UsageProblem
from pipeline.core.retry import SilentServers
from pipeline.core.secret import Secret
from pipeline.providers import failures
from pipeline.providers.credentials import read_token
from pipeline.providers.text import is_sendable
from pipeline.providers.vault.answers import VaultRefusal, not_vault, take
from pipeline.providers.vault.auth_methods import Attempt, prepare

if TYPE_CHECKING:
    from pipeline.config.identities import VaultIdentity
    from pipeline.providers.aws.session import SignedRequest
    from pipeline.providers.vault.client import VaultClient
    from pipeline.providers.vault.connection import VaultConnection

log = logging.getLogger(__name__)


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

    @classmethod
    def of(cls, answer: Mapping[str, Any], what: str) -> TokenFacts:
        """Read the server's answer about a token."""
        data = take(answer, what, "data", kind=Mapping)
        return cls(
            tuple(data.get("policies") or ()), float(data.get("ttl") or 0), bool(data.get("renewable"))
        )


class VaultLogin:
    """Logs in, each time it is called.

    Args:
        connection: To the server; its run is what a token has to outlive.
        identity: How; see :class:`pipeline.providers.vault.session.VaultSession`.
        refusals: Logins that were refused in this run: each more would bring a role nearer to its lockout.
    """

    def __init__(
        self, connection: VaultConnection, identity: VaultIdentity | None, refusals: dict[object, Denied]
    ) -> None:
        self._connection = connection
        self._identity = identity
        self._refusals = refusals
        self._given: Secret | None = None
        self._uses = 0

    def __call__(self, what: str) -> VaultClient:
        """Log in.

        Args:
            what: What the login is for, as the beginning of a message.

        Returns:
            A client with the token.

        Raises:
            Denied: The server refuses, or the token will not last.
            Unreachable, DeadlinePassed, UsageProblem: As in ``VaultSession.call``.
        """
        if (
            self._identity is not None
            and (attempt := prepare(self._identity, lambda identity: self._signed(identity, what)))
            is not None
        ):
            place = self._connection.place
            known = (place.address, place.namespace, self._identity)
            if known in self._refusals:
                earlier = self._refusals[known]
                raise Denied(f"{what}: {earlier.message.partition(': ')[2]}", hint=earlier.hint)
            try:
                return self._in_turn(attempt, self._identity, what)
            except Denied as error:
                self._refusals[known] = error
                raise
        token = read_token(self._identity, self._connection.role)
        if token == self._given:
            raise self._problem("given before", what)
        client = self._connection.client(token)
        self._admit(client, what)
        self._given = token
        return client

    def _in_turn(self, attempt: Attempt, identity: VaultIdentity, what: str) -> VaultClient:
        """Log in, unless another run of the same fleet was refused with the same role id and secret id."""
        if identity.way != "approle":
            return self._fresh(attempt, identity.mounted, what)
        place = self._connection.place
        login = json.dumps([place.address, place.namespace, identity.mounted, attempt.body()])
        with SilentServers.turn(login) as word:
            if word is not None and (told := word.read()):
                message, hint = json.loads(told)
                raise Denied(f"{what}: {message}", hint=hint)
            try:
                return self._fresh(attempt, identity.mounted, what)
            except Denied as error:
                if word is not None:
                    word.write(json.dumps([error.message.partition(": ")[2], error.hint]).encode())
                raise

    def look(self, what: str) -> None:
        """See that this host has what the login reads, but AWS's credentials. Contacts nothing.

        Args:
            what: As for a login.

        Raises:
            UsageProblem: A file cannot be read or is empty, or there is no login.
        """
        if self._identity is None or self._identity.way == "token":
            read_token(self._identity, self._connection.role)
        elif self._identity.way != "aws":
            prepare(self._identity, lambda identity: self._signed(identity, what))

    def _signed(self, identity: VaultIdentity, what: str) -> SignedRequest:
        from pipeline.config.places import AwsPlace
        from pipeline.providers.aws.session import AwsSession

        connection = self._connection
        session = AwsSession(
            AwsPlace(
                region=identity.region or "us-east-1",
                proxy=connection.place.proxy,
                proxy_file=connection.place.proxy_file,
            ),
            identity.aws,
            call_seconds=connection.call_seconds,
            deadline=connection.deadline,
            role=connection.role,
        )
        headers = {"X-Vault-AWS-IAM-Server-ID": identity.server_id} if identity.server_id else {}
        return session.identified(identity.region, headers, what)

    def _fresh(self, attempt: Attempt, mount: str, what: str) -> VaultClient:
        nobody = self._connection.client(None)

        def login() -> tuple[VaultClient, TokenFacts]:
            try:
                answer = nobody.post(f"auth/{mount}/login", attempt.body())
            except VaultRefusal as error:
                # 400 is "invalid role or secret ID"; 403 also where no such auth method is mounted.
                words = error.answer.words
                failure = failures.CallFailure("answer", service="vault", status=error.status, text=words)
                if error.status not in (400, 401, 403) or failures.meaning(failure).words:
                    raise  # it is full, or busy: no verdict on this login
                facts = {"way": attempt.called, "why": f" ({words})" if words else "", "look": attempt.hint}
                raise self._problem("refused", what, **facts) from error
            self._whole(answer, what)
            auth = take(answer, what, "auth", kind=Mapping)
            given = take(auth, what, "client_token", kind=str)
            if not given or not is_sendable(given):
                raise not_vault(what, "auth.client_token")
            self._uses = int(auth.get("num_uses") or 0)
            lasting = {"data": {**auth, "ttl": take(auth, what, "lease_duration")}}
            client = self._connection.client(logs.redact_login(Secret(given)))
            return client, TokenFacts.of(lasting, what)

        client, facts = self._connection.guard(login, what)
        # A TTL that stays short is not a failure here: one fresh login stands by.
        self._prolong(client, facts, what)
        return client

    def _whole(self, answer: Mapping[str, Any], what: str) -> None:
        """See that a login ended: some answers ask for more.

        Raises:
            Denied: It did not, and nobody is there who could do the rest.
        """
        auth = answer.get("auth")
        if isinstance(auth, Mapping) and auth.get("mfa_requirement"):
            raise self._problem("second factor", what)
        if answer.get("wrap_info"):
            raise self._problem("wrapped", what)

    def worn_out(self, what: str) -> OrgkeyError:
        """The error for a second token that died within one run."""
        return self._problem("few uses" if self._uses else "expired twice", what, uses=self._uses)

    def _problem(self, code: str, what: str, **facts: object) -> OrgkeyError:
        failure = failures.CallFailure(
            "vault_login", self._connection.place.address, role=self._connection.role, code=code, facts=facts
        )
        return failures.explain(failure, what)

    def _admit(self, client: VaultClient, what: str) -> None:
        """Look a given token up: it has to outlive the run, since nothing can replace it."""
        try:
            facts = self._connection.guard(lambda: TokenFacts.of(client.look_up(), what), what)
        except Denied as error:
            if not by_server(error):
                raise
            raise self._problem("not known", what) from error
        ttl = self._prolong(client, facts, what)
        if ttl and ttl < self._connection.deadline.left():
            raise self._problem("ends early", what, ttl=ttl, left=self._connection.deadline.left())

    def _prolong(self, client: VaultClient, facts: TokenFacts, what: str) -> float:
        """Renew a token that would not outlive the run, where it can be renewed; the TTL it then has."""
        need = self._connection.deadline.left()
        if not facts.ttl or facts.ttl >= need or not facts.renewable:
            return facts.ttl
        increment = f"{math.ceil(need) + 1}s"

        def renew() -> float:
            answer = client.post("auth/token/renew-self", {"increment": increment})
            return float(take(answer, what, "auth", "lease_duration"))

        try:
            return self._connection.guard(renew, what)
        except (Denied, UsageProblem) as error:
            log.info("%s: the token cannot be renewed: %s", what, error)
            return facts.ttl


def by_server(error: Denied) -> bool:
    """Whether the server refused a request, rather than TLS or a proxy the connection."""
    return isinstance(error.__cause__, VaultRefusal) and error.__cause__.status in (401, 403)
