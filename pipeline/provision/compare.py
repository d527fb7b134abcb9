"""Differences between what a server should have and what it has, each with the request that mends it."""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.core.errors import Code
from pipeline.provision import policy
from pipeline.provision.actual import Actual
from pipeline.provision.desired import Wanted, auth_mount
from pipeline.provision.fields import KvConfig

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
class ServerChange:
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
    """What is wrong and cannot be mended from here, or a server that could not be asked.

    Attributes:
        server: Where.
        object: What.
        message: What is wrong with it.
        hint: What to do.
        code: What a run with it ends with.
    """

    server: str
    object: str
    message: str
    hint: str
    code: Code = Code.CONFLICT


def compare(server: str, want: Wanted, have: Actual) -> tuple[list[ServerChange], list[Fault]]:
    """Compare one server, in the order in which differences can be mended."""
    found = _Comparison(server, want, have)
    for look in (found.mounts, found.keys, found.policies, found.auth, found.roles, found.audit):
        look()
    return found.changes, found.faults


class _Comparison:
    def __init__(self, server: str, want: Wanted, have: Actual) -> None:
        self.server, self.want, self.have = server, want, have
        self.changes: list[ServerChange] = []
        self.faults: list[Fault] = []

    def missing(self, path: str, body: Mapping[str, Any], **more: Any) -> None:
        self.changes.append(
            ServerChange(self.server, path, "exists", False, True, **{"call": path, "body": body} | more)
        )

    def differs(
        self, path: str, field: str, have: Any, want: Any, surplus: tuple[str, ...], call: str = ""
    ) -> None:
        self.changes.append(
            ServerChange(self.server, path, field, have, want, call or path, {field: want}, surplus=surplus)
        )

    def fault(self, path: str, message: str, hint: str) -> None:
        self.faults.append(Fault(self.server, path, message, hint))

    def mounts(self) -> None:
        for path in (*self.want.kv, *self.want.transit):
            kind = "kv" if path in self.want.kv else "transit"
            found, called = self.have.mounts[path], f"sys/mounts/{path}"
            if found is None:
                options = {"options": {"version": "2"}} if kind == "kv" else {}
                self.missing(called, {"type": kind} | options)
            elif found.type != kind:
                self.fault(
                    called,
                    f"there is an engine of type {found.type or 'none'}, not {kind}",
                    "name another mount in the configuration; no mount is ever removed",
                )
                continue
            elif kind == "kv" and not found.is_kv2:
                self.fault(
                    called,
                    "it is a key-value store of version 1, which keeps no versions",
                    f"name another mount, or raise it yourself: vault kv enable-versioning {path}",
                )
                continue
            if kind == "kv":
                self.kv(f"{path}/config", self.have.kv[path] or KvConfig())

    def kv(self, path: str, have: KvConfig) -> None:
        kept, want = have.max_versions or 0, self.want.kv_fields["max_versions"]
        if (kept or _DEFAULT_VERSIONS) < want:
            few = ("versions are lost after fewer writes",) if 0 < kept < _DEFAULT_VERSIONS else ()
            self.differs(path, "max_versions", kept, want, few)
        if (expires := have.delete_version_after) != "0s":
            self.differs(path, "delete_version_after", expires, "0s", ("versions expire by themselves",))

    def keys(self) -> None:
        new = {name: value for name, value in self.want.key_fields.items() if name != "deletion_allowed"}
        for mount, key in self.want.keys:
            engine = self.have.mounts[mount]
            if engine is not None and engine.type != "transit":
                continue  # the mount is a fault already
            found, path = self.have.keys[mount, key], f"{mount}/keys/{key}"
            if found is None:
                self.missing(path, new)
                continue
            wrong = [
                f"{name} is {_word(has)}, should be {_word(value)}"
                for name, value in new.items()
                if _plain(has := getattr(found, name), value) != value
            ]
            if found.imported_key:
                wrong.append("it was imported: whoever imported it may have it")
            if found.soft_deleted:
                wrong.append("it is marked as deleted")
            if wrong:
                self.fault(
                    path,
                    "; ".join(wrong),
                    "this cannot be changed: name a new key in the configuration, and rotate custody to it",
                )
            if found.deletion_allowed:
                more = ("whoever may delete keys can delete it, and every share with it",)
                self.differs(path, "deletion_allowed", True, False, more, f"{path}/config")

    def policies(self) -> None:
        for name, text in self.want.policies.items():
            found, path = self.have.policies[name], f"sys/policies/acl/{name}"
            if found is not None and found.strip() == text.strip():
                continue
            diff = policy.diff(name, found or "", text)
            if found is None:
                self.missing(path, {"policy": text}, diff=diff)
            else:
                given = policy.surplus(found, text)
                more = ("what cannot be judged",) if given is None else tuple(given)
                self.changes.append(
                    ServerChange(self.server, path, "policy", found, text, path, {"policy": text}, diff, more)
                )

    def auth(self) -> None:
        for mount in self.want.auth:
            found, path = self.have.auth[mount], f"sys/auth/{mount}"
            if found is None:
                self.missing(path, {"type": "approle"})
            elif found.type != "approle":
                self.fault(
                    path,
                    f"it is of type {found.type or 'none'}, not approle",
                    "name another mount: [login] of settings.toml, or mount in the identity's login",
                )

    def roles(self) -> None:
        for path, fields in self.want.roles.items():
            engine, found = self.have.auth[auth_mount(path)], self.have.roles[path]
            if engine is not None and engine.type != "approle":
                continue
            if found is None:
                self.missing(path, fields)
                continue
            for name, value in fields.items():
                has = _plain(getattr(found, name), value)
                if has != value:
                    self.differs(path, name, has, value, _role_surplus(name, has, value))

    def audit(self) -> None:
        device = self.want.audit
        if device is None or self.have.audit:
            return
        path, options = f"sys/audit/{device.path}", dict(device.options)
        if not self.have.openbao:
            self.missing(path, {"type": device.type, "options": options})
            return
        lines = "".join(f'\n    {name} = "{value}"' for name, value in options.items())
        text = (
            "do by hand: OpenBao takes audit devices from its configuration file only; add\n"
            f'audit "{device.type}" "{device.path}" {{\n  options {{{lines}\n  }}\n}}\n'
            "and let the server read it again (SIGHUP)"
        )
        self.missing(path, {}, call="", by_hand=text)


def _role_surplus(name: str, have: Any, want: Any) -> tuple[str, ...]:
    """What a role's field gives beyond what it should, in words."""
    other = ", ".join(sorted(set(have) - set(want))) if name == "token_policies" else ""
    cases = (
        (bool(other), f"also the policies {other}"),
        (name == "token_no_default_policy" and not have, "also the policy default"),
        (name == "bind_secret_id" and not have, "logins without a secret id"),
        (name == "token_type" and "batch" in str(have), "tokens that cannot be revoked"),
        (name == "token_period" and bool(have), "tokens without an end"),
        (name in _LIMITS and (have == 0 or (want != 0 and have > want)), f"a longer or looser {name}"),
        (
            name.endswith("_bound_cidrs") and not _within(have, want),
            "logins and tokens from further addresses",
        ),
    )
    return tuple(words for looser, words in cases if looser)


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
