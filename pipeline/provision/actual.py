"""What a Vault server has. Reads, and changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.core.errors import UsageProblem
from pipeline.provision.answers import Answer
from pipeline.provision.desired import Session, Site, Wanted
from pipeline.provision.files import Transit


@dataclass(frozen=True, slots=True)
class Mount:
    """A mount of an engine.

    Attributes:
        type: For example ``kv``.
        version: The ``version`` of its options, if it has one.
    """

    type: str
    version: str | None


@dataclass(frozen=True, slots=True)
class Actual:
    """What one server has of what it should have; ``None`` for what is not there.

    Attributes:
        version: As the server says it.
        cluster: The cluster's id, the same under each of its addresses; empty where it says none.
        openbao: Whether it is OpenBao.
        policies: Text by name.
        mounts: By path.
        auth: Type of each auth mount, by path.
        roles: Fields, by the role's path.
        kv: The configuration of each mount.
        keys: What the server says of each key.
        audit: Paths of audit devices; ``None`` where none was asked for.
    """

    version: str
    cluster: str
    openbao: bool
    policies: Mapping[str, str | None]
    mounts: Mapping[str, Mount | None]
    auth: Mapping[str, str | None]
    roles: Mapping[str, Mapping[str, Any] | None]
    kv: Mapping[str, Mapping[str, Any] | None]
    keys: Mapping[tuple[str, str], Mapping[str, Any] | None]
    audit: tuple[str, ...] | None


def read(site: Site, want: Wanted) -> Actual:
    """Look at one server.

    Raises:
        Denied: The login may not look.
        Unreachable, DeadlinePassed, UsageProblem: It does not answer as it should.
    """
    reader = _Reader(site)
    mounts = reader.body("sys/mounts")
    auth = reader.body("sys/auth")
    engines = {path: _mount(mounts.inner(f"{path}/")) for path in (*want.kv, *want.transit)}
    logins = {path: _type(auth.inner(f"{path}/")) for path in want.auth}
    status = reader.body("sys/seal-status")
    version = status.text("version") or ""
    return Actual(
        version=version,
        cluster=status.text("cluster_id") or "",
        # OpenBao counts its releases from 2, Vault was at 1 when they parted.
        openbao=not version.startswith("1."),
        policies={
            name: None
            if (policy := reader.maybe(f"sys/policies/acl/{name}")) is None
            else policy.text("policy")
            for name in want.policies
        },
        mounts=engines,
        auth=logins,
        roles={
            path: _role(reader.maybe(path)) if logins[path.split("/role/")[0].removeprefix("auth/")] else None
            for path in want.roles
        },
        kv={path: _kv(reader.body(f"{path}/config")) if _is_kv2(engines[path]) else None for path in want.kv},
        keys={
            (mount, key): _key(reader.maybe(f"{mount}/keys/{key}"))
            if _is(engines[mount], "transit")
            else None
            for mount, key in want.keys
        },
        audit=None if want.audit is None else tuple(sorted(reader.body("sys/audit").data)),
    )


class _Reader:
    def __init__(self, site: Site) -> None:
        self._session: Session = site.session
        self._label = site.label

    def maybe(self, path: str) -> Answer | None:
        """What is there; ``None`` where nothing is."""
        found = self._session.read(path, f"plan, read {path}")
        return None if found is None else Answer(found, f"plan, read {path} at {self._label}")

    def body(self, path: str) -> Answer:
        """What is there, which has to be something."""
        found = self.maybe(path)
        if found is None:
            raise UsageProblem(
                f"plan, read {path}: {self._label} has nothing there",
                hint="check the address and the namespace",
            )
        return found


def _mount(entry: Answer | None) -> Mount | None:
    if entry is None:
        return None
    options = entry.inner("options")
    return Mount(entry.text("type") or "", options.text("version") if options else None)


def _type(entry: Answer | None) -> str | None:
    return None if entry is None else entry.text("type") or "none"


def _role(role: Answer | None) -> Mapping[str, Any] | None:
    return None if role is None else role.role()


def _kv(config: Answer) -> Mapping[str, Any]:
    expires = config.expiry("delete_version_after")
    return {
        "max_versions": config.number("max_versions"),
        # As the server writes it, for people.
        "delete_version_after": config.data["delete_version_after"] if expires else "0s",
    }


def _key(key: Answer | None) -> Mapping[str, Any] | None:
    if key is None:
        return None
    flags = (*Transit.model_fields.keys() - {"type"}, "soft_deleted", "imported_key")
    return {name: key.flag(name) for name in flags} | {"type": key.text("type")}


def _is(mount: Mount | None, kind: str) -> bool:
    return mount is not None and mount.type == kind


def _is_kv2(mount: Mount | None) -> bool:
    return mount is not None and mount.type == "kv" and mount.version == "2"
