"""The logins of a run: a session for each role, server and login, made once and shared."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pipeline.config import Config
from pipeline.config.holders import KmsHolderConfig
from pipeline.config.identities import AwsIdentity, IdentityConfig, IdentityName, VaultIdentity
from pipeline.config.places import AwsPlace, VaultPlace
from pipeline.config.sections import Policy
from pipeline.core.clock import Clock, Deadline
from pipeline.core.errors import UsageProblem
from pipeline.core.retry import Breaker, Breakers, Retrier
from pipeline.providers.aws.session import AwsCredentials, AwsSession
from pipeline.providers.vault.session import VaultSession

S = TypeVar("S", VaultSession, AwsSession)

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
        deadline: Bounds every call.
        clock: Where time comes from.
        breakers: Which servers keep silent.
    """

    config: Config | None
    deadline: Deadline
    clock: Clock
    breakers: Breakers = field(default_factory=Breakers)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _vaults: dict[tuple[Any, ...], VaultSession] = field(default_factory=dict)
    _clouds: dict[tuple[Any, ...], AwsSession] = field(default_factory=dict)
    _credentials: dict[tuple[Any, ...], AwsCredentials] = field(default_factory=dict)

    def request_ids(self, role: IdentityName) -> dict[str, Sequence[str]]:
        """The request ids that the services gave to a role, by service."""

        def given(sessions: dict[tuple[Any, ...], S]) -> list[str]:
            return [item for key, one in sessions.items() if key[0] == role for item in one.request_ids]

        return {"vault": given(self._vaults), "aws": given(self._clouds)}

    def retrier(self, place: object) -> Retrier:
        """What tries calls to a place again, knowing what is known of its server."""
        return Retrier(self.deadline, clock=self.clock, breaker=self._breaker(place))

    def _breaker(self, place: object) -> Breaker | None:
        """What is known of the server behind a place; ``None`` for one on this host."""
        if isinstance(place, VaultPlace):
            return self.breakers.of(place.address)
        if isinstance(place, AwsPlace):
            service = "kms" if isinstance(place, KmsHolderConfig) else "s3"
            return self.breakers.of(place.endpoint_url or f"{service}.{place.region}")
        return None

    def _call_seconds(self) -> float:
        return self.config.policy.call_seconds if self.config else Policy().call_seconds

    def _identities(self) -> Mapping[IdentityName, IdentityConfig]:
        return self.config.identity if self.config else {}

    def _identity(self, role: IdentityName) -> IdentityConfig:
        known = self._identities()
        return next((known[name] for name in INSTEAD[role] if name in known), IdentityConfig())

    def _apart(self, role: IdentityName, name: str, login: object) -> bool:
        """Whether this role's login at AWS is nobody else's; the writer's is not while drills borrow it."""
        known = self._identities()
        others = (known[other] for other in known if other not in (role, "administrator"))
        shared = login is not None and any(other.at.get(name, other.aws) == login for other in others)
        return role in known and not shared and (role != "writer" or "driller" in known)

    def vault(self, role: IdentityName, name: str, place: VaultPlace) -> VaultSession:
        """A role's login at a Vault server, for the target or holder of this name.

        Raises:
            UsageProblem: The configuration gives a login of another kind.
        """
        identity = self._identity(role)
        login = identity.at.get(name, identity.vault)
        if login is not None and not isinstance(login, VaultIdentity):
            hint = (
                "give role_id_file and secret_id_file, token_file, or a method; see `orgkey explain logins`"
            )
            raise _no_login(role, name, "Vault", hint)
        known = VaultPlace.model_fields.keys() - {"unsealed_by"}
        reached = VaultPlace(**{name: getattr(place, name) for name in sorted(known)})

        def make() -> VaultSession:
            return VaultSession(
                reached,
                login,
                call_seconds=self._call_seconds(),
                deadline=self.deadline,
                role=role,
                refusals=self.breakers.refusals,
            )

        return self._once(self._vaults, (role, reached, login), make)

    def cloud(self, role: IdentityName, name: str, place: AwsPlace) -> AwsSession:
        """A role's login at AWS, for the target or holder of this name.

        Services with endpoints of their own share the credentials.

        Raises:
            UsageProblem: The configuration gives a login of another kind.
        """
        identity = self._identity(role)
        login = identity.at.get(name, identity.aws)
        if login is not None and not isinstance(login, AwsIdentity):
            raise _no_login(role, name, "AWS", "give profile, credentials_file or config_file")
        fields = AwsPlace.model_fields.keys()
        reached = [getattr(place, field) for field in sorted(fields)]
        shared = (role, *(getattr(place, field) for field in sorted(fields - {"endpoint_url"})), login)

        def make() -> AwsSession:
            return AwsSession(
                place,
                login,
                call_seconds=self._call_seconds(),
                deadline=self.deadline,
                role=role,
                apart=self._apart(role, name, login),
                credentials=self._credentials.setdefault(shared, AwsCredentials()),
            )

        return self._once(self._clouds, (role, *reached, getattr(place, "path_style", None), login), make)

    def _once(self, made: dict[tuple[Any, ...], S], key: tuple[Any, ...], make: Callable[[], S]) -> S:
        with self._lock:
            if key not in made:
                made[key] = make()
            return made[key]


def _no_login(role: IdentityName, name: str, service: str, hint: str) -> UsageProblem:
    return UsageProblem(f"identity.{role}.at.{name} is not a login for {service}", hint=hint)
