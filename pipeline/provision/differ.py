"""Differences between what a server should have and what it has, each with the request that mends it."""

from __future__ import annotations

import dataclasses
import difflib
import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.provision.actual import Actual, Mount
from pipeline.provision.desired import Wanted
from pipeline.provision.rights import surplus

# What a new mount has, and a mount where nothing was set.
_FRESH_KV = {"max_versions": 0, "delete_version_after": "0s"}
_DEFAULT_VERSIONS = 10
# More of it, or none where zero means "without an end", is more than was meant.
_LIMITS = frozenset(
    {
        "token_ttl",
        "token_max_ttl",
        "token_explicit_max_ttl",
        "token_num_uses",
        "secret_id_ttl",
        "secret_id_num_uses",
    }
)


@dataclass(frozen=True, slots=True)
class Change:
    """One difference that can be mended.

    Attributes:
        server: Where; its address and namespace.
        object: What, as the API's path: ``auth/approle/role/orgkey-writer``.
        field: Which of its fields; ``exists`` where the whole is missing.
        have: What the server has.
        want: What it should have.
        call: The API path that is written to; empty where it is done by hand.
        body: What is written there.
        diff: For policies, the lines that differ.
        surplus: What the server gives beyond what it should, in words; empty for none.
        by_hand: What to do, where the API cannot.
    """

    server: str
    object: str
    field: str
    have: Any
    want: Any
    call: str
    body: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    diff: str = ""
    surplus: tuple[str, ...] = ()
    by_hand: str = ""

    @property
    def widens(self) -> bool:
        """Whether the server gives more than it should."""
        return bool(self.surplus)

    @property
    def made(self) -> str:
        """In one line, once it is done."""
        if self.field in ("exists", "policy"):
            return f"made {self.object}" if self.field == "exists" else f"wrote {self.object}"
        return f"set {self.object}: {self.field} = {_word(self.want)}"

    @property
    def summary(self) -> str:
        """In one line."""
        if self.field == "exists":
            return f"{self.object} is missing"
        if self.field == "policy":
            return f"{self.object} differs"
        return f"{self.object}: {self.field} is {_word(self.have)}, should be {_word(self.want)}"


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong and cannot be mended without losing something.

    Attributes:
        server: Where.
        object: What.
        message: What is wrong with it.
        hint: What to do.
    """

    server: str
    object: str
    message: str
    hint: str


def compare(server: str, want: Wanted, have: Actual) -> tuple[list[Change], list[Fault]]:
    """Compare one server, in the order in which differences can be mended."""
    faults: list[Fault] = []
    changes = [
        *_mounts(server, want, have, faults),
        *_keys(server, want, have, faults),
        *_policies(server, want, have),
        *_auth(server, want, have, faults),
        *_roles(server, want, have),
        *_audit(server, want, have),
    ]
    return changes, faults


def _mounts(server: str, want: Wanted, have: Actual, faults: list[Fault]) -> Iterator[Change]:
    for path in (*want.kv, *want.transit):
        kind = "kv" if path in want.kv else "transit"
        found = have.mounts[path]
        if found is None:
            body: dict[str, Any] = {"type": kind} | ({"options": {"version": "2"}} if kind == "kv" else {})
            yield Change(server, f"sys/mounts/{path}", "exists", False, True, f"sys/mounts/{path}", body)
        elif fault := _wrong_mount(server, path, kind, found):
            faults.append(fault)
            continue
        if kind == "kv":
            yield from _kv(server, path, want.kv_fields, have.kv[path] or _FRESH_KV)


def _wrong_mount(server: str, path: str, kind: str, found: Mount) -> Fault | None:
    if found.type != kind:
        return Fault(
            server,
            f"sys/mounts/{path}",
            f"there is an engine of type {found.type}, not {kind}",
            "name another mount in the configuration; no mount is ever removed",
        )
    if kind == "kv" and found.version != "2":
        return Fault(
            server,
            f"sys/mounts/{path}",
            "it is a key-value store of version 1, which keeps no versions",
            f"name another mount, or raise it yourself: vault kv enable-versioning {path}",
        )
    return None


def _kv(server: str, path: str, want: Mapping[str, Any], have: Mapping[str, Any]) -> Iterator[Change]:
    call = f"{path}/config"
    kept = int(have.get("max_versions") or 0)
    if (kept or _DEFAULT_VERSIONS) < want["max_versions"]:
        loses = ("versions are lost after fewer writes",) if kept and kept < _DEFAULT_VERSIONS else ()
        value = {"max_versions": want["max_versions"]}
        yield Change(server, call, "max_versions", kept, want["max_versions"], call, value, surplus=loses)
    expires = str(have.get("delete_version_after") or "0s")
    if expires not in ("0s", "0"):
        value = {"delete_version_after": "0s"}
        loses = ("versions expire by themselves",)
        yield Change(server, call, "delete_version_after", expires, "0s", call, value, surplus=loses)


def _keys(server: str, want: Wanted, have: Actual, faults: list[Fault]) -> Iterator[Change]:
    new = {name: value for name, value in want.key_fields.items() if name != "deletion_allowed"}
    for mount, key in want.keys:
        engine = have.mounts[mount]
        if engine is not None and engine.type != "transit":
            continue  # told of the mount already
        found, path = have.keys[mount, key], f"{mount}/keys/{key}"
        if found is None:
            yield Change(server, path, "exists", False, True, path, new)
            continue
        wrong = [
            f"{name} is {_word(found.get(name))}, should be {_word(value)}"
            for name, value in new.items()
            if _plain(found.get(name), value) != value
        ]
        if found.get("imported_key"):
            wrong.append("it was imported: whoever imported it may have it")
        if found.get("soft_deleted"):
            wrong.append("it is marked as deleted")
        if wrong:
            faults.append(
                Fault(
                    server,
                    path,
                    "; ".join(wrong),
                    "this cannot be changed: name a new key in the configuration, and rotate custody to it",
                )
            )
        if found.get("deletion_allowed"):
            yield Change(
                server,
                path,
                "deletion_allowed",
                True,
                False,
                f"{path}/config",
                {"deletion_allowed": False},
                surplus=("whoever may delete keys can delete it, and every share with it",),
            )


def _policies(server: str, want: Wanted, have: Actual) -> Iterator[Change]:
    for name, text in want.policies.items():
        found, path = have.policies[name], f"sys/policies/acl/{name}"
        if found is not None and found.strip() == text.strip():
            continue
        more: tuple[str, ...] = ()
        if found is not None:
            given = surplus(found, text)
            more = ("what cannot be judged",) if given is None else tuple(given)
        lines = difflib.unified_diff(
            (found or "").splitlines(), text.splitlines(), f"{name} (server)", f"{name} (files)", lineterm=""
        )
        yield Change(
            server,
            path,
            "exists" if found is None else "policy",
            False if found is None else found,
            True if found is None else text,
            path,
            {"policy": text},
            diff="\n".join(lines) or "only line ends differ",
            surplus=more,
        )


def _auth(server: str, want: Wanted, have: Actual, faults: list[Fault]) -> Iterator[Change]:
    for path in want.auth:
        if have.auth[path] is None:
            yield Change(
                server, f"sys/auth/{path}", "exists", False, True, f"sys/auth/{path}", {"type": "approle"}
            )
        elif have.auth[path] != "approle":
            faults.append(
                Fault(
                    server,
                    f"sys/auth/{path}",
                    f"it is of type {have.auth[path]}, not approle",
                    "name another mount: [login] of settings.toml, or mount in the identity's login",
                )
            )


def _roles(server: str, want: Wanted, have: Actual) -> Iterator[Change]:
    for path, fields in want.roles.items():
        if have.auth[path.split("/role/")[0].removeprefix("auth/")] not in (None, "approle"):
            continue
        found = have.roles[path]
        if found is None:
            yield Change(server, path, "exists", False, True, path, fields)
            continue
        for name, value in fields.items():
            had = _plain(found.get(name), value)
            if had != value:
                more = _role_surplus(name, had, value)
                yield Change(server, path, name, had, value, path, {name: value}, surplus=more)


def _role_surplus(name: str, have: Any, want: Any) -> tuple[str, ...]:
    """What a role's field gives beyond what it should, in words."""
    said: str | None = None
    if name == "token_policies":
        more = sorted(set(have) - set(want))
        said = f"also the policies {', '.join(more)}" if more else None
    elif name == "token_no_default_policy" and not have:
        said = "also the policy default"
    elif name == "bind_secret_id" and not have:
        said = "logins without a secret id"
    elif name == "token_type" and "batch" in str(have):
        said = "tokens that cannot be revoked"
    elif name == "token_period" and have:
        said = "tokens without an end"
    elif name in _LIMITS and (have == 0 or (want != 0 and have > want)):
        said = f"a longer or looser {name}"
    elif name.endswith("_bound_cidrs") and not _within(have, want):
        said = "logins and tokens from further addresses"
    return () if said is None else (said,)


def _within(have: list[str], want: list[str]) -> bool:
    """Whether addresses are bound at least as tightly; no list binds nothing."""
    if not want or not have:
        return bool(have) or not want
    try:
        outer = [ipaddress.ip_network(item, strict=False) for item in want]
        return all(
            any(
                net.version == each.version and net.subnet_of(each)  # type: ignore[arg-type]
                for each in outer
            )
            for net in (ipaddress.ip_network(item, strict=False) for item in have)
        )
    except ValueError:
        return False


def _audit(server: str, want: Wanted, have: Actual) -> Iterator[Change]:
    device = want.audit
    if device is None or have.audit:
        return
    path = f"sys/audit/{device.path}"
    if have.openbao:
        options = "".join(f'\n    {name} = "{value}"' for name, value in device.options.items())
        text = (
            "do by hand: OpenBao takes audit devices from its configuration file only; add\n"
            f'audit "{device.type}" "{device.path}" {{\n  options {{{options}\n  }}\n}}\n'
            "and let the server read it again (SIGHUP)"
        )
        yield Change(server, path, "exists", False, True, "", by_hand=text)
        return
    body = {"type": device.type, "options": dict(device.options)}
    yield Change(server, path, "exists", False, True, path, body)


def _plain(found: Any, like: Any) -> Any:
    """A value as the server gives it, in the form of the one that it is compared with."""
    if isinstance(like, list):
        return sorted(map(str, found or []))
    if isinstance(like, bool):
        return bool(found)
    if isinstance(like, int):
        return int(found or 0)
    return found


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "empty"
    return "not set" if value is None else str(value)
