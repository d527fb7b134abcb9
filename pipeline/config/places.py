"""Servers, and what is reached there: targets, places of backups."""

from __future__ import annotations

import os
import re
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from pipeline.config._base import LONGEST_DAYS, Beside, FilePath, Strict, Text, expand, matching
from pipeline.core.errors import UsageProblem
from pipeline.core.text import shell_word

# What a client or a server on the way takes out of a path, so that another path is asked.
_STEPS = frozenset({".", ".."})
SYSTEM: Final = "system"
"""The ``ca_file`` that stands for the authorities which this host trusts, as OpenSSL finds them."""
PROXY = re.compile(r"^https?://[^/\s@]+/?\Z")


def api_path(value: str) -> str:
    """A part of an API path, without slashes around it; it may be empty.

    Raises:
        ValueError: It has a segment that leads to another path.
    """
    path = value.strip("/")
    if _STEPS & set(path.split("/")):
        raise ValueError("a path has no segments . and ..")
    return path


ApiPrefix = Annotated[str, AfterValidator(api_path)]
ApiPath = Annotated[ApiPrefix, AfterValidator(matching(r"(?s).+", "it is empty"))]
BUCKET: Final = r"[A-Za-z0-9._-]{1,255}|arn:[a-z0-9-]+:s3[a-z-]*:[a-z0-9-]*:\d{12}:[\w:/.-]+"
Bucket = Annotated[
    str,
    AfterValidator(
        matching(BUCKET, "a bucket is its name alone, such as example-orgkey; prefix has the rest")
    ),
]
_region = matching(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?", "a region looks like eu-central-1")
Region = Annotated[str, AfterValidator(_region)]
Endpoint = Annotated[
    str, AfterValidator(matching(r"https?://\S+", "an address looks like https://s3.example.com:9000"))
]
Address = Annotated[
    str,
    AfterValidator(
        matching(r"https?://[^/\s]+/?", "an address looks like https://vault.example.com:8200", end="/")
    ),
]
Authority = Annotated[
    str, AfterValidator(lambda value, info: value if value == SYSTEM else expand(value, info))
]
# None where nothing is named: another spelling of the same would count as another server.
Namespace = Annotated[str | None, AfterValidator(lambda value: api_path(value or "") or None)]


def one_address(url: str | None) -> str | None:
    """An address as it is compared: two spellings are one server; ``None`` stands for AWS's own."""
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:  # an open bracket, a port above 65535: who connects says so
        return url
    host = (parts.hostname or "").rstrip(".")
    if re.fullmatch(r"s3[a-z0-9.-]*\.amazonaws\.com(\.cn)?", host):
        return None
    return f"{parts.scheme}://{host}:{port}{parts.path.rstrip('/')}"


class Party(Strict):
    """A place with its failure domain and those who control it."""

    domain: str = ""
    controlled_by: tuple[str, ...] = Field(min_length=1)


class Reached(Strict):
    """What a server's connection needs besides its address."""

    EXCLUSIVE = ("proxy", "proxy_file")
    ca_file: Authority | None = None
    proxy: str | None = None
    proxy_file: FilePath | None = None

    @field_validator("proxy")
    @classmethod
    def _proxy(cls, value: str | None) -> str | None:
        if value is None or value == "none":
            return value
        if "@" in value:
            raise ValueError("a proxy's user and password belong into a file: give proxy_file")
        if not re.match(PROXY, value):
            raise ValueError('a proxy looks like http://proxy.example.com:3128; "none" uses none')
        return value.rstrip("/")

    @property
    def written_ca_file(self) -> str | None:
        """``ca_file`` as it is written: two hosts may have the configuration's folder at different places."""
        return self.ca_file.written if isinstance(self.ca_file, Beside) else self.ca_file


class VaultPlace(Reached):
    """How to reach a Vault or OpenBao server."""

    TOGETHER = ("client_cert_file", "client_key_file")
    address: Address
    namespace: Namespace = None
    client_cert_file: FilePath | None = None
    client_key_file: FilePath | None = None
    unsealed_by: tuple[str, ...] | None = None

    def command(self, verb: str, *words: str) -> str:
        """What an administrator types: at which of several servers, and in which namespace, belongs to it.

        Args:
            verb: The command's words, options of its own among them: ``write -f``.
            words: What comes behind; it is quoted where a shell needs it.
        """
        where = [f"-address={self.address}", *([f"-namespace={self.namespace}"] if self.namespace else [])]
        return " ".join(["vault", verb, *map(shell_word, (*where, *words))])


def ambient_client_pair() -> dict[str, str | None]:
    """The client certificate that Vault's own command would show; both of its variables, or neither."""
    cert, key = os.environ.get("VAULT_CLIENT_CERT"), os.environ.get("VAULT_CLIENT_KEY")
    whole = bool(cert and key)
    return {"client_cert_file": cert if whole else None, "client_key_file": key if whole else None}


def ambient_region() -> str:
    """The region that AWS's own command would take.

    Raises:
        UsageProblem: It is not one.
    """
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    try:
        return _region(region)
    except ValueError as error:
        raise UsageProblem(f"{region!r} is not a region", hint=f"correct AWS_REGION: {error}") from None


class AwsPlace(Reached):
    """How to reach an AWS service or one that speaks its protocol."""

    region: Region = "us-east-1"
    endpoint_url: Endpoint | None = None


class VaultTargetConfig(Party, VaultPlace):
    """``[target.*]`` of kind ``vault``: a KV v2 mount."""

    kind: Literal["vault"]
    mount: ApiPath = "orgkey"
    prefix: ApiPrefix = "records"


class S3TargetConfig(Party, AwsPlace):
    """``[target.*]`` of kind ``s3``: a bucket, with Object Lock where it has it."""

    TOGETHER = ("lock_mode", "lock_days")
    kind: Literal["s3"]
    bucket: Bucket
    prefix: Annotated[str, AfterValidator(lambda value: value.strip("/"))] = "orgkey"
    path_style: bool | None = None
    expected_bucket_owner: Text | None = None
    lock_mode: Literal["GOVERNANCE", "COMPLIANCE"] | None = None
    lock_days: int | None = Field(None, ge=1, le=LONGEST_DAYS)
    kms_key_id: Text | None = None
    replicated: bool = False


class DirectoryTargetConfig(Party):
    """``[target.*]`` of kind ``directory``: a mounted disk or share."""

    kind: Literal["directory"]
    path: FilePath


TargetConfig = Annotated[
    VaultTargetConfig | S3TargetConfig | DirectoryTargetConfig, Field(discriminator="kind")
]


class BackupPlace(AwsPlace):
    """``[backups.*]``: where the server's backups arrive, a folder or ``s3://bucket/prefix``."""

    location: str
    path_style: bool | None = None
    expected_bucket_owner: Text | None = None
    ignore: tuple[str, ...] = ()
    expect: tuple[str, ...] = ()
    signers: tuple[FilePath, ...] = ()
    same_name: bool = False
    max_shrink_percent: float = Field(50.0, gt=0, le=100)

    @field_validator("location")
    @classmethod
    def _location(cls, value: str, info: ValidationInfo) -> str:
        if "://" in value:
            if not re.fullmatch(r"s3://[^/\s]+(/\S*)?", value):
                raise ValueError("a bucket is written s3://bucket/prefix")
            return value
        return expand(value, info)
