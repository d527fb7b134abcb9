"""The configuration: read once, validated once, frozen.

Found at the first of ``--config``, ``ORGKEY_CONFIG``, ``./orgkey.toml``, the user's and the host's
file; never merged. Secrets stand in it only as the name of a file or of a command.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pipeline.errors import UsageProblem

if TYPE_CHECKING:
    from pydantic import GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

NAME = re.compile(r"^[a-z0-9][a-z0-9-]{0,39}\Z")


def _expand(value: str) -> str:
    """Expand a leading ``~`` and ``$CREDENTIALS_DIRECTORY`` (systemd), nothing else."""
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    for spelled in ("${CREDENTIALS_DIRECTORY}", "$CREDENTIALS_DIRECTORY"):
        if spelled in value:
            if credentials is None:
                raise ValueError("$CREDENTIALS_DIRECTORY is not set here")
            value = value.replace(spelled, credentials)
    return str(Path(value).expanduser())


def _fingerprint(value: str) -> str:
    text = re.sub(r"[\s:]", "", value).upper().removeprefix("0X")
    if not re.fullmatch(r"[0-9A-F]{40}", text):
        raise ValueError("a fingerprint has 40 hexadecimal digits; a key id is not enough")
    return text


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class Key(_Strict):
    """``[key]``: the pin."""

    fingerprint: str
    former: tuple[str, ...] = ()
    live: str | None = None
    live_ca_file: str | None = None
    auto_refresh: bool = False

    @field_validator("live")
    @classmethod
    def _live(cls, value: str | None) -> str | None:
        if value is None or "://" not in value:
            return None if value is None else _expand(value)
        if not re.fullmatch(r"(hkps?|ldaps?)://[A-Za-z0-9.\[\]:_/%?=,&+~@-]+", value):
            raise ValueError("a file, or an address with hkp://, hkps://, ldap:// or ldaps://")
        return value

    @field_validator("live_ca_file")
    @classmethod
    def _ca(cls, value: str | None) -> str | None:
        return None if value is None else _expand(value)

    @field_validator("fingerprint")
    @classmethod
    def _one(cls, value: str) -> str:
        return _fingerprint(value)

    @field_validator("former")
    @classmethod
    def _many(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_fingerprint(item) for item in value)


class Source(_Strict):
    """``[source]``: where an export comes from when no file is named."""

    kind: Literal["file", "inbox", "gnupg", "command"]
    path: str | None = None  # file: the file; inbox: the folder; gnupg: GNUPGHOME
    command: tuple[str, ...] | None = None
    settle_seconds: float = Field(2.0, ge=0, le=3600)
    timeout_seconds: float = Field(60.0, gt=0, le=3600)
    max_bytes: int = Field(4 * 1024 * 1024, gt=0, le=64 * 1024 * 1024)
    passphrase_file: str | None = None
    passphrase_command: tuple[str, ...] | None = None

    @field_validator("path", "passphrase_file")
    @classmethod
    def _paths(cls, value: str | None) -> str | None:
        return None if value is None else _expand(value)

    @model_validator(mode="after")
    def _needs(self) -> Source:
        if self.kind in ("file", "inbox") and not self.path:
            raise ValueError(f'kind = "{self.kind}" needs path')
        if self.kind == "command" and not self.command:
            raise ValueError('kind = "command" needs command, a list of words')
        if self.passphrase_file and self.passphrase_command:
            raise ValueError("passphrase_file and passphrase_command exclude each other")
        return self


class _Party(_Strict):
    domain: str = ""
    controlled_by: tuple[str, ...] = Field(min_length=1)


class VaultPlace(_Strict):
    """How to reach a Vault or OpenBao server."""

    address: str
    namespace: str | None = None
    ca_file: str | None = None
    unsealed_by: tuple[str, ...] | None = None

    @field_validator("address")
    @classmethod
    def _address(cls, value: str) -> str:
        if not re.match(r"^https?://[^/\s]+/?$", value):
            raise ValueError("an address looks like https://vault.example.com:8200")
        return value.rstrip("/")

    @field_validator("ca_file")
    @classmethod
    def _path(cls, value: str | None) -> str | None:
        return None if value is None else _expand(value)


class AwsPlace(_Strict):
    """How to reach an AWS service or one that speaks its protocol."""

    region: str = "us-east-1"
    endpoint_url: str | None = None
    ca_file: str | None = None

    @field_validator("ca_file")
    @classmethod
    def _path(cls, value: str | None) -> str | None:
        return None if value is None else _expand(value)


class VaultTarget(_Party, VaultPlace):
    """``[target.*]`` of kind ``vault``: a KV v2 mount."""

    kind: Literal["vault"]
    mount: str = "orgkey"
    prefix: str = "records"

    @field_validator("mount", "prefix")
    @classmethod
    def _strip(cls, value: str) -> str:
        return value.strip("/")


class S3Target(_Party, AwsPlace):
    """``[target.*]`` of kind ``s3``: a bucket, with Object Lock where it has it."""

    kind: Literal["s3"]
    bucket: str
    prefix: str = "orgkey"
    path_style: bool = False
    expected_bucket_owner: str | None = None
    lock_mode: Literal["GOVERNANCE", "COMPLIANCE"] | None = None
    lock_days: int | None = Field(None, ge=1, le=36500)
    kms_key_id: str | None = None

    @field_validator("prefix")
    @classmethod
    def _strip(cls, value: str) -> str:
        return value.strip("/")

    @model_validator(mode="after")
    def _lock(self) -> S3Target:
        if (self.lock_mode is None) != (self.lock_days is None):
            raise ValueError("lock_mode and lock_days go together")
        return self


class DirectoryTarget(_Party):
    """``[target.*]`` of kind ``directory``: a mounted disk or share."""

    kind: Literal["directory"]
    path: str

    @field_validator("path")
    @classmethod
    def _path(cls, value: str) -> str:
        return _expand(value)


TargetConfig = Annotated[VaultTarget | S3Target | DirectoryTarget, Field(discriminator="kind")]


class TransitHolder(_Party, VaultPlace):
    """``[holder.*]`` of kind ``vault-transit``: a Transit key, derived, not exportable."""

    kind: Literal["vault-transit"]
    mount: str = "transit"
    key: str = "orgkey-escrow"


class KmsHolder(_Party, AwsPlace):
    """``[holder.*]`` of kind ``aws-kms``: a symmetric KMS key."""

    kind: Literal["aws-kms"]
    key_id: str


class Custodian(_Strict):
    """One of ``members``: a person, by the fingerprint of their OpenPGP certificate."""

    fingerprint: str
    subkey: str | None = None
    name: str = Field("", max_length=80)
    contact: str = Field("", max_length=200)

    @field_validator("fingerprint", "subkey")
    @classmethod
    def _digits(cls, value: str | None) -> str | None:
        return None if value is None else _fingerprint(value)

    @field_validator("name", "contact")
    @classmethod
    def _line(cls, value: str) -> str:
        if not value.isprintable():
            raise ValueError("it is one line of printable text")
        return value

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """A fingerprint alone means the person of that certificate."""
        return {"anyOf": [{"type": "string"}, handler(core_schema)]}


class OpenpgpHolder(_Strict):
    """``[holder.*]`` of kind ``openpgp``: custodians, each with a share encrypted to their certificate.

    ``members`` are pinned by fingerprint; ``certificates``, a file or a folder, only supplies what is
    encrypted to: what lies there for nobody in ``members`` is never used.
    """

    kind: Literal["openpgp"]
    members: tuple[Custodian, ...] = Field(min_length=2, max_length=16)
    certificates: str

    @field_validator("members", mode="before")
    @classmethod
    def _fingerprints(cls, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return tuple({"fingerprint": item} if isinstance(item, str) else item for item in value)
        return value

    @field_validator("members")
    @classmethod
    def _distinct(cls, value: tuple[Custodian, ...]) -> tuple[Custodian, ...]:
        if len({member.fingerprint for member in value}) != len(value):
            raise ValueError("a custodian is named twice")
        return value

    @field_validator("certificates")
    @classmethod
    def _path(cls, value: str) -> str:
        return _expand(value)

    @property
    def size(self) -> int:
        """How many shares it takes."""
        return len(self.members)


class PaperHolder(_Strict):
    """``[holder.*]`` of kind ``paper``: sheets for sealed envelopes, printed at escrow, stored nowhere.

    ``kept_by`` names who keeps each sheet. ``print_command`` gets one PDF for each sheet on its standard
    input, for example ``["lpr", "-P", "vault-room"]``.
    """

    kind: Literal["paper"]
    kept_by: tuple[str, ...] = Field(min_length=1, max_length=16)
    print_command: tuple[str, ...] = Field(min_length=1)
    timeout_seconds: float = Field(60.0, gt=0, le=600)

    @field_validator("kept_by")
    @classmethod
    def _distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value) or not all(
            re.fullmatch(r"[\x20-\x7e]{1,80}", item) for item in value
        ):
            raise ValueError("each sheet has a keeper of its own, named in 1 to 80 ASCII characters")
        return value

    @property
    def size(self) -> int:
        """How many shares it takes."""
        return len(self.kept_by)


HolderConfig = Annotated[TransitHolder | KmsHolder | OpenpgpHolder | PaperHolder, Field(discriminator="kind")]


class Need(_Strict):
    """One holder that a path needs; for a group, how many of its members."""

    holder: str
    threshold: int = Field(1, ge=1, le=16)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """A name alone means the holder of that name."""
        return {"anyOf": [{"type": "string"}, handler(core_schema)]}


class PathConfig(_Strict):
    """``[path.*]``: holders that together suffice."""

    needs: tuple[Need, ...] = Field(min_length=1, max_length=16)

    @field_validator("needs", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return tuple({"holder": item} if isinstance(item, str) else item for item in value)
        return value


class VaultIdentity(_Strict):
    """How one of our roles logs in to Vault: AppRole, or a token in a file."""

    role_id_file: str | None = None
    secret_id_file: str | None = None
    token_file: str | None = None
    mount: str = "approle"

    @field_validator("role_id_file", "secret_id_file", "token_file")
    @classmethod
    def _paths(cls, value: str | None) -> str | None:
        return None if value is None else _expand(value)

    @model_validator(mode="after")
    def _one_way(self) -> VaultIdentity:
        if (self.role_id_file is None) != (self.secret_id_file is None):
            raise ValueError("role_id_file and secret_id_file go together")
        if (self.role_id_file is None) == (self.token_file is None):
            raise ValueError("give role_id_file and secret_id_file, or token_file")
        return self


class AwsIdentity(_Strict):
    """How one of our roles logs in to AWS: a named profile, or keys in a credentials file."""

    profile: str | None = None
    credentials_file: str | None = None  # the format of ~/.aws/credentials, profile "default"

    @field_validator("credentials_file")
    @classmethod
    def _path(cls, value: str | None) -> str | None:
        return None if value is None else _expand(value)


class Identity(_Strict):
    """``[identity.writer]`` or ``[identity.driller]``: a login for each service.

    ``vault`` and ``aws`` serve every target and holder of that service; an entry under ``at`` serves
    the one target or holder of that name instead.
    """

    vault: VaultIdentity | None = None
    aws: AwsIdentity | None = None
    at: Mapping[str, VaultIdentity | AwsIdentity] = Field(default_factory=dict)


class BackupPlace(AwsPlace):
    """``[backups.*]``: where the server's backups arrive, a folder or ``s3://bucket/prefix``."""

    location: str
    path_style: bool = False
    expected_bucket_owner: str | None = None
    ignore: tuple[str, ...] = ()

    @field_validator("location")
    @classmethod
    def _location(cls, value: str) -> str:
        if value.startswith("s3://"):
            if not re.match(r"^s3://[^/\s]+(/\S*)?\Z", value):
                raise ValueError("a bucket is written s3://bucket/prefix")
            return value
        return _expand(value)


class Policy(_Strict):
    """``[policy]``: what counts as enough."""

    copies: int = Field(2, ge=1, le=16)
    accept_single_party: bool = False
    accept_single_loss: bool = False
    single_implementation: bool = False
    call_seconds: float = Field(10.0, gt=0, le=600)
    deadline_seconds: float = Field(300.0, gt=0, le=86400)
    backup_seconds: float = Field(86400.0, gt=0, le=7 * 86400)
    max_lock_days: int = Field(3650, ge=1, le=36500)
    max_age_days: float | None = Field(None, gt=0)
    max_drill_age_days: float | None = Field(None, gt=0)
    max_check_in_age_days: float | None = Field(None, gt=0)
    certificate_warning_days: float = Field(60.0, ge=0, le=3650)


class Config(_Strict):
    """The whole file, validated."""

    key: Key | None = None
    source: Source | None = None
    target: Mapping[str, TargetConfig] = Field(min_length=1)
    holder: Mapping[str, HolderConfig] = Field(min_length=1)
    path: Mapping[str, PathConfig] = Field(min_length=1)
    identity: Mapping[Literal["writer", "driller"], Identity] = Field(default_factory=dict)
    backups: Mapping[str, BackupPlace] = Field(default_factory=dict)
    policy: Policy = Policy()

    @model_validator(mode="after")
    def _whole(self) -> Config:
        for group in (self.target, self.holder, self.path, self.backups):
            for name in group:
                if not NAME.match(name):
                    raise ValueError(f"{name!r}: names are lower-case letters, digits and hyphens")
        for name, path in self.path.items():
            seen: set[str] = set()
            for need in path.needs:
                if need.holder not in self.holder:
                    raise ValueError(f"path.{name} needs {need.holder!r}, which is no [holder.*]")
                if need.holder in seen:
                    raise ValueError(f"path.{name} names {need.holder!r} twice")
                seen.add(need.holder)
                _check_threshold(name, need, self.holder[need.holder])
        if len(self.domains()) < self.policy.copies:
            raise ValueError(
                f"policy.copies is {self.policy.copies}, but the targets stand in "
                f"{len(self.domains())} failure domain(s)"
            )
        for name, target in self.target.items():
            if isinstance(target, S3Target) and (target.lock_days or 0) > self.policy.max_lock_days:
                raise ValueError(f"target.{name}: lock_days is above policy.max_lock_days")
        return self

    def domains(self) -> set[str]:
        """The distinct failure domains of the targets; a target without one is its own."""
        return {target.domain or name for name, target in self.target.items()}


def _check_threshold(path: str, need: Need, holder: HolderConfig) -> None:
    size = holder.size if isinstance(holder, OpenpgpHolder | PaperHolder) else 1
    if size == 1 and need.threshold != 1:
        raise ValueError(f"path.{path}: {need.holder!r} has one share, its threshold is 1")
    if size > 1 and not 2 <= need.threshold <= size:
        raise ValueError(
            f"path.{path}: {need.holder!r} is a group of {size}; write "
            f'{{ holder = "{need.holder}", threshold = 2 }}, or any number from 2 to {size}'
        )


def candidates() -> list[Path]:
    """Where a configuration is looked for when neither option nor variable names one, first wins."""
    import platformdirs

    return [
        Path("orgkey.toml"),
        platformdirs.user_config_path("orgkey") / "orgkey.toml",
        Path("/etc/orgkey/orgkey.toml"),
    ]


def locate(option: Path | None) -> Path:
    """Choose the configuration file.

    Args:
        option: The value of ``--config``.

    Raises:
        UsageProblem: None is named and none is found.
    """
    named = option or (Path(value) if (value := os.environ.get("ORGKEY_CONFIG")) else None)
    if named is not None:
        return named
    for path in candidates():
        if path.is_file():
            return path
    raise UsageProblem(
        "no configuration found",
        hint="write one with `orgkey init`, or name it with --config; looked at "
        + ", ".join(str(path) for path in candidates()),
    )


def load(path: Path) -> Config:
    """Read and validate a configuration file.

    Raises:
        UsageProblem: It cannot be read, others can write it, or it is not valid.
    """
    try:
        facts = path.stat()
        data = path.read_bytes()
    except OSError as error:
        raise UsageProblem(
            f"cannot read the configuration {path}: {error.strerror or error}",
            hint="check the path and its permissions",
        ) from error
    if facts.st_mode & 0o022 or facts.st_uid not in (0, os.geteuid()):
        raise UsageProblem(
            f"the configuration {path} can be written by others",
            hint=f"chmod go-w {path}, and let it belong to this user or to root",
        )
    return parse(data, str(path))


def parse(data: bytes, name: str) -> Config:
    """Validate a configuration's text.

    Args:
        data: TOML in UTF-8.
        name: What errors call it.

    Raises:
        UsageProblem: It is no TOML, or not valid; every problem is listed.
    """
    try:
        return Config.model_validate(tomllib.loads(data.decode()))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageProblem(f"{name} is no TOML: {error}", hint="correct the line that it names") from error
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in item['loc']) or 'file'}: "
            + item["msg"].removeprefix("Value error, ")
            for item in error.errors(include_url=False, include_input=False, include_context=False)
        )
        raise UsageProblem(
            f"{name}: {problems}", hint="see docs/reference/config.md, or `orgkey config schema`"
        ) from None
