"""One server, compared: what it should have, what it has, and the request that mends each difference."""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pipeline.core.errors import Code, UsageProblem
from pipeline.provision import policy
from pipeline.provision.desired import Site, Wanted, auth_mount
from pipeline.provision.fields import (
    KvConfig,
    Mount,
    PolicyFields,
    Role,
    ServerStatus,
    TransitKeyFields,
    read_as,
)

T = TypeVar("T")
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


class Comparison:
    """Looks at one server, object by object, in the order in which differences can be mended.

    Args:
        site: The server.
        want: What it should have.

    Attributes:
        status: What the server says of itself.
        openbao: Whether it is OpenBao.
        changes: What can be mended.
        faults: What cannot.

    Raises:
        Denied: The login may not look.
        Unreachable, DeadlinePassed, UsageProblem: It does not answer as it should.
    """

    def __init__(self, site: Site, want: Wanted) -> None:
        self._site = site
        self._want = want
        self.changes: list[ServerChange] = []
        self.faults: list[Fault] = []
        self.status = self._demand("sys/seal-status", ServerStatus)
        engines = self._demand("sys/mounts", dict[str, Any])
        self.openbao = _is_openbao(self.status.version, engines)
        self._engines = self._mounts("sys/mounts", engines, (*want.kv, *want.transit))
        self._auth = self._mounts("sys/auth", self._demand("sys/auth", dict[str, Any]), want.auth)
        for look in (
            self._kv_and_transit,
            self._keys,
            self._policies,
            self._approle,
            self._roles,
            self._audit,
        ):
            look()

    # -- what the server has ---------------------------------------------------------------------

    def _read(self, path: str, kind: type[T]) -> T | None:
        found = self._site.session.read(path, f"plan, read {path}")
        return None if found is None else read_as(kind, found, self._what(path))

    def _demand(self, path: str, kind: type[T]) -> T:
        found = self._read(path, kind)
        if found is None:
            raise UsageProblem(
                f"plan, read {path}: {self._site.label} has nothing there",
                hint="check the address and the namespace",
            )
        return found

    def _mounts(self, path: str, table: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Mount | None]:
        return {
            name: None
            if (entry := table.get(f"{name}/")) is None
            else read_as(Mount, entry, f"{self._what(path)}, {name}/")
            for name in names
        }

    def _what(self, path: str) -> str:
        return f"plan, read {path} at {self._site.label}"

    # -- what differs ----------------------------------------------------------------------------

    def _missing(self, path: str, body: Mapping[str, Any], **more: Any) -> None:
        named = {"call": path, "body": body} | more
        self.changes.append(ServerChange(self._site.label, path, "exists", False, True, **named))

    def _differs(
        self, path: str, field: str, have: Any, want: Any, surplus: tuple[str, ...], **more: Any
    ) -> None:
        named = {"call": path, "body": {field: want}} | more
        self.changes.append(ServerChange(self._site.label, path, field, have, want, **named, surplus=surplus))

    def _fault(self, path: str, message: str, hint: str) -> None:
        self.faults.append(Fault(self._site.label, path, message, hint))

    def _kv_and_transit(self) -> None:
        for path, found in self._engines.items():
            kind, called = "kv" if path in self._want.kv else "transit", f"sys/mounts/{path}"
            if found is None:
                options = {"options": {"version": "2"}} if kind == "kv" else {}
                self._missing(called, {"type": kind} | options)
            elif found.type != kind:
                self._fault(
                    called,
                    f"there is an engine of type {found.type or 'none'}, not {kind}",
                    "name another mount in the configuration; no mount is ever removed",
                )
                continue
            elif kind == "kv" and not found.is_kv2:
                self._fault(
                    called,
                    "it is a key-value store of version 1, which keeps no versions",
                    "name another mount, or raise it yourself: "
                    + self._site.place.command("kv enable-versioning", path),
                )
                continue
            if kind == "kv":
                self._kv(f"{path}/config", new=found is None)

    def _kv(self, path: str, *, new: bool) -> None:
        have = KvConfig() if new else self._demand(path, KvConfig)
        kept, want = have.max_versions or 0, self._want.kv_fields["max_versions"]
        if (kept or _DEFAULT_VERSIONS) < want:
            few = ("versions are lost after fewer writes",) if 0 < kept < _DEFAULT_VERSIONS else ()
            self._differs(path, "max_versions", kept, want, few)
        if (expires := have.delete_version_after) != "0s":
            self._differs(path, "delete_version_after", expires, "0s", ("versions expire by themselves",))

    def _keys(self) -> None:
        new = {name: value for name, value in self._want.key_fields.items() if name != "deletion_allowed"}
        for mount, key in self._want.keys:
            engine, path = self._engines[mount], f"{mount}/keys/{key}"
            if engine is not None and engine.type != "transit":
                continue  # the mount is a fault already
            found = self._read(path, TransitKeyFields) if engine else None
            if found is None:
                self._missing(path, new)
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
                self._fault(
                    path,
                    "; ".join(wrong),
                    "this cannot be changed: name a new key in the configuration, and rotate custody to it",
                )
            if found.deletion_allowed:
                more = ("whoever may delete keys can delete it, and every share with it",)
                self._differs(path, "deletion_allowed", True, False, more, call=f"{path}/config")

    def _policies(self) -> None:
        for name, text in self._want.policies.items():
            path = f"sys/policies/acl/{name}"
            answer = self._read(path, PolicyFields)
            found = answer.policy if answer else None
            if found is not None and found.strip() == text.strip():
                continue
            diff = policy.diff(name, found or "", text)
            if found is None:
                self._missing(path, {"policy": text}, diff=diff)
            else:
                given = policy.surplus(found, text)
                surplus = ("what cannot be judged",) if given is None else tuple(given)
                self._differs(path, "policy", found, text, surplus, diff=diff)

    def _approle(self) -> None:
        for mount, found in self._auth.items():
            path = f"sys/auth/{mount}"
            if found is None:
                self._missing(path, {"type": "approle"})
            elif found.type != "approle":
                self._fault(
                    path,
                    f"it is of type {found.type or 'none'}, not approle",
                    "name another mount: [login] of settings.toml, or mount in the identity's login",
                )

    def _roles(self) -> None:
        for path, fields in self._want.roles.items():
            engine = self._auth[auth_mount(path)]
            if engine is not None and engine.type != "approle":
                continue
            found = self._read(path, Role) if engine else None
            if found is None:
                self._missing(path, fields)
                continue
            for name, value in fields.items():
                has = _plain(getattr(found, name), value)
                if has != value:
                    self._differs(path, name, has, value, _role_surplus(name, has, value))

    def _audit(self) -> None:
        device = self._want.audit
        if device is None or self._demand("sys/audit", dict[str, Any]):
            return
        path, options = f"sys/audit/{device.path}", dict(device.options)
        if not self.openbao:
            self._missing(path, {"type": device.type, "options": options})
            return
        lines = "".join(f'\n    {name} = "{value}"' for name, value in options.items())
        text = (
            "do by hand: OpenBao takes audit devices from its configuration file only; add\n"
            f'audit "{device.type}" "{device.path}" {{\n  options {{{lines}\n  }}\n}}\n'
            "and let the server read it again (SIGHUP)"
        )
        self._missing(path, {}, call="", by_hand=text)


def _is_openbao(version: str, engines: Mapping[str, Any]) -> bool:
    """Whether a server is OpenBao: both are at 2 by now, but each says that it made its engines."""
    made = {
        str(entry.get("running_plugin_version")) for entry in engines.values() if isinstance(entry, Mapping)
    }
    by_vault = any(each.endswith("+builtin.vault") for each in made)
    return not (by_vault or version.startswith("1."))


def _role_surplus(name: str, have: Any, want: Any) -> tuple[str, ...]:
    """What a role's field gives beyond what it should, in words."""
    other = ", ".join(sorted(set(have) - set(want))) if name == "token_policies" else ""
    further = name.endswith("_bound_cidrs") and not _within(have, want)
    cases = (
        (bool(other), f"also the policies {other}"),
        (name == "token_no_default_policy" and not have, "also the policy default"),
        (name == "bind_secret_id" and not have, "logins without a secret id"),
        (name == "token_type" and "batch" in str(have), "tokens that cannot be revoked"),
        (name == "token_period" and bool(have), "tokens without an end"),
        (name in _LIMITS and (have == 0 or (want != 0 and have > want)), f"a longer or looser {name}"),
        (further, "logins and tokens from further addresses"),
    )
    return tuple(words for looser, words in cases if looser)


def _within(have: list[str], want: list[str]) -> bool:
    """Whether addresses are bound at least as tightly; no list binds nothing."""
    if not want or not have:
        return bool(have) or not want
    try:
        inner, outer = ([ipaddress.ip_network(item, strict=False) for item in each] for each in (have, want))
        return all(
            any(net.version == each.version and net.subnet_of(each) for each in outer)  # type: ignore[arg-type]
            for net in inner
        )
    except ValueError:
        return False


def _plain(found: Any, like: Any) -> Any:
    """A value as the server gives it, in the form of the one that it is compared with."""
    if isinstance(like, list):
        return sorted(map(str, found or []))
    if isinstance(like, bool | int):
        return type(like)(found or 0)
    return found


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "empty"
    return "not set" if value is None else str(value)
