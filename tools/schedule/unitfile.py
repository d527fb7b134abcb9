"""Reading units as systemd does, as far as those of this project go."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path


def read(path: Path) -> dict[str, dict[str, list[str]]]:
    """Read a unit: section, setting, all its values in order."""
    found: dict[str, dict[str, list[str]]] = {}
    section: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        if not line or line.startswith(("#", ";")):
            continue
        if match := re.fullmatch(r"\[(\w+)\]", line):
            section = found.setdefault(match[1], {})
            continue
        name, equals, value = line.partition("=")
        assert equals, line
        section.setdefault(name, []).append(value)
    return found


def argv(command: str, instance: str, variables: Mapping[str, str]) -> list[str]:
    """Expand the value of ``ExecStart=``: specifiers, quotes, variables.

    Args:
        command: The value.
        instance: What ``%i`` is.
        variables: The environment.
    """
    specifiers = {"%i": instance, "%%": "%"}
    text = re.sub(r"%.", lambda match: specifiers[match[0]], command)

    def variable(match: re.Match[str]) -> str:
        return "$" if match[0] == "$$" else variables[match[1]]

    return [re.sub(r"\$\$|\$\{(\w+)\}", variable, word) for word in shlex.split(text)]
