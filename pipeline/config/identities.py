"""How each of our identities logs in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from pipeline.config._base import FilePath, Strict, Text, matching
from pipeline.config.places import ApiPath, Region

VaultMethod = Literal["approle", "token", "kubernetes", "jwt", "cert", "aws"]

# Of each way to log in: the settings that it needs, and those that it may have.
_METHODS: Mapping[VaultMethod, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "approle": (("role_id_file", "secret_id_file"), ()),
    "token": (("token_file",), ()),
    "kubernetes": (("role",), ("jwt_file",)),
    "jwt": (("role", "jwt_file"), ()),
    "cert": (("client_cert_file", "client_key_file"), ("role",)),
    "aws": (("role",), ("region", "server_id", "profile", "credentials_file", "config_file")),
}

SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount/token"


class VaultIdentity(Strict):
    """How one of our roles logs in to Vault: exactly one way.

    ``method`` may be left out where the other settings say it: AppRole's, a token's, a certificate's.
    """

    method: VaultMethod | None = None
    role_id_file: FilePath | None = None
    secret_id_file: FilePath | None = None
    token_file: FilePath | None = None
    role: Text | None = None
    jwt_file: FilePath | None = None
    client_cert_file: FilePath | None = None
    client_key_file: FilePath | None = None
    region: Region | None = None
    server_id: Annotated[str, AfterValidator(matching(r"[!-~]+", "it is not a header's value"))] | None = None
    profile: Text | None = None
    credentials_file: FilePath | None = None
    config_file: FilePath | None = None
    mount: ApiPath | None = None
    vouched_by: tuple[str, ...] | None = None

    @field_validator("mount")
    @classmethod
    def _mount(cls, value: str | None) -> str | None:
        if "role" in (value or "").split("/"):
            raise ValueError("an auth mount has no segment role: where its roles begin could not be told")
        return value

    @model_validator(mode="after")
    def _one_way(self) -> VaultIdentity:
        given = {name for name in _SETTINGS if getattr(self, name) is not None}
        if self.method is None:
            ways = [way for way in ("approle", "token", "cert") if given & set(_METHODS[way][0])]
            if len(ways) > 1:
                raise ValueError(f"several ways to log in ({', '.join(ways)}): give the settings of one")
            if not ways:
                raise ValueError(
                    "give role_id_file and secret_id_file, or token_file, or client_cert_file and "
                    'client_key_file, or method = "kubernetes", "jwt" or "aws" with its role'
                )
        needed, allowed = _METHODS[self.way]
        if missing := [name for name in needed if name not in given]:
            if len(needed) > 1:
                raise ValueError(f"{' and '.join(needed)} go together; {', '.join(missing)} is missing")
            raise ValueError(f"a login by {self.way} needs {', '.join(missing)}")
        if foreign := sorted(given - {*needed, *allowed}):
            raise ValueError(f"{', '.join(foreign)} is not a setting of a login by {self.way}")
        return self

    @property
    def way(self) -> VaultMethod:
        """How the login is made."""
        if self.method is not None:
            return self.method
        if self.role_id_file is not None or self.secret_id_file is not None:
            return "approle"
        return "token" if self.token_file is not None else "cert"

    @property
    def mounted(self) -> str:
        """Where the auth method is mounted: as it is called, unless the configuration says otherwise."""
        return self.mount or self.way

    @property
    def aws(self) -> AwsIdentity | None:
        """Whose credentials at AWS sign the login; ``None`` takes botocore's own chain."""
        own = {name: getattr(self, name) for name in AwsIdentity.model_fields}
        return AwsIdentity(**own) if any(own.values()) else None

    @property
    def token_of_workload(self) -> str:
        """The file with the JSON web token; a pod's own unless another is named."""
        return self.jwt_file or SERVICE_ACCOUNT


_SETTINGS = sorted({name for needed, allowed in _METHODS.values() for name in (*needed, *allowed)})


class AwsIdentity(Strict):
    """How one of our roles logs in to AWS: a profile in files of AWS's own formats.

    Roles to assume, web identities, SSO and commands that give credentials are settings of the profile.
    """

    profile: Text | None = None
    credentials_file: FilePath | None = None  # the format of ~/.aws/credentials, profile "default"
    config_file: FilePath | None = None  # the format of ~/.aws/config


IdentityName = Literal["writer", "driller", "auditor", "retention", "administrator"]


class IdentityConfig(Strict):
    """``[identity.<name>]``: a login for each service.

    ``vault`` and ``aws`` serve every target and holder of that service; an entry under ``at`` serves
    the one target or holder of that name instead.
    """

    vault: VaultIdentity | None = None
    aws: AwsIdentity | None = None
    at: Mapping[str, VaultIdentity | AwsIdentity] = Field(default_factory=dict)
