"""Finding and reading the file."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from pydantic import ValidationError

from pipeline.config.problems import describe
from pipeline.config.whole import Config
from pipeline.errors import UsageProblem


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
