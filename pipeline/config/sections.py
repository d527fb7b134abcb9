"""The other sections: the key, its source, the policy, evidence and alarms."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from pipeline.config._base import LONGEST_DAYS, FilePath, Fingerprint, Strict, expand, matching


class KeyConfig(Strict):
    """``[key]``: the pin."""

    fingerprint: Fingerprint
    name: str | None = Field(None, min_length=1, max_length=64, pattern=r"^[\w .@:+-]+$")
    former: tuple[Fingerprint, ...] = ()
    live: str | Annotated[tuple[str, ...], Field(min_length=1, max_length=16)] | None = None
    live_ca_file: FilePath | None = None
    auto_refresh: bool = False

    @field_validator("live")
    @classmethod
    def _live(cls, value: str | tuple[str, ...] | None, info: ValidationInfo) -> str | tuple[str, ...] | None:
        if isinstance(value, tuple):
            return tuple(cls._live_place(place, info) for place in value)
        return None if value is None else cls._live_place(value, info)

    @property
    def live_places(self) -> tuple[str, ...]:
        """Where the server gives out its public key: one place, or one for each node of a cluster."""
        return self.live if isinstance(self.live, tuple) else (self.live,) if self.live else ()

    @staticmethod
    def _live_place(value: str, info: ValidationInfo) -> str:
        if "://" not in value:
            return expand(value, info)
        if not re.fullmatch(r"(hkps?|ldaps?)://[A-Za-z0-9.\[\]:_/%?=,&+~@-]+", value) or not _has_host(value):
            raise ValueError("a file, or an address with hkp://, hkps://, ldap:// or ldaps://")
        return value


def _has_host(url: str) -> bool:
    """Whether an address names a host, and a port that can be one."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


class SourceConfig(Strict):
    """``[source]``: where an export comes from when no file is named."""

    kind: Literal["file", "inbox", "gnupg", "command"]
    path: FilePath | None = None  # file: the file; inbox: the folder; gnupg: GNUPGHOME
    command: tuple[str, ...] | None = None
    settle_seconds: float = Field(2.0, ge=0, le=3600)
    timeout_seconds: float = Field(60.0, gt=0, le=3600)
    max_bytes: int = Field(4 * 1024 * 1024, gt=0, le=64 * 1024 * 1024)
    EXCLUSIVE = ("passphrase_file", "passphrase_command")
    passphrase_file: FilePath | None = None
    passphrase_command: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _needs(self) -> SourceConfig:
        if self.kind in ("file", "inbox") and not self.path:
            raise ValueError(f'kind = "{self.kind}" needs path')
        if self.kind == "command" and not self.command:
            raise ValueError('kind = "command" needs command, a list of words')
        return self


_authority = matching(
    r"https?://[^/\s@]+(/\S*)?", "the authority is an address like https://tsa.example.com/tsr"
)


class Certificates(Strict):
    """``[certificate]``: drill certificates; an authority that stamps their time (RFC 3161)."""

    TOGETHER = ("timestamp", "timestamp_ca_file")  # an unchecked time-stamp proves nothing
    timestamp: Annotated[str, AfterValidator(_authority)] | None = None
    timestamp_ca_file: FilePath | None = None
    timestamp_tls_ca_file: FilePath | None = None
    timestamp_seconds: float = Field(10.0, gt=0, le=120)


Epoch = Annotated[str, Field(pattern=r"^[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}$")]


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Policy(Strict):
    """``[policy]``: what counts as enough."""

    copies: int = Field(2, ge=1, le=16)
    accept_single_party: bool = False
    accept_single_loss: bool = False
    single_implementation: bool = False
    call_seconds: float = Field(10.0, gt=0, le=600)
    deadline_seconds: float = Field(300.0, gt=0, le=86400)
    backup_seconds: float = Field(21600.0, gt=0, le=7 * 86400)
    max_lock_days: int = Field(3650, ge=1, le=LONGEST_DAYS)
    max_age_days: float | None = Field(None, gt=0, le=LONGEST_DAYS)
    max_drill_age_days: float | None = Field(None, gt=0, le=LONGEST_DAYS)
    max_copy_drill_age_days: float | None = Field(None, gt=0, le=LONGEST_DAYS)
    max_path_drill_age_days: float | None = Field(None, gt=0, le=LONGEST_DAYS)
    min_retention_days: float | None = Field(None, gt=0, le=LONGEST_DAYS)
    max_backup_age_days: float | None = Field(None, gt=0, le=LONGEST_DAYS)
    max_backup_verify_age_days: float | None = Field(None, gt=0, le=LONGEST_DAYS)
    max_newest_verify_age_days: float | None = Field(None, gt=0, le=LONGEST_DAYS)
    rto_seconds: float | None = Field(None, gt=0, allow_inf_nan=False)
    max_check_in_age_days: float | None = Field(None, gt=0, le=LONGEST_DAYS)
    certificate_warning_days: float = Field(60.0, ge=0, le=3650)
    known_false: tuple[Epoch, ...] = ()
    known_backups: tuple[Sha256, ...] = ()


Job = Literal[
    "escrow",
    "drill",
    "verify",
    "status",
    "repair",
    "retain",
    "refresh",
    "rotate",
    "report",
    "backups",
    "watch",
    "infra",
]

Happening = Literal["failure", "recovery", "overdue"]


class Notify(Strict):
    """``[notify]``: who is told when a job fails, works again, or is overdue."""

    EXCLUSIVE = ("urls_file", "urls_command")
    urls_file: FilePath | None = None
    urls_command: tuple[str, ...] | None = Field(None, min_length=1)
    command: tuple[str, ...] | None = Field(None, min_length=1)
    on: tuple[Happening, ...] = ("failure", "recovery", "overdue")
    timeout_seconds: float = Field(15.0, gt=0, le=300)
    repeat_hours: float = Field(24.0, gt=0, le=8760)

    @model_validator(mode="after")
    def _ways(self) -> Notify:
        if not (self.urls_file or self.urls_command or self.command):
            raise ValueError("give urls_file, urls_command or command")
        return self


class Ping(Strict):
    """``[ping.<job>]``: a service that misses a job that does not report."""

    url_file: FilePath | None = None
    url_command: tuple[str, ...] | None = Field(None, min_length=1)

    @model_validator(mode="after")
    def _one_way(self) -> Ping:
        if (self.url_file is None) == (self.url_command is None):
            raise ValueError("give url_file or url_command")
        return self


class ReadersSection(Strict):
    """``[readers]``: which machines read backups."""

    TOGETHER = ("cert_file", "key_file")
    engine: Literal["local", "dask", "folder"] = "local"
    crew_key: (
        Annotated[
            str,
            AfterValidator(
                matching(
                    r"[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=",
                    "a crew's public key is 44 characters of Base64, as `orgkey backups crew init` shows",
                )
            ),
        ]
        | None
    ) = None
    scheduler: (
        Annotated[
            str,
            AfterValidator(
                matching(r"tls://[^/\s@]+:[0-9]+", "a scheduler looks like tls://dask.example.com:8786")
            ),
        ]
        | None
    ) = None
    ca_file: FilePath | None = None
    cert_file: FilePath | None = None
    key_file: FilePath | None = None
    folder: FilePath | None = None
    recheck_percent: float = Field(5.0, gt=0, le=100)

    @model_validator(mode="after")
    def _needs(self) -> ReadersSection:
        needed = {
            "local": (),
            "dask": ("crew_key", "scheduler", "ca_file", "cert_file", "key_file"),
            "folder": ("crew_key", "folder"),
        }[self.engine]
        missing = [name for name in needed if getattr(self, name) is None]
        if missing:
            raise ValueError(f'engine = "{self.engine}" needs {" and ".join(missing)}')
        return self


class LedgerSection(Strict):
    """``[ledger]``: where the ledger is mirrored to, by names of targets."""

    mirrors: tuple[str, ...] = ()  # kind s3 or directory: whole entries
    heads: tuple[str, ...] = ()  # kind vault: their numbers and digests
