"""What a Vault server should have: the files of `infra/vault/`, filled in from the configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pipeline.config import Config
from pipeline.config.holders import TransitHolderConfig
from pipeline.config.identities import IdentityName, VaultIdentity
from pipeline.config.places import VaultPlace, VaultTargetConfig
from pipeline.core.errors import UsageProblem
from pipeline.provision.files import IDENTITIES, AuditSettings, Files, plain
from pipeline.provision.files import IdentityName as FileIdentity

# Under which name the configuration has an identity's login.
_CONFIGURED: dict[str, IdentityName] = {
    "writer": "writer",
    "driller": "driller",
    "auditor": "auditor",
    "planner": "administrator",
}


class Session(Protocol):
    """A login at one server; :class:`pipeline.providers.vault.session.VaultSession` is one."""

    def read(self, path: str, what: str) -> Mapping[str, Any] | None:
        """What is at an API path; ``None`` where nothing is."""

    def write(self, path: str, body: Mapping[str, Any], what: str) -> None:
        """Write to an API path."""


@dataclass(frozen=True, slots=True)
class Site:
    """A server, or a namespace of one, with what the configuration puts there.

    Attributes:
        place: Address, namespace, CA.
        targets: By name.
        holders: By name.
        session: The administrator's login.
    """

    place: VaultPlace
    targets: Mapping[str, VaultTargetConfig]
    holders: Mapping[str, TransitHolderConfig]
    session: Session

    @property
    def label(self) -> str:
        """What it is called, for people."""
        namespace = self.place.namespace
        return f"{self.place.address} namespace {namespace}" if namespace else self.place.address


@dataclass(frozen=True, slots=True)
class RoleLogin:
    """How an identity logs in at a server, for whoever makes the secret id.

    Attributes:
        identity: ``writer``, ``driller``, ``auditor`` or ``planner``.
        role: The role's path, ``auth/approle/role/orgkey-writer``.
        role_id_file: Where the configuration expects the role id, if it says so.
        secret_id_file: Where it expects the secret id.
    """

    identity: FileIdentity
    role: str
    role_id_file: str | None
    secret_id_file: str | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one server should have.

    Attributes:
        policies: Text by name.
        logins: The roles.
        roles: A role's fields, by its path.
        kv: Mounts of version 2.
        kv_fields: What each mount's configuration should say.
        keys: Transit keys, as mount and name.
        key_fields: How a key is made.
        audit: The audit device; ``None`` where none is demanded.
    """

    policies: Mapping[str, str]
    logins: tuple[RoleLogin, ...]
    roles: Mapping[str, Mapping[str, Any]]
    kv: tuple[str, ...]
    kv_fields: Mapping[str, Any]
    keys: tuple[tuple[str, str], ...]
    key_fields: Mapping[str, Any]
    audit: AuditSettings | None

    @property
    def auth(self) -> tuple[str, ...]:
        """The auth mounts that its roles need."""
        return _distinct(auth_mount(login.role) for login in self.logins)

    @property
    def transit(self) -> tuple[str, ...]:
        """The mounts that its keys need."""
        return _distinct(mount for mount, _ in self.keys)


def auth_mount(role: str) -> str:
    """The auth mount of a role's path."""
    return role.split("/role/")[0].removeprefix("auth/")


def wanted(files: Files, config: Config | None, site: Site) -> Wanted:
    """Fill the files in for one server.

    Args:
        files: Templates and settings.
        config: Says how the identities log in; ``None`` for AppRole at its usual mount.
        site: The server.

    Raises:
        UsageProblem: A template does not fit, a name cannot stand in a policy, or a mount is to be two
            engines.
    """
    settings = files.settings
    _apart(site)
    names = (*site.targets, *site.holders)
    logins = tuple(
        login for identity in IDENTITIES for login in _logins(config, identity, names, settings.login.mount)
    )
    auth = _distinct(auth_mount(login.role) for login in logins)
    values: dict[str, list[dict[str, str]]] = {
        "token": [{}],
        "server": [{}],
        "login": [{"auth": mount} for mount in auth],
        "mount": [{"mount": item.mount} for item in site.targets.values()],
        "records": [_place(item) for item in site.targets.values()],
        "heads": [_place(item) for item in site.targets.values()],
        "share": [{"mount": item.mount.strip("/"), "key": item.key} for item in site.holders.values()],
    }
    for filled in values.values():
        for each in filled:
            for what, value in each.items():
                plain(what, value)
    return Wanted(
        policies={f"orgkey-{identity}": files.policy(identity, values) for identity in IDENTITIES},
        logins=logins,
        roles={
            login.role: {
                "token_policies": [f"orgkey-{login.identity}"],
                **settings.role_of(login.identity),
            }
            for login in logins
        },
        kv=_distinct(item.mount for item in site.targets.values()),
        kv_fields=settings.kv.model_dump(),
        keys=tuple(dict.fromkeys((item.mount.strip("/"), item.key) for item in site.holders.values())),
        key_fields=settings.transit.model_dump(),
        # Audit devices belong to the whole server: a namespace has none of its own.
        audit=settings.audit if settings.audit.required and not site.place.namespace else None,
    )


def _apart(site: Site) -> None:
    """Refuse a mount that is to be a key-value store and a Transit engine, or one inside the other."""
    for target, kv in site.targets.items():
        for holder, transit in site.holders.items():
            one, two = f"{kv.mount}/", f"{transit.mount.strip('/')}/"
            if one.startswith(two) or two.startswith(one):
                raise UsageProblem(
                    f"{site.label}: target {target} has its mount at {one[:-1]}, "
                    f"holder {holder} at {two[:-1]}: a server takes one engine there",
                    hint="give one of them another mount",
                )


def _place(target: VaultTargetConfig) -> dict[str, str]:
    return {"mount": target.mount, "prefix": f"{target.prefix}/" if target.prefix else ""}


def _logins(
    config: Config | None, identity: FileIdentity, names: Sequence[str], usual: str
) -> tuple[RoleLogin, ...]:  # one for each auth mount, in practice one
    known = config.identity.get(_CONFIGURED[identity]) if config else None
    found: dict[str, RoleLogin] = {}
    for name in names:
        login = known.at.get(name, known.vault) if known else None
        if isinstance(login, VaultIdentity) and login.way not in ("approle", "token"):
            continue  # a platform or a certificate vouches for it there; an AppRole would be a second door
        here = login if isinstance(login, VaultIdentity) and login.way == "approle" else None
        mount = here.mounted if here else usual
        if mount not in found or here:
            role = f"auth/{mount}/role/orgkey-{identity}"
            found[mount] = RoleLogin(
                identity,
                role,
                here.role_id_file if here else None,
                here.secret_id_file if here else None,
            )
    return tuple(found.values())


def _distinct(items: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(items))
