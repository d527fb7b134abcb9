"""Commands that are imported when they are used: `orgkey --help` needs their names, not their options."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import typer
from typer.core import TyperGroup


@dataclass(frozen=True)
class Entry:
    """A command that was not imported yet.

    Attributes:
        where: Its module in this package, a colon, and the function, or the group's ``typer.Typer``.
        help: Its line on the help page; a test compares it with what the command says itself.
        needs: A package of the extra `lab`; without it the help page does not show the command.
    """

    where: str
    help: str
    needs: str = ""

    @property
    def shown(self) -> bool:
        """Whether the help page shows it."""
        return not self.needs or find_spec(self.needs) is not None

    def load(self, name: str) -> Any:
        """Import the command and let typer build it.

        Args:
            name: What it is called.
        """
        module, _, attribute = self.where.partition(":")
        found = getattr(import_module(f"{__package__}.{module}"), attribute)
        alone = typer.Typer(add_completion=False, rich_markup_mode=None)
        if not isinstance(found, typer.Typer):
            alone.command(name)(found)
            return typer.main.get_command(alone)
        alone.add_typer(found, name=name)
        return typer.main.get_group(alone).commands[name]


class _Commands(MutableMapping[str, Any]):
    """Commands by name, each built when it is asked for."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self._entries = entries
        self._built: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._built:
            self._built[name] = self._entries[name].load(name)
        return self._built[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._built[name] = command

    def __delitem__(self, name: str) -> None:
        raise TypeError("commands are fixed")

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries


def group(entries: Mapping[str, Entry]) -> type[TyperGroup]:
    """Make the class of a group whose commands are built late.

    Args:
        entries: The commands by name, in the order of the help page.
    """

    class LateGroup(TyperGroup):
        def __init__(self, **attributes: Any) -> None:
            super().__init__(**(attributes | {"commands": _Commands(entries)}))

        def list_commands(self, ctx: Any) -> list[str]:
            return list(entries)

        def format_commands(self, ctx: Any, formatter: Any) -> None:
            with formatter.section("Commands"):
                formatter.write_dl([(name, entry.help) for name, entry in entries.items() if entry.shown])

    return LateGroup
