"""The files of `infra/vault/`: templates of policies, and settings."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from pipeline.config.places import api_path
from pipeline.config.problems import describe
from pipeline.core.errors import UsageProblem
from pipeline.core.files import read_regular
from pipeline.core.resources import infra_path
from pipeline.provision.fields import RoleFields, bare, seconds

IdentityName = Literal["writer", "driller", "auditor", "planner"]
IDENTITIES: tuple[IdentityName, ...] = get_args(IdentityName)
# In the order in which they stand in a policy, with what is filled in.
PURPOSES = ("token", "server", "login", "mount", "records", "heads", "share")
# What may stand in a policy's path: nothing that ends a string or is a pattern.
_PLAIN = re.compile(r"[A-Za-z0-9._@=-]+(/[A-Za-z0-9._@=-]+)*")
# No file of ours comes near.
_LARGEST = 1 << 20
# Servers count in 64 bits, lengths of time in nanoseconds.
_MOST = 2**31 - 1


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


def _policy_path(value: str) -> str:
    path = api_path(value)
    if not _PLAIN.fullmatch(path):
        raise ValueError("letters, digits and . _ @ = - /")
    return path


PolicyPath = Annotated[str, AfterValidator(_policy_path)]


class KvSettings(_Strict):
    """``[kv]``."""

    max_versions: int = Field(ge=2, le=10000)
    delete_version_after: str

    @field_validator("delete_version_after")
    @classmethod
    def _never(cls, value: str) -> str:
        if seconds(value) != 0:
            raise ValueError("records do not expire: 0s")
        return "0s"


class TransitSettings(_Strict):
    """``[transit]``: what can be chosen is the type; the rest is what a share needs."""

    type: str
    derived: Literal[True]
    convergent_encryption: Literal[False]
    exportable: Literal[False]
    allow_plaintext_backup: Literal[False]
    deletion_allowed: Literal[False]


class LoginSettings(_Strict):
    """``[login]``."""

    mount: PolicyPath

    @field_validator("mount")
    @classmethod
    def _no_role(cls, value: str) -> str:
        if "role" in value.split("/"):
            raise ValueError("a mount has no segment role")
        return value


class RoleSettings(RoleFields):
    """``[role]``, and what differs for one identity: whatever a role is given, tokens can be revoked."""

    model_config = ConfigDict(extra="forbid")

    token_type: Literal["service"] = "service"  # noqa: S105 - a kind of token
    token_no_default_policy: Literal[True] | None = None
    bind_secret_id: Literal[True] | None = None

    @field_validator("token_type", mode="before")
    @classmethod
    def _revocable(cls, value: Any) -> Any:
        # A batch token cannot be revoked; what a mount gives by default, anybody may tune.
        if value != "service":
            raise ValueError("stays service: other tokens cannot be revoked")
        return value

    @field_validator("*")
    @classmethod
    def _counted(cls, value: Any) -> Any:
        if type(value) is int and not 0 <= value <= _MOST:
            raise ValueError("is below zero or too large")
        return value

    @field_validator("token_bound_cidrs", "secret_id_bound_cidrs")
    @classmethod
    def _addresses(cls, value: list[str]) -> list[str]:
        return [bare(item) for item in value]


class AuditSettings(_Strict):
    """``[audit]``."""

    required: bool
    type: str
    path: PolicyPath
    options: Mapping[str, str]


class Settings(_Strict):
    """``settings.toml``."""

    kv: KvSettings
    transit: TransitSettings
    login: LoginSettings
    role: RoleSettings
    identity: Mapping[IdentityName, RoleSettings] = Field(default_factory=dict)
    audit: AuditSettings

    @field_validator("role")
    @classmethod
    def _whole(cls, value: RoleSettings) -> RoleSettings:
        if missing := sorted(name for name, given in value if given is None):
            raise ValueError(f"{', '.join(missing)} missing")
        return value

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for identity in IDENTITIES:
            fields = self.role_of(identity)
            if 0 < fields["token_max_ttl"] < fields["token_ttl"]:
                raise ValueError(f"the {identity}'s token_ttl is longer than its token_max_ttl")
        return self

    def role_of(self, identity: IdentityName) -> dict[str, Any]:
        """The fields of an identity's role."""
        own = self.identity.get(identity)
        return self.role.model_dump() | (own.model_dump(exclude_unset=True) if own else {})


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
        self._templates: dict[tuple[IdentityName, str], Template] = {}
        for identity in IDENTITIES:
            own = sorted((policies / identity).glob("*.hcl"))
            if all(path.stem == "token" for path in own):
                raise UsageProblem(
                    f"{policies / identity} has no policies",
                    hint="copy infra/vault whole, or leave --files out",
                )
            for path in (policies / "token.hcl", *own):
                if path.stem not in PURPOSES:
                    raise UsageProblem(
                        f"{path} has no known purpose", hint=f"its name is one of {', '.join(PURPOSES)}"
                    )
                self._templates[identity, path.stem] = Template(self._read(path))

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
            if (template := self._templates.get((identity, purpose))) is None:
                continue
            for filled in values.get(purpose, []):
                try:
                    part = template.substitute(filled)
                except (KeyError, ValueError) as error:
                    name = f"{self.directory}/policies/{identity}/{purpose}.hcl"
                    raise UsageProblem(
                        f"{name}: {error} is not a placeholder here",
                        hint=f"there are {', '.join(f'${{{key}}}' for key in filled) or 'none'}",
                    ) from None
                if part not in parts:
                    parts.append(part)
        return "\n".join(parts)

    def _settings(self, path: Path) -> Settings:
        document: dict[str, Any] = {}
        try:
            document = tomllib.loads(self._read(path))
            return Settings.model_validate(document)
        except tomllib.TOMLDecodeError as error:
            raise UsageProblem(
                f"{path} is not TOML: {error}", hint="correct the line that it names"
            ) from error
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
            why = "it is not text" if isinstance(error, UnicodeDecodeError) else str(error)
            raise UsageProblem(
                f"cannot read {path}: {getattr(error, 'strerror', None) or why}",
                hint="copy infra/vault whole, or leave --files out",
            ) from error
