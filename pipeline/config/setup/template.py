"""The configuration that `orgkey init` writes: commented, validated, never over an older one."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any, Final

from pipeline.config import Config
from pipeline.config.setup.answers import Setup

_NOTHING: Final = "\0"
"""The value of a setting that has none; its line is left out. No TOML text contains it."""


def render(setup: Setup, credentials: Path) -> str:
    """Write the file's text.

    Args:
        setup: Complete answers.
        credentials: The directory in which the logins' files are expected.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(  # noqa: S701 - TOML, in which the filter quotes each value
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["toml"] = _toml
    template = resources.files(__package__).joinpath("orgkey.toml.j2").read_text(encoding="utf-8")
    text = environment.from_string(template).render(setup=setup, credentials=str(credentials))
    return "\n".join(line for line in text.split("\n") if _NOTHING not in line)


def _toml(value: Any) -> str:
    import tomlkit

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
    from pipeline import config
    from pipeline.core import files
    from pipeline.core.errors import LocalFilesProblem

    text = render(setup, credentials).encode()
    written = config.parse(text, str(path))
    try:
        path.absolute().parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise LocalFilesProblem(
            f"cannot make {path.absolute().parent}: {error.strerror or error}",
            hint="make it as its administrator, or name another file with --out",
        ) from error
    files.write_new(path, text, mode=0o600)
    return written
