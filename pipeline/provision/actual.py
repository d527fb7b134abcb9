"""What a Vault server has. Reads, and changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pipeline.core.errors import UsageProblem
from pipeline.provision.desired import Site, Wanted, auth_mount
from pipeline.provision.fields import Fields, KvConfig, Mount, Role, ServerStatus, TransitKeyFields, read_as

M = TypeVar("M", bound=Fields)


class _Policy(Fields):
    policy: str | None = None


@dataclass(frozen=True, slots=True)
class Actual:
    """What one server has of what it should have; ``None`` for what is not there.

    Attributes:
        version: As the server says it.
        cluster: The cluster's id, the same under each of its addresses; empty where it says none.
        openbao: Whether it is OpenBao.
        policies: Text by name.
        mounts: By path.
        auth: Auth mounts, by path.
        roles: By path.
        kv: The configuration of each mount.
        keys: What the server says of each key.
        audit: Paths of audit devices; ``None`` where none was asked for.
    """

    version: str
    cluster: str
    openbao: bool
    policies: Mapping[str, str | None]
    mounts: Mapping[str, Mount | None]
    auth: Mapping[str, Mount | None]
    roles: Mapping[str, Role | None]
    kv: Mapping[str, KvConfig | None]
    keys: Mapping[tuple[str, str], TransitKeyFields | None]
    audit: tuple[str, ...] | None


def read(site: Site, want: Wanted) -> Actual:
    """Look at one server.

    Raises:
        Denied: The login may not look.
        Unreachable, DeadlinePassed, UsageProblem: It does not answer as it should.
    """
    mounts = _mounts(site, "sys/mounts", (*want.kv, *want.transit))
    auth = _mounts(site, "sys/auth", want.auth)
    status = read_as(ServerStatus, _answer(site, "sys/seal-status"), _what(site, "sys/seal-status"))
    policies = {name: _maybe(site, f"sys/policies/acl/{name}", _Policy) for name in want.policies}
    return Actual(
        version=status.version,
        cluster=status.cluster_id,
        # OpenBao counts its releases from 2, Vault was at 1 when they parted.
        openbao=not status.version.startswith("1."),
        policies={name: found.policy if found else None for name, found in policies.items()},
        mounts=mounts,
        auth=auth,
        roles={path: _maybe(site, path, Role) if auth[auth_mount(path)] else None for path in want.roles},
        kv={
            path: read_as(KvConfig, _answer(site, f"{path}/config"), _what(site, f"{path}/config"))
            if (mount := mounts[path]) and mount.is_kv2
            else None
            for path in want.kv
        },
        keys={
            (path, key): _maybe(site, f"{path}/keys/{key}", TransitKeyFields)
            if (mount := mounts[path]) and mount.type == "transit"
            else None
            for path, key in want.keys
        },
        audit=None if want.audit is None else tuple(sorted(_table(site, "sys/audit"))),
    )


def _what(site: Site, path: str) -> str:
    return f"plan, read {path} at {site.label}"


def _maybe(site: Site, path: str, kind: type[M]) -> M | None:
    found = site.session.read(path, f"plan, read {path}")
    return None if found is None else read_as(kind, found, _what(site, path))


def _answer(site: Site, path: str) -> Mapping[str, Any]:
    found = site.session.read(path, f"plan, read {path}")
    if found is None:
        raise UsageProblem(
            f"plan, read {path}: {site.label} has nothing there",
            hint="check the address and the namespace",
        )
    return found


def _table(site: Site, path: str) -> dict[str, Any]:
    return read_as(dict[str, Any], _answer(site, path), _what(site, path))


def _mounts(site: Site, path: str, names: tuple[str, ...]) -> dict[str, Mount | None]:
    table = _table(site, path)
    entries = {name: table.get(f"{name}/") for name in names}
    return {
        name: None if entry is None else read_as(Mount, entry, f"{_what(site, path)}, {name}/")
        for name, entry in entries.items()
    }
