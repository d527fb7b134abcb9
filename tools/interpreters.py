"""The Pythons of this host."""

from __future__ import annotations

import shutil
from pathlib import Path


def interpreters(version: str) -> list[Path]:
    """Where a version may be, the most likely first.

    Args:
        version: For example ``3.13``.
    """
    name = f"python{version}"
    # What lies on PATH may be pyenv's script, which runs only the version that is chosen there.
    of_pyenv = Path("~/.pyenv/versions").expanduser().glob(f"{version}.*/bin/{name}")
    return [*of_pyenv, *map(Path, filter(None, [shutil.which(name)]))]
