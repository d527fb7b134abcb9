"""The files of `infra/vault/`: templates of policies, and settings."""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pipeline.config.places import api_path
from pipeline.config.problems import describe
from pipeline.core.errors import UsageProblem
from pipeline.core.files import read_regular
from pipeline.core.resources import infra_path

IdentityName = Literal["writer", "driller", "auditor", "planner"]
IDENTITIES: tuple[IdentityName, ...] = get_args(IdentityName)
# In the order in which they stand in a policy, with what is filled in.
PURPOSES = ("token", "server", "login", "mount", "records", "heads", "share")
_LENGTH = re.compile(r"([0-9]+)([smh]?)")
_FACTOR = {"": 1, "s": 1, "m": 60, "h": 3600}
# What may stand in a policy's path: nothing that ends a string or is a pattern.
_PLAIN = re.compile(r"[A-Za-z0-9._@=-]+(/[A-Za-z0-9._@=-]+)*")
# No file of ours comes near.
_LARGEST = 1 << 20
# Servers count in 64 bits, lengths of time in nanoseconds.
_MOST = 2**31 - 1


def seconds(text: str) -> int:
    """Read a length of time: ``90s``, ``20m``, ``1h``; a number alone counts seconds.

    Raises:
        ValueError: It is none.
    """
    match = _LENGTH.fullmatch(text)
    if match is None:
        raise ValueError("a length of time looks like 90s, 20m or 1h")
    return int(match[1]) * _FACTOR[match[2]]


def bare(item: str) -> str:
    """An address in one form for all spellings: a single one without its length.

    Raises:
        ValueError: It is none.
    """
    network = ipaddress.ip_network(item.strip(), strict=False)
    return str(network.network_address if network.num_addresses == 1 else network)


def plain(what: str, value: str) -> None:
    """Refuse a name that has a meaning in a policy's path, or leads out of it; only a prefix may be empty.

    Raises:
        UsageProblem: It is one.
    """
    name = value.removesuffix("/")
    if not name and what == "prefix":
        return
    if not _PLAIN.fullmatch(name) or {".", ".."} & set(name.split("/")):
        raise UsageProblem(
            f"the {what} {value!r} cannot stand in a policy",
            hint="letters, digits and . _ @ = - /, without patterns, and no segments . and ..",
        )


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Kv(_Strict):
    """``[kv]``."""

    max_versions: int = Field(ge=2, le=10000)
    delete_version_after: str

    @field_validator("delete_version_after")
    @classmethod
    def _never(cls, value: str) -> str:
        if seconds(value) != 0:
            raise ValueError("records do not expire: 0s")
        return "0s"


class Transit(_Strict):
    """``[transit]``: what can be chosen is the type; the rest is what a share needs."""

    type: str
    derived: Literal[True]
    convergent_encryption: Literal[False]
    exportable: Literal[False]
    allow_plaintext_backup: Literal[False]
    deletion_allowed: Literal[False]


class Login(_Strict):
    """``[login]``."""

    mount: str

    @field_validator("mount")
    @classmethod
    def _path(cls, value: str) -> str:
        path = api_path(value)
        if not _PLAIN.fullmatch(path) or "role" in path.split("/"):
            raise ValueError("letters, digits and . _ @ = - /, and no segment role")
        return path


class Audit(_Strict):
    """``[audit]``."""

    required: bool
    type: str
    path: str
    options: Mapping[str, str]

    @field_validator("path")
    @classmethod
    def _path(cls, value: str) -> str:
        path = api_path(value)
        if not _PLAIN.fullmatch(path):
            raise ValueError("letters, digits and . _ @ = - /")
        return path


class Settings(_Strict):
    """``settings.toml``."""

    kv: Kv
    transit: Transit
    login: Login
    role: Mapping[str, Any]
    identity: Mapping[IdentityName, Mapping[str, Any]] = Field(default_factory=dict)
    audit: Audit

    @field_validator("role")
    @classmethod
    def _whole(cls, value: Mapping[str, Any]) -> Mapping[str, Any]:
        if missing := sorted(ROLE_FIELDS.keys() - value.keys() - {"token_type"}):
            raise ValueError(f"{', '.join(missing)} missing")
        return role_fields({"token_type": TOKEN_TYPE, **value})

    @field_validator("identity")
    @classmethod
    def _some(cls, value: Mapping[IdentityName, Mapping[str, Any]]) -> Mapping[IdentityName, Any]:
        return {name: role_fields(fields) for name, fields in value.items()}

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for identity in IDENTITIES:
            fields = {**self.role, **self.identity.get(identity, {})}
            if 0 < fields["token_max_ttl"] < fields["token_ttl"]:
                raise ValueError(f"the {identity}'s token_ttl is longer than its token_max_ttl")
        return self


# A batch token cannot be revoked; what a mount gives by default, anybody may tune.
TOKEN_TYPE = "service"  # noqa: S105 - a kind of token
ROLE_FIELDS: dict[str, type] = {
    "token_type": str,
    "token_ttl": str,
    "token_max_ttl": str,
    "token_explicit_max_ttl": str,
    "token_period": str,
    "token_num_uses": int,
    "token_no_default_policy": bool,
    "token_bound_cidrs": list,
    "bind_secret_id": bool,
    "secret_id_bound_cidrs": list,
    "secret_id_ttl": str,
    "secret_id_num_uses": int,
}


def role_fields(given: Mapping[str, Any]) -> dict[str, Any]:
    """Check a role's fields and write them as the server does: lengths of time in seconds.

    Raises:
        ValueError: One is unknown, or no value of its kind.
    """
    fields: dict[str, Any] = {}
    for name, value in given.items():
        if name not in ROLE_FIELDS or type(value) is not ROLE_FIELDS[name]:
            raise ValueError(f"{name} = {value!r} is not known or no value of its kind")
        if name == "token_type":
            if value != TOKEN_TYPE:
                raise ValueError(f"token_type stays {TOKEN_TYPE}: other tokens cannot be revoked")
            fields[name] = value
        elif isinstance(value, str):
            fields[name] = seconds(value)
        elif isinstance(value, list):
            fields[name] = sorted({bare(str(item)) for item in value})
        else:
            fields[name] = value
        if isinstance(fields[name], int) and not 0 <= fields[name] <= _MOST:
            raise ValueError(f"{name} = {value!r} is below zero or too large")
    if fields.get("token_no_default_policy") is False or fields.get("bind_secret_id") is False:
        raise ValueError("token_no_default_policy and bind_secret_id stay true")
    return fields


class Files:
    """The templates and settings, read once.

    Args:
        directory: Own copies of `infra/vault/`; ``None`` for the ones that came with the program.

    Raises:
        UsageProblem: Something is missing there, or not valid.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = directory or infra_path("vault")
        self.settings = self._settings(self.directory / "settings.toml")
        policies = self.directory / "policies"
        token = Template(self._read(policies / "token.hcl"))
        self._templates = {(identity, "token"): token for identity in IDENTITIES} | {
            (identity, path.stem): Template(self._read(path))
            for identity in IDENTITIES
            for path in sorted((policies / identity).glob("*.hcl"))
        }
        for identity in IDENTITIES:
            if not any(owner == identity and purpose != "token" for owner, purpose in self._templates):
                raise UsageProblem(
                    f"{policies / identity} has no policies",
                    hint="copy infra/vault whole, or leave --files out",
                )
        for identity, purpose in self._templates:
            if purpose not in PURPOSES:
                raise UsageProblem(
                    f"{self.directory}/policies/{identity}/{purpose}.hcl has no known purpose",
                    hint=f"its name is one of {', '.join(PURPOSES)}",
                )

    def policy(self, identity: IdentityName, values: Mapping[str, list[dict[str, str]]]) -> str:
        """Write a policy: each template once for each set of values of its purpose.

        Args:
            identity: Whose.
            values: For each purpose the placeholders' values.

        Raises:
            UsageProblem: A template has a placeholder that its purpose does not fill.
        """
        parts = [f"# Policy orgkey-{identity} of orgkey-escrow, made from infra/vault.\n"]
        for purpose in PURPOSES:
            template = self._templates.get((identity, purpose))
            for filled in values.get(purpose, []) if template else []:
                part = self._fill(template, filled, f"{identity}/{purpose}.hcl")
                if part not in parts:
                    parts.append(part)
        return "\n".join(parts)

    def _fill(self, template: Template | None, values: Mapping[str, str], name: str) -> str:
        assert template is not None
        try:
            return template.substitute(values)
        except (KeyError, ValueError) as error:
            raise UsageProblem(
                f"{self.directory}/policies/{name}: {error} is not a placeholder here",
                hint=f"there are {', '.join(f'${{{key}}}' for key in values) or 'none'}",
            ) from None

    def _settings(self, path: Path) -> Settings:
        try:
            document = tomllib.loads(self._read(path))
        except tomllib.TOMLDecodeError as error:
            raise UsageProblem(
                f"{path} is not TOML: {error}", hint="correct the line that it names"
            ) from error
        try:
            return Settings.model_validate(document)
        except ValidationError as error:
            raise UsageProblem(
                f"{path}: {describe(error, Settings, document)}",
                hint="infra/vault/settings.toml explains each setting",
            ) from None

    @staticmethod
    def _read(path: Path) -> str:
        try:
            data = read_regular(path, _LARGEST)
            if data is None:
                raise ValueError("it is not a regular file")
            if len(data) > _LARGEST:
                raise ValueError("it is larger than 1 MiB")
            return data.decode()
        except (OSError, ValueError) as error:
            said = "it is not text" if isinstance(error, UnicodeDecodeError) else str(error)
            raise UsageProblem(
                f"cannot read {path}: {getattr(error, 'strerror', None) or said}",
                hint="copy infra/vault whole, or leave --files out",
            ) from error
