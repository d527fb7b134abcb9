"""The configurations of a fleet: which files, and the environment that each of them has for itself."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from pipeline.config import read_trusted
from pipeline.core.errors import UsageProblem
from pipeline.core.typed_text import decoded

_LOGINS: Final = ("AWS_", "VAULT_", "BAO_", "KUBERNETES_", "SSH_")
_FOLDERS: Final = ("CREDENTIALS_DIRECTORY", "STATE_DIRECTORY", "RUNTIME_DIRECTORY")
_LINE: Final = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)=(?P<quote>[\"']?)(?P<value>[^\0]*)(?P=quote)")


@dataclass(frozen=True)
class FleetMember:
    """One configuration of a fleet.

    Attributes:
        name: The file's name without its ending; it names the member everywhere.
        config: The file.
    """

    name: str
    config: Path

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """The variables of its run: nobody else's logins.

        What logs in anywhere is taken out of ``base``. ``NAME.env`` beside the configuration, with lines as
        systemd's ``EnvironmentFile=`` has them, adds this member's own. Of a folder of systemd it gets the
        subfolder of its name, where there is one.

        Args:
            base: The variables of the fleet's run.

        Raises:
            UsageProblem: ``NAME.env`` is not a file, others can write or replace it, or it has a line that is
                not a variable.
        """
        own = {name: value for name, value in base.items() if not name.startswith(_LOGINS)}
        for name in _FOLDERS:
            if name in own:
                folder = Path(own.pop(name)) / self.name
                own |= {name: str(folder)} if folder.is_dir() else {}
        path = self.config.with_suffix(".env")
        if not path.exists():
            return own
        if not path.is_file():
            raise UsageProblem(f"{path} is not a file", hint="write NAME=value, one a line, into a file")
        text = decoded(read_trusted(path, "the variables")).decode(errors="replace")
        for number, line in enumerate(text.split("\n"), 1):
            if not line.strip() or line.lstrip().startswith(("#", ";")):
                continue
            found = _LINE.fullmatch(line.strip())
            if found is None:
                raise UsageProblem(
                    f"line {number} of {path} is not a variable",
                    hint="write NAME=value, one a line",
                )
            own[found["name"]] = found["value"]
        return own


def members(patterns: Sequence[str]) -> list[FleetMember]:
    """The configurations that patterns name, in the order of their names.

    Args:
        patterns: Files or patterns, as a shell has them.

    Raises:
        UsageProblem: A pattern fits nothing, or two files have the same name.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        paths = sorted(glob.glob(os.path.expanduser(pattern)))  # noqa: PTH111, PTH207 - patterns of any form
        if not paths:
            raise UsageProblem(
                f"no configuration is {pattern}", hint="name files, or quote a pattern: '*.toml'"
            )
        found |= dict.fromkeys(Path(path).absolute() for path in paths)
    made = [FleetMember(path.stem, path) for path in found]
    names = sorted(member.name for member in made)
    twice = next((name for name, other in pairwise(names) if name == other), None)
    if twice is not None:
        raise UsageProblem(
            f"two configurations are called {twice}",
            hint="give the files different names: these name the keys",
        )
    return sorted(made, key=lambda member: member.name)
