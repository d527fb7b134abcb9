"""The fields of roles, mounts and keys, each read in one form for all its spellings.

``settings.toml`` and the answers of a server are read by the same types; ``None`` is what is not there.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, TypeAdapter, ValidationError

from pipeline.core.errors import Unreachable

T = TypeVar("T")
_PARTS = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ns|us|µs|ms|s|m|h)")
_FACTOR = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}


def whole(value: Any) -> int:
    """Read a whole number.

    Raises:
        ValueError: It is not one.
    """
    if type(value) is float and value.is_integer():
        return int(value)
    if type(value) is not int:
        raise ValueError("is not a whole number")
    return value


def seconds(value: Any) -> int:
    """Read a length of time: ``90s``, ``20m``, ``768h0m0s``; a number alone counts seconds.

    Raises:
        ValueError: It is not one.
    """
    if not isinstance(value, str):
        return whole(value)
    if value.isascii() and value.isdigit():
        return int(value[:18])
    parts = _PARTS.findall(value)
    if not parts or "".join(map("".join, parts)) != value:
        raise ValueError("a length of time looks like 90s, 20m or 1h")
    # What is shorter than a second is still not "without an end".
    exact = sum(float(count) * _FACTOR[unit] for count, unit in parts)
    return max(int(exact), int(exact > 0))


def bare(item: str) -> str:
    """An address in one form for all spellings: a single one without its length.

    Raises:
        ValueError: It is not one.
    """
    network = ipaddress.ip_network(item.strip(), strict=False)
    return str(network.network_address if network.num_addresses == 1 else network)


def _bare_or_odd(item: str) -> str:
    try:
        return bare(item)
    except ValueError:
        return item  # it differs from whatever is wanted


def _expiry(value: Any) -> str:
    """A length of time as the server writes it; a negative one, which switches expiry off, is 0 like none."""
    if value is None:
        return "0s"
    length = seconds(value.removeprefix("-") if isinstance(value, str) else value)
    return str(value) if length > 0 and not str(value).startswith("-") else "0s"


Number = Annotated[int, BeforeValidator(whole)]
Length = Annotated[int, BeforeValidator(seconds)]
Addresses = Annotated[list[str], AfterValidator(lambda items: sorted({_bare_or_odd(item) for item in items}))]


class Fields(BaseModel):
    """Fields of an object; others that a server has are left alone."""

    model_config = ConfigDict(strict=True, frozen=True)


class RoleFields(Fields):
    """What a role says of logins and tokens, except whose policies it gives."""

    token_type: str | None = None
    token_ttl: Length | None = None
    token_max_ttl: Length | None = None
    token_explicit_max_ttl: Length | None = None
    token_period: Length | None = None
    token_num_uses: Number | None = None
    token_no_default_policy: bool | None = None
    token_bound_cidrs: Addresses | None = None
    bind_secret_id: bool | None = None
    secret_id_bound_cidrs: Addresses | None = None
    secret_id_ttl: Length | None = None
    secret_id_num_uses: Number | None = None


class Role(RoleFields):
    """A role as a server has it."""

    token_policies: list[str] | None = None


class KvConfig(Fields):
    """The configuration of a key-value store."""

    max_versions: Number | None = None
    delete_version_after: Annotated[str, BeforeValidator(_expiry)] = "0s"


class TransitKeyFields(Fields):
    """A Transit key."""

    type: str | None = None
    derived: bool | None = None
    convergent_encryption: bool | None = None
    exportable: bool | None = None
    allow_plaintext_backup: bool | None = None
    deletion_allowed: bool | None = None
    soft_deleted: bool | None = None
    imported_key: bool | None = None


class PolicyFields(Fields):
    """A policy."""

    policy: str | None = None


class MountOptions(Fields):
    """The options of a mount."""

    version: str | None = None


class Mount(Fields):
    """A mount of an engine, of an auth method, or an audit device."""

    type: str = ""
    options: MountOptions | None = None

    @property
    def is_kv2(self) -> bool:
        """Whether it is a key-value store that keeps versions."""
        return self.type == "kv" and self.options is not None and self.options.version == "2"


class ServerStatus(Fields):
    """What a server says of itself without a login."""

    version: str = ""
    cluster_id: str = ""


def read_as(kind: type[T], data: Any, what: str) -> T:
    """Read an answer of a server.

    Args:
        kind: What it has to be.
        data: The answer.
        what: What it was asked for: ``plan, read sys/mounts at https://vault.example.com:8200``.

    Raises:
        Unreachable: It, or a field of it, is of another kind.
    """
    try:
        return TypeAdapter(kind).validate_python(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name, value = ".".join(map(str, first["loc"])), repr(first["input"])
        value = value if len(value) <= 60 else f"{value[:60]}..."
        raise Unreachable(
            f"{what}: the server's answer {f'says {name} = {value}' if name else f'is {value}'}",
            hint="check that the address is that of a vault, with no proxy that changes answers",
            again=False,
        ) from None
