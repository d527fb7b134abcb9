"""The configuration: read once, validated once, frozen.

Found at the first of ``--config``, ``ORGKEY_CONFIG``, ``./orgkey.toml``, the user's and the host's
file; never merged. Secrets stand in it only as the name of a file or of a command.
"""

from __future__ import annotations

import os
import stat
import tomllib
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import platformdirs
from pydantic import Field, ValidationError, model_validator

from pipeline.config import holders, places, sections
from pipeline.config._base import NAME, Strict, meant
from pipeline.config.identities import IdentityConfig, IdentityName
from pipeline.config.problems import describe
from pipeline.core import files
from pipeline.core.errors import OrgkeyError, UsageProblem
from pipeline.core.text import counted, shell_word
from pipeline.core.typed_text import decoded

_WHERE: Mapping[str, Callable[[Any], object]] = {
    "kind": str,
    "path": lambda path: path and os.path.realpath(path),
    "address": places.one_address,
    "namespace": str,
    "mount": str,
    "endpoint_url": places.one_address,
    "bucket": str,
    "prefix": str,
}
"""The settings that say where a target's records lie, each as it is compared: two spellings are one place."""


class Config(Strict):
    """The whole file, validated."""

    key: sections.KeyConfig | None = None
    source: sections.SourceConfig | None = None
    target: Mapping[str, places.TargetConfig] = Field(min_length=1)
    holder: Mapping[str, holders.HolderConfig] = Field(min_length=1)
    path: Mapping[str, holders.PathConfig] = Field(min_length=1)
    identity: Mapping[IdentityName, IdentityConfig] = Field(default_factory=dict)
    backups: Mapping[str, places.BackupPlace] = Field(default_factory=dict)
    readers: sections.ReadersSection = sections.ReadersSection()
    certificate: sections.Certificates = sections.Certificates()
    notify: sections.Notify | None = None
    ping: Mapping[sections.Job, sections.Ping] = Field(default_factory=dict)
    ledger: sections.LedgerSection = sections.LedgerSection()
    policy: sections.Policy = sections.Policy()

    @model_validator(mode="after")
    def _whole(self) -> Config:
        for group in (self.target, self.holder, self.path, self.backups):
            for name in group:
                if not NAME.match(name):
                    raise ValueError(f"{name!r}: names are lower-case letters, digits and hyphens")
        groups = (item for item in self.holder.values() if isinstance(item, holders.OpenpgpHolderConfig))
        holders.check_tokens(member for item in groups for member in item.members)
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
        stands: dict[tuple[object, ...], str] = {}
        for name, target in self.target.items():
            place = tuple(alike(getattr(target, setting, None)) for setting, alike in _WHERE.items())
            if (other := stands.setdefault(place, name)) != name:
                raise ValueError(
                    f"[target.{other}] and [target.{name}] are one place: a record there is one copy"
                )
        if len(self.domains()) < self.policy.copies:
            raise ValueError(
                f"[policy] copies is {self.policy.copies}, but the targets stand in "
                f"{counted(len(self.domains()), 'failure domain')}"
            )
        for name, target in self.target.items():
            if (
                isinstance(target, places.S3TargetConfig)
                and (target.lock_days or 0) > self.policy.max_lock_days
            ):
                raise ValueError(f"[target.{name}] lock_days is above max_lock_days of [policy]")
        lying: dict[str, str] = {}
        for name, backups in self.backups.items():
            at = backups.location.rstrip("/")
            at = at if at.startswith("s3://") else os.path.realpath(at)
            if (other := lying.setdefault(at, name)) != name:
                raise ValueError(f"[backups.{other}] and [backups.{name}] have one location")
        for name, holder in self.holder.items():
            if isinstance(holder, holders.KmsHolderConfig):
                named = holders.kms_region(holder.key_id)
                if named not in (None, holder.region):
                    raise ValueError(
                        f"[holder.{name}] region is {holder.region}, but the ARN in key_id names {named}"
                    )
        logins = [each for login in self.identity.values() for each in (login.vault, *login.at.values())]
        given = (*self.target.values(), *self.holder.values(), *logins)
        _check_spelling(
            "party",
            (
                party
                for item in given
                for setting in ("controlled_by", "unsealed_by", "vouched_by", "kept_by")
                for party in getattr(item, setting, None) or ()
            ),
        )
        _check_spelling("failure domain", sorted(self.domains()))
        _check_places("mirrors", self.ledger.mirrors, self.target, ("s3", "directory"))
        _check_places("heads", self.ledger.heads, self.target, ("vault",))
        return self

    def domains(self) -> set[str]:
        """The distinct failure domains of the targets; a target without one is its own."""
        return {target.domain or name for name, target in self.target.items()}


def _check_spelling(what: str, names: Iterable[str]) -> None:
    """Refuse two spellings of one name: they would count as two, and custody seem stronger than it is."""
    spelled: dict[str, str] = {}
    for name in names:
        folded = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
        if not folded:
            raise ValueError(f"the name of a {what} is empty")
        if (other := spelled.setdefault(folded, name)) != name:
            raise ValueError(f"{other!r} and {name!r} look like one {what}: spell it alike everywhere")


def _check_places(
    setting: str, names: tuple[str, ...], targets: Mapping[str, places.TargetConfig], kinds: tuple[str, ...]
) -> None:
    for number, name in enumerate(names):
        if name not in targets:
            raise ValueError(
                f"[ledger] {setting} names {name!r}, and there is no [target.{name}]" + meant(name, targets)
            )
        if targets[name].kind not in kinds:
            raise ValueError(
                f"[ledger] {setting} names {name!r}, which is not a target of kind {' or '.join(kinds)}"
            )
        if name in names[:number]:
            raise ValueError(f"[ledger] {setting} names {name!r} twice")


def _check_threshold(path: str, need: holders.NeedConfig, holder: holders.HolderConfig) -> None:
    size = holder.size if isinstance(holder, holders.OpenpgpHolderConfig | holders.PaperHolderConfig) else 1
    if size == 1 and need.threshold != 1:
        raise ValueError(f"[path.{path}] {need.holder!r} has one share, its threshold is 1")
    if size > 1 and not 2 <= need.threshold <= size:
        raise ValueError(
            f"[path.{path}] {need.holder!r} is a group of {size}; write "
            f'{{ holder = "{need.holder}", threshold = 2 }}, or any number from 2 to {size}'
        )


def candidates() -> list[Path]:
    """Where a configuration is looked for when neither option nor variable names one, first wins."""
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
    value = os.environ.get("ORGKEY_CONFIG")
    named = option or (files.expanded(Path(value)) if value else None)
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


def option_for(path: Path) -> str:
    """The option by which commands use this file, for hints; empty where they find it by themselves."""
    with suppress(OrgkeyError):
        if locate(None).resolve() == path.resolve():
            return ""
    return f" --config {shell_word(path)}"


def state_root(option: Path | None) -> Path:
    """Where state lives: the option, ``ORGKEY_STATE_DIR``, systemd's, or the user's."""
    if option is not None:
        return option
    for variable in ("ORGKEY_STATE_DIR", "STATE_DIRECTORY"):
        if value := os.environ.get(variable):
            return files.expanded(Path(value.split(":")[0]))
    return platformdirs.user_state_path("orgkey")


def load(path: Path) -> Config:
    """Read and validate a configuration file.

    Raises:
        UsageProblem: It cannot be read, others can write or replace it, or it is not valid.
    """
    return parse(read_trusted(path, "the configuration"), path)


def read_trusted(path: Path, what: str) -> bytes:
    """Read a file whose word is taken: nobody else may be able to write it.

    Args:
        path: The file.
        what: What errors call it.

    Raises:
        UsageProblem: It cannot be read, or others can write or replace it.
    """
    try:
        # Opened once: what is judged is what is read.
        with path.open("rb") as stream:
            facts = os.fstat(stream.fileno())
            data = stream.read()
        folders = list(_folders(path))
    except OSError as error:
        raise UsageProblem(
            f"cannot read {what} {path}: {error.strerror or error}",
            hint="check the path and its permissions",
        ) from error
    if _others_write(facts):
        raise UsageProblem(
            f"{what} {path} can be written by others",
            hint=f"chmod go-w {shell_word(path)}, and let it belong to this user or to root",
        )
    for folder in folders:
        raise UsageProblem(
            f"the folder {folder} of {what} {path} can be written by others, who could replace it",
            hint=f"chmod go-w {shell_word(folder)}, and let it belong to this user or to root; "
            "or move the file",
        )
    return data


def _folders(path: Path) -> Iterator[Path]:
    """The folders on the way to a file, its links' too, in which others could put another one in its place.

    Nothing can be put into a file system that is mounted for reading alone, as a container's settings are.

    Raises:
        OSError: One cannot be looked at.
    """
    named = Path.cwd() / path  # with the links that resolve() takes out
    for folder in dict.fromkeys((*named.parents, *path.resolve().parents)):
        facts = folder.stat()
        # With the sticky bit, only the owner of a file replaces it.
        open_to_others = _others_write(facts, sticky=bool(facts.st_mode & stat.S_ISVTX))
        if open_to_others and not os.statvfs(folder).f_flag & os.ST_RDONLY:
            yield folder


def _others_write(facts: os.stat_result, *, sticky: bool = False) -> bool:
    if facts.st_uid not in (0, os.geteuid()):
        return True
    written = facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return bool(written) and not sticky


def parse(data: bytes, name: Path) -> Config:
    """Validate a configuration's text.

    Args:
        data: TOML in UTF-8.
        name: Where it lies: errors name it, and relative paths are read from its folder.

    Raises:
        UsageProblem: It is not TOML, or not valid; every problem is listed.
    """
    try:
        document = tomllib.loads(decoded(data).decode())
    except UnicodeDecodeError as error:
        raise UsageProblem(f"{name} is not text", hint="save it as plain text in UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageProblem(f"{name} is not TOML: {error}", hint="correct the line that it names") from error
    try:
        return Config.model_validate(document, context=name.parent.resolve())
    except ValidationError as error:
        raise UsageProblem(
            f"{name}: {describe(error, Config, document)}",
            hint="see `orgkey explain config`, or `orgkey config schema`",
        ) from None
