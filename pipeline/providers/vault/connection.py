"""Connections to one Vault or OpenBao server: every request is bounded, only our own errors come out."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from pipeline.core.clock import Deadline
from pipeline.core.errors import OrgkeyError, Unreachable
from pipeline.core.secret import Secret
from pipeline.providers import failures
from pipeline.providers.vault.answers import Health, VaultRefusal

if TYPE_CHECKING:
    from pipeline.config.places import VaultPlace
    from pipeline.providers.tls.files import Pair
    from pipeline.providers.vault.client import VaultClient
    from pipeline.providers.wire import Wire

T = TypeVar("T")
log = logging.getLogger(__name__)


class VaultConnection:
    """Reaches a server, with any token or none.

    Args:
        place: The server.
        pair: Files with the certificate and key that are shown to it.
        call_seconds: Time allowed for one request, in seconds.
        deadline: The end of the run; no request reaches beyond it.
        role: The identity, for messages.
    """

    def __init__(
        self, place: VaultPlace, pair: Pair | None, *, call_seconds: float, deadline: Deadline, role: str
    ) -> None:
        self.place = place
        self.role = role
        self.deadline = deadline
        self.request_ids: list[str] = []
        self._pair = pair
        self.call_seconds = call_seconds
        self._lock = threading.RLock()
        self._wire: Wire | None = None

    def client(self, token: Secret | None) -> VaultClient:
        """A client with one token for good, on connections that all clients share."""
        from pipeline.providers.vault.client import VaultClient
        from pipeline.providers.wire import Wire

        with self._lock:
            if self._wire is None:
                # The wire does not refer to this object: the connections end with it.
                self._wire = Wire(
                    self.place, self.deadline, self.call_seconds, ca_file=self.place.ca_file, pair=self._pair
                )
                weakref.finalize(self, self._wire.close)
        return VaultClient(self.place, self._wire, self.deadline.written, self.request_ids, token)

    def health(self) -> Health | None:
        """Ask for the server's state, without a login; ``None`` when the answer is not a known state.

        Raises:
            Unreachable, DeadlinePassed, UsageProblem: There is no answer.
        """

        def ask() -> Health | None:
            answer = self.client(None).ask("GET", "sys/health")
            state = next((each for each in Health if each.value == answer.status), None)
            # A load balancer without a healthy server says 503 too, and that passes by itself.
            return None if state is Health.SEALED and answer.body.get("sealed") is not True else state

        return self.guard(ask, "health")

    def seal(self) -> tuple[str, str]:
        """How the server is unsealed, without a login: ``shamir``, or the kind of its auto-unseal.

        Returns:
            That, and the id of its cluster, which all its nodes tell; empty where it is not told.

        Raises:
            Unreachable, DeadlinePassed, UsageProblem: There is no answer, or none that says it.
        """
        status = self.guard(lambda: self.client(None).get("sys/seal-status"), "seal status")
        kind, cluster = status.get("type"), status.get("cluster_id")
        if not isinstance(kind, str) or not kind.isalnum():
            raise Unreachable(
                f"{self.place.address} does not say how it is unsealed",
                hint="look at `vault status` there",
                again=False,
            )
        return kind, cluster if isinstance(cluster, str) else ""

    def guard(self, fn: Callable[[], T], what: str) -> T:
        """Do what talks to the server, and translate whatever it raises.

        Raises:
            OrgkeyError: One of our own.
        """
        with failures.translated(self.deadline, lambda error: self._translate(error, what)):
            return fn()

    def _translate(self, error: Exception, what: str) -> OrgkeyError:
        """Say what a refusal means, what the wire met, or that an answer could not be read."""
        log.debug("%s: the call raised %s", what, type(error).__name__)
        from pipeline.providers import unanswered
        from pipeline.providers.wire import NoAnswer

        address, where = self.place.address, f"vault at {self.place.address}"
        if isinstance(error, NoAnswer):
            seconds = max(0.1, min(self.call_seconds, self.deadline.left()))
            route = unanswered.Route(address, self.place, self.place.ca_file, self._pair, seconds)
            return unanswered.explain(error, what, route, where=where, setting="address")
        if not isinstance(error, VaultRefusal):
            facts = {"address": address, "kind_named": type(error).__name__}
            kinds = failures.class_names(error)
            return failures.explain(failures.CallFailure("vault", where, kinds=kinds, facts=facts), what)
        answer, text = error.answer, error.answer.words
        if answer.status in (472, 501, 503) or (answer.status == 500 and "sealed" in text):
            with suppress(OrgkeyError):  # it does not tell
                health = self.health()
                if health is not None and (unusable := self.unusable(health, what)) is not None:
                    return unusable
        failure = failures.CallFailure(
            "answer", where, "vault", self.role, "address", answer.status, text=text, headers=answer.headers
        )
        return failures.explain(failure, what)

    def unusable(self, health: Health, what: str) -> OrgkeyError | None:
        """Say why a server in this state cannot be used; ``None`` when it can."""
        if health.usable:
            return None
        where = f"vault at {self.place.address}"
        return failures.explain(failures.CallFailure("health", where, code=health.name), what)
