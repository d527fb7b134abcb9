"""A custodian at a machine of their own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support import people
from tests.support.commandline import Run, end_gpg, environment, gpg, orgkey


@dataclass(frozen=True)
class Custodian:
    """A person at a machine of their own: an empty home, a keyring, and nothing of ours but the program."""

    name: str
    folder: Path

    @property
    def env(self) -> dict[str, str]:
        return environment(self.folder) | {"GNUPGHOME": str(self.folder / "gnupg")}

    def check(self, challenge: Path, *words: str, expect: int | None = 0) -> Run:
        given = ("custody", "check", "--challenge", str(challenge), *words)
        return orgkey(self.folder, *given, env=self.env, expect=expect)

    def codes(self, challenge: Path, *words: str) -> list[str]:
        done = self.check(challenge, *words, "--json").document
        return [item["code"] for item in done["answers"]]


@contextmanager
def at_own_machine(name: str) -> Iterator[Custodian]:
    """A custodian, with the key of this name."""
    # A short name: the path of an agent's socket has a limit (unix(7)).
    with tempfile.TemporaryDirectory(prefix="okb-") as folder:
        home = Path(folder) / "gnupg"
        gpg(home, "--import", stdin=people.secret_key(name))
        yield Custodian(name, Path(folder))
        end_gpg(home)
