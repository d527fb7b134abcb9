"""The whole file."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field, model_validator

from pipeline.config._base import NAME, Strict, meant
from pipeline.config.holders import (
    HolderConfig,
    KmsHolderConfig,
    NeedConfig,
    OpenpgpHolderConfig,
    PaperHolderConfig,
    PathConfig,
    kms_region,
)
from pipeline.config.identities import IdentityConfig, IdentityName
from pipeline.config.places import (
    BackupPlace,
    DirectoryTargetConfig,
    S3TargetConfig,
    TargetConfig,
    VaultTargetConfig,
)
from pipeline.config.sections import (
    Certificates,
    Job,
    KeyConfig,
    LedgerSection,
    Notify,
    Ping,
    Policy,
    SourceConfig,
)
from pipeline.core.text import counted


class Config(Strict):
    """The whole file, validated."""

    key: KeyConfig | None = None
    source: SourceConfig | None = None
    target: Mapping[str, TargetConfig] = Field(min_length=1)
    holder: Mapping[str, HolderConfig] = Field(min_length=1)
    path: Mapping[str, PathConfig] = Field(min_length=1)
    identity: Mapping[IdentityName, IdentityConfig] = Field(default_factory=dict)
    backups: Mapping[str, BackupPlace] = Field(default_factory=dict)
    certificate: Certificates = Certificates()
    notify: Notify | None = None
    ping: Mapping[Job, Ping] = Field(default_factory=dict)
    ledger: LedgerSection = LedgerSection()
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
                    raise ValueError(
                        f"[path.{name}] needs {need.holder!r}, and there is no [holder.{need.holder}]"
                        + meant(need.holder, self.holder)
                    )
                if need.holder in seen:
                    raise ValueError(f"[path.{name}] names {need.holder!r} twice")
                seen.add(need.holder)
                _check_threshold(name, need, self.holder[need.holder])
        if len(self.domains()) < self.policy.copies:
            raise ValueError(
                f"[policy] copies is {self.policy.copies}, but the targets stand in "
                f"{counted(len(self.domains()), 'failure domain')}"
            )
        for name, target in self.target.items():
            if isinstance(target, S3TargetConfig) and (target.lock_days or 0) > self.policy.max_lock_days:
                raise ValueError(f"[target.{name}] lock_days is above max_lock_days of [policy]")
        for name, holder in self.holder.items():
            if isinstance(holder, KmsHolderConfig) and kms_region(holder.key_id) not in (None, holder.region):
                raise ValueError(
                    f"[holder.{name}] region is {holder.region}, but the ARN in key_id names "
                    f"{kms_region(holder.key_id)}"
                )
        _check_places("mirrors", self.ledger.mirrors, self.target, (S3TargetConfig, DirectoryTargetConfig))
        _check_places("heads", self.ledger.heads, self.target, (VaultTargetConfig,))
        return self

    def domains(self) -> set[str]:
        """The distinct failure domains of the targets; a target without one is its own."""
        return {target.domain or name for name, target in self.target.items()}


def _check_places(
    setting: str, names: tuple[str, ...], targets: Mapping[str, TargetConfig], kinds: tuple[type, ...]
) -> None:
    for number, name in enumerate(names):
        if name not in targets:
            raise ValueError(
                f"[ledger] {setting} names {name!r}, and there is no [target.{name}]" + meant(name, targets)
            )
        if not isinstance(targets[name], kinds):
            wanted = "vault" if VaultTargetConfig in kinds else "s3 or directory"
            raise ValueError(f"[ledger] {setting} names {name!r}, which is not a target of kind {wanted}")
        if name in names[:number]:
            raise ValueError(f"[ledger] {setting} names {name!r} twice")


def _check_threshold(path: str, need: NeedConfig, holder: HolderConfig) -> None:
    size = holder.size if isinstance(holder, OpenpgpHolderConfig | PaperHolderConfig) else 1
    if size == 1 and need.threshold != 1:
        raise ValueError(f"[path.{path}] {need.holder!r} has one share, its threshold is 1")
    if size > 1 and not 2 <= need.threshold <= size:
        raise ValueError(
            f"[path.{path}] {need.holder!r} is a group of {size}; write "
            f'{{ holder = "{need.holder}", threshold = 2 }}, or any number from 2 to {size}'
        )
