"""Words that a shell completes: names in the configuration, and what this host's ledger knows.

Local files alone are read, nothing secret among them, and whatever goes wrong, no word is offered: a shell
then completes names of files.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final

import typer

from pipeline.core.typed_text import decoded, fingerprint

_MOST: Final = 300
"""Entries of the ledger that are read, the last ones: somebody waits."""
_LARGEST: Final = 1 << 20
_EPOCH: Final = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}", re.ASCII)
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}", re.ASCII)


@dataclass(frozen=True)
class LocalNames:
    """What this host knows.

    Attributes:
        given: The values of the options that were typed before.
    """

    given: dict[str, Any]

    def config(self) -> dict[str, Any]:
        """The configuration; it is not validated."""
        from pipeline import config

        return tomllib.loads(decoded(_read(config.locate(self.given.get("config")))).decode())

    def pins(self) -> list[str]:
        """The fingerprints of the Org Key and of former ones."""
        key = self.config()["key"]
        return list(filter(None, map(fingerprint, (key["fingerprint"], *key.get("former", ())))))

    def folder(self) -> Path:
        """The state of the key that is meant."""
        from pipeline import config

        return config.state_root(self.given.get("state_dir")) / (
            self.given.get("fingerprint") or self.pins()[0]
        )


def words(find: Callable[[LocalNames], Iterable[str]]) -> Callable[[typer.Context, str], list[str]]:
    """Make what typer asks for words.

    Args:
        find: Gives them.
    """

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        found: list[str] = []
        with suppress(Exception):  # whatever it is, a shell has no place for it
            found.extend(word for word in find(LocalNames(ctx.params)) if word.startswith(incomplete))
        return found

    return complete


def _section(name: str) -> Callable[[LocalNames], list[str]]:
    return lambda known: [word for word in known.config().get(name, {}) if _NAME.fullmatch(word)]


def _epochs(known: LocalNames) -> Iterator[str]:
    files = sorted((known.folder() / "ledger").rglob("*.json"), key=lambda path: path.name)[-_MOST:]
    found: set[str] = set()
    for path in files:
        try:
            details = json.loads(_read(path))["details"]
            found.update(_EPOCH.findall(json.dumps([details.get("epoch"), details.get("epochs")])))
        except (OSError, ValueError, LookupError, AttributeError, TypeError):
            continue
    yield from sorted(found, reverse=True)


def _certificates(known: LocalNames) -> list[str]:
    return [str(path) for path in sorted((known.folder() / "certificates").glob("*.json"))[-_MOST:]]


def _read(path: Path) -> bytes:
    from pipeline.core import files

    return files.read_regular(path, _LARGEST) or b""


TARGETS: Final = words(_section("target"))
PATHS: Final = words(_section("path"))
BACKUPS: Final = words(_section("backups"))
PINS: Final = words(LocalNames.pins)
ONE_EPOCH: Final = words(lambda known: chain(["latest"], _epochs(known)))
EPOCHS: Final = words(lambda known: chain(["latest", "all"], _epochs(known)))
CERTIFICATES: Final = words(_certificates)
