"""Commands that are imported when they are used: `orgkey --help` needs their names, not their options."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

import typer

from pipeline.cli.help import HelpCommand, HelpGroup, usage

ARGUMENTS_OF_EXAMPLES: Final = {
    "orgkey lab setup": "example.com --algorithm ed25519",
    "orgkey lab export": "keypair --out export.asc",
    "orgkey lab user add": "Alice alice@example.com",
    "orgkey lab certificate add": "web-mail",
    "orgkey lab certificate remove": "1",
    "orgkey lab time": "--advance 30",
    "orgkey lab backup": "--to backups",
    "orgkey lab restore": "backup.pgp --keypair restored.asc",
    "orgkey stack env": "--as driller",
    "orgkey stack config": "--out orgkey.toml",
}
"""What follows the words of a command in the example of its help page."""


ONE_MODULE: Final = frozenset({"fleet"})
"""Groups whose commands are one module, as ``fleet_command``."""


@dataclass(frozen=True)
class LateCommand:
    """A command that is not imported yet, or a group of them.

    Attributes:
        words: What is typed after ``orgkey``. The command is in the module of this name: ``custody rotate``
            is the function ``rotate`` in ``custody_rotate``, ``list`` is ``list_`` in ``list_command``.
        help: Its line on the help page; a test compares it with what the command says itself.
        task: The heading under which the help page lists it.
        needs: A package of the extra `lab`, for a group that is the ``app`` of its module; without it
            the help page does not show the group.
        commands: The commands of a group.
    """

    words: str
    help: str
    task: str = "Commands"
    needs: str = ""
    commands: dict[str, LateCommand] = field(default_factory=dict)

    @property
    def shown(self) -> bool:
        """Whether the help page shows it."""
        return not self.needs or find_spec(self.needs) is not None

    def load(self, name: str) -> Any:
        """Import the command and let typer build it.

        Args:
            name: What it is called.
        """
        alone = typer.Typer(add_completion=False, rich_markup_mode=None)
        if self.commands:
            inner = typer.Typer(cls=group(self.commands), help=self.help, no_args_is_help=True)
            alone.add_typer(inner, name=name)
            return typer.main.get_group(alone).commands[name]
        if self.needs:
            app = import_module(f"{__package__}.{name}").app
            _with_help_pages(app, f"orgkey {name}")
            alone.add_typer(app, name=name, cls=HelpGroup)
            return typer.main.get_group(alone).commands[name]
        first, _, second = self.words.partition(" ")
        together = not second or first in ONE_MODULE
        module = import_module(f"{__package__}.{first}_{'command' if together else second}")
        function = getattr(module, name, None) or getattr(module, f"{name}_")
        alone.command(name, cls=HelpCommand, short_help=self.help)(function)
        return typer.main.get_command(alone)


def commands(tasks: Mapping[str, Mapping[str, str]], needs: Mapping[str, str]) -> dict[str, LateCommand]:
    """Make the entries of a table.

    Args:
        tasks: By task, the help of each command by its words; a group stands before its commands.
        needs: A package of the extra `lab` that a command needs.
    """
    entries: dict[str, LateCommand] = {}
    for task, table in tasks.items():
        for words, text in table.items():
            group_name, _, name = words.partition(" ")
            if name:
                entries[group_name].commands[name] = LateCommand(words, text)
            else:
                entries[words] = LateCommand(words, text, task, needs.get(words, ""))
    return entries


def _with_help_pages(app: typer.Typer, words: str) -> None:
    """Let every command of an application have the same kind of help page.

    Args:
        app: The application.
        words: What is typed before its commands.
    """
    for command in app.registered_commands:
        assert command.callback is not None
        command.cls = HelpCommand
        example = f"{words} {command.name or command.callback.__name__}"
        usage(f"{example} {ARGUMENTS_OF_EXAMPLES.get(example, '')}".strip())(command.callback)
    for inner in app.registered_groups:
        if inner.typer_instance is not None:
            _with_help_pages(inner.typer_instance, f"{words} {inner.typer_instance.info.name}")


class _Commands(MutableMapping[str, Any]):
    """Commands by name, each built when it is asked for."""

    def __init__(self, entries: Mapping[str, LateCommand]) -> None:
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


def group(entries: Mapping[str, LateCommand]) -> type[HelpGroup]:
    """Make the class of a group whose commands are built late.

    Args:
        entries: The commands by name, in the order of the help page.
    """

    class LateGroup(HelpGroup):
        def __init__(self, **attributes: Any) -> None:
            super().__init__(**(attributes | {"commands": _Commands(entries)}))

        def list_commands(self, ctx: Any) -> list[str]:
            return list(entries)

        def format_commands(self, ctx: Any, formatter: Any) -> None:
            shown = {name: entry for name, entry in entries.items() if entry.shown}
            for task in dict.fromkeys(entry.task for entry in shown.values()):
                with formatter.section(task):
                    rows = [(name, entry.help) for name, entry in shown.items() if entry.task == task]
                    formatter.write_dl(rows)

    return LateGroup
