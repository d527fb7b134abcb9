"""The logins of one role: a session for each server and login, made once and shared."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline import config as settings
from pipeline.config import Config, IdentityName
from pipeline.core.clock import Clock, Deadline
from pipeline.core.errors import UsageProblem
from pipeline.core.retry import Breaker, Breakers, Retrier
from pipeline.providers.aws.session import AwsSession
from pipeline.providers.vault.session import VaultSession

# Whose login is used, the first that is configured; who has none logs in as the services' own tools would.
INSTEAD: dict[IdentityName, tuple[IdentityName, ...]] = {
    "writer": ("writer",),
    "driller": ("driller", "writer"),
    "auditor": ("auditor", "driller", "writer"),
    "retention": ("retention",),
    "administrator": ("administrator",),
}


@dataclass
class Sessions:
    """Makes sessions late; nothing is contacted before one is used.

    Attributes:
        config: The configuration; ``None`` for a restore that has none.
        role: Whose logins are used.
        deadline: Bounds every call.
        clock: Where time comes from.
        breakers: Which servers keep silent; shared by all roles of a run.
    """

    config: Config | None
    role: IdentityName
    deadline: Deadline
    clock: Clock
    breakers: Breakers
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _vaults: dict[tuple[Any, ...], VaultSession] = field(default_factory=dict)
    _clouds: dict[tuple[Any, ...], AwsSession] = field(default_factory=dict)

    def request_ids(self) -> dict[str, Sequence[str]]:
        """The request ids that the services gave, by service."""
        return {
            "vault": [item for session in self._vaults.values() for item in session.request_ids],
            "aws": [item for session in self._clouds.values() for item in session.request_ids],
        }

    def retrier(self, place: object) -> Retrier:
        """What tries calls to a place again, knowing what is known of its server."""
        return Retrier(self.deadline, clock=self.clock, breaker=self._breaker(place))

    def _breaker(self, place: object) -> Breaker | None:
        """What is known of the server behind a place; ``None`` for one on this host."""
        if isinstance(place, settings.VaultPlace):
            return self.breakers.of(place.address)
        if isinstance(place, settings.AwsPlace):
            service = "kms" if isinstance(place, settings.KmsHolderConfig) else "s3"
            return self.breakers.of(place.endpoint_url or f"{service}.{place.region}")
        return None

    def _call_seconds(self) -> float:
        return self.config.policy.call_seconds if self.config else settings.Policy().call_seconds

    def _identity(self) -> settings.IdentityConfig:
        known = self.config.identity if self.config else {}
        for role in INSTEAD[self.role]:
            if role in known:
                return known[role]
        return settings.IdentityConfig()

    def _apart(self) -> bool:
        """Whether this role's login is nobody else's; the writer's is not while drills borrow it."""
        known = self.config.identity if self.config else {}
        return self.role in known and (self.role != "writer" or "driller" in known)

    def _no_login(self, name: str, service: str, hint: str) -> UsageProblem:
        return UsageProblem(f"identity.{self.role}.at.{name} is not a login for {service}", hint=hint)

    def vault(self, name: str, place: settings.VaultPlace) -> VaultSession:
        """The login at a Vault server, for the target or holder of this name.

        Raises:
            UsageProblem: The configuration gives a login of another kind.
        """
        identity = self._identity()
        login = identity.at.get(name, identity.vault)
        if login is not None and not isinstance(login, settings.VaultIdentity):
            hint = "give role_id_file and secret_id_file, token_file, or a method; see docs/logins.md"
            raise self._no_login(name, "Vault", hint)
        known = settings.VaultPlace.model_fields.keys() - {"unsealed_by"}
        reached = settings.VaultPlace(**{name: getattr(place, name) for name in sorted(known)})
        key = (reached, login)
        with self._lock:
            if key not in self._vaults:
                self._vaults[key] = VaultSession(
                    reached,
                    login,
                    call_seconds=self._call_seconds(),
                    deadline=self.deadline,
                    role=self.role,
                    refusals=self.breakers.refusals,
                )
            return self._vaults[key]

    def cloud(self, name: str, place: settings.AwsPlace) -> AwsSession:
        """The login at AWS, for the target or holder of this name.

        Raises:
            UsageProblem: The configuration gives a login of another kind.
        """
        identity = self._identity()
        login = identity.at.get(name, identity.aws)
        if login is not None and not isinstance(login, settings.AwsIdentity):
            raise self._no_login(name, "AWS", "give profile, credentials_file or config_file")
        key = (
            *(getattr(place, name) for name in sorted(settings.AwsPlace.model_fields)),
            getattr(place, "path_style", None),
            login,
        )
        with self._lock:
            if key not in self._clouds:
                self._clouds[key] = AwsSession(
                    place,
                    login,
                    call_seconds=self._call_seconds(),
                    deadline=self.deadline,
                    role=self.role,
                    apart=self._apart(),
                )
            return self._clouds[key]
