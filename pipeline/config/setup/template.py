"""The configuration that `orgkey init` writes: commented, validated, never over an older one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import tomlkit

from pipeline import config
from pipeline.config import Config
from pipeline.config.setup.answers import Setup
from pipeline.core import files
from pipeline.core.templates import filled

_NOTHING: Final = "\0"
"""The value of a setting that has none; its line is left out. No TOML text contains it."""


def render(setup: Setup, credentials: Path) -> str:
    """Write the file's text.

    Args:
        setup: Complete answers.
        credentials: The directory in which the logins' files are expected.
    """
    text = filled(__package__, "orgkey.toml.j2", setup=setup, credentials=str(credentials), toml=_toml)
    return "\n".join(line for line in text.split("\n") if _NOTHING not in line)


def _toml(value: Any) -> str:
    if value in (None, "", []):
        return _NOTHING
    text: str = tomlkit.item(list(value) if isinstance(value, tuple) else value).as_string()
    return text


def write(path: Path, setup: Setup, credentials: Path) -> Config:
    """Validate the configuration and write it, mode 0600; its folder is made where it is missing.

    Args:
        path: The new file.
        setup: Complete answers.
        credentials: As for :func:`render`.

    Returns:
        What was written, as it is read.

    Raises:
        UsageProblem: An answer is not valid; nothing is written.
        LocalFilesProblem: Something is there already, or the disk refuses.
    """
    text = render(setup, credentials).encode()
    written = config.parse(text, path)
    folder = path.absolute().parent
    hint = "make it as its administrator, or name another file with --out"
    with files.os_errors(f"cannot make {folder}", hint=hint):
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    files.write_new(path, text, mode=0o600)
    return written
