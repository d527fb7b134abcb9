"""Finding and reading the file."""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from pipeline.config.problems import describe
from pipeline.config.whole import Config
from pipeline.core.errors import UsageProblem


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
        UsageProblem: It cannot be read, others can write or replace it, or it is not valid.
    """
    try:
        # Opened once: what is judged is what is read.
        with path.open("rb") as stream:
            facts = os.fstat(stream.fileno())
            data = stream.read()
        folders = list(_folders(path))
    except OSError as error:
        raise UsageProblem(
            f"cannot read the configuration {path}: {error.strerror or error}",
            hint="check the path and its permissions",
        ) from error
    if _others_write(facts):
        raise UsageProblem(
            f"the configuration {path} can be written by others",
            hint=f"chmod go-w {path}, and let it belong to this user or to root",
        )
    for folder in folders:
        raise UsageProblem(
            f"the folder {folder} of the configuration {path} can be written by others, who could replace it",
            hint=f"chmod go-w {folder}, and let it belong to this user or to root; or move the configuration",
        )
    return parse(data, str(path))


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


def parse(data: bytes, name: str) -> Config:
    """Validate a configuration's text.

    Args:
        data: TOML in UTF-8.
        name: What errors call it.

    Raises:
        UsageProblem: It is not TOML, or not valid; every problem is listed.
    """
    try:
        document = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageProblem(f"{name} is not TOML: {error}", hint="correct the line that it names") from error
    try:
        return Config.model_validate(document)
    except ValidationError as error:
        raise UsageProblem(
            f"{name}: {describe(error, Config, document)}",
            hint="see docs/reference/config.md, or `orgkey config schema`",
        ) from None
