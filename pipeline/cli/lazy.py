"""Commands as typer has them: imported when they are used, each with a help page in groups of options.

`orgkey --help` needs their names, not their options. Help is plain text; a command's own page ends with an
example and its exit codes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from pipeline.cli.command import ARGUMENTS, COMMON, OPENED, PASSPHRASES, WHAT, WHERE, Usage
from pipeline.core.errors import Code

_TYPE: Final = re.compile(r" <(?:list\[)?(?:str|path|int|float)\]?>")
_RANGE: Final = re.compile(r"(\d+)<=x<=(\d+)")


def _plain(name: str, parameter: Any) -> str:
    """How a parameter is written, without the parser's types: the value of ``--kms-key`` is a KEY."""
    word = "" if parameter.param_type_name == "argument" else f" {parameter.name.rpartition('_')[2].upper()}"
    return _brackets(re.sub(r"<(\w+\|[\w|]+)>", r"\1", _TYPE.sub(word, name)))


def _brackets(usage: str) -> str:
    """An argument as people write it: FILE, [FOLDER], [PLACE]..."""
    return re.sub(r"\{(\w+)\}", r"\1", re.sub(r"\[\[(\w+)\](?:\.\.\.)?\]", r"[\1]", usage))


def _format_options(command: Any, ctx: Any, formatter: Any) -> None:
    group = hasattr(command, "commands")
    panels: dict[str, list[tuple[str, str]]] = {}
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        if record is None:
            continue
        record = (
            _plain(record[0], parameter),
            re.sub(r" +\[default: 0\]$", "", _RANGE.sub(r"\1 to \2", record[1])),
        )
        own = ARGUMENTS if parameter.param_type_name == "argument" else "Options" if group else COMMON
        panels.setdefault(getattr(parameter, "rich_help_panel", None) or own, []).append(record)
    others = [heading for heading in panels if heading != COMMON]
    order = [ARGUMENTS, WHAT, WHERE, OPENED, PASSPHRASES, *others, COMMON]
    for heading in sorted(panels, key=order.index):
        with formatter.section(heading):
            formatter.write_dl(panels[heading])


class HelpCommand(TyperCommand):
    """A command whose help page has groups of options, an example and exit codes."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The words of the usage line."""
        return [_brackets(piece) for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options, group by group."""
        _format_options(self, ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the example and the exit codes."""
        usage: Usage = getattr(self.callback, "usage")  # noqa: B009 - any function has room for it
        with formatter.section("Example"):
            formatter.write(" " * formatter.current_indent + usage.example + "\n")
        codes = sorted({Code.OK, Code.USAGE, Code.LOCAL_FILES} | usage.codes)
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(int(code)), code.meaning) for code in codes])
        formatter.write_paragraph()
        formatter.write_text("What an exit code means, and what to do: orgkey explain CODE")


class HelpGroup(TyperGroup):
    """A group of commands whose help page has groups of options, and no command's line cut."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands."""
        rows = [(name, self.commands[name].get_short_help_str(limit=200)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the commands, then the options."""
        self.format_commands(ctx, formatter)
        _format_options(self, ctx, formatter)


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
        if self.commands or self.needs:
            inner = typer.Typer(cls=group(self.commands), help=self.help, no_args_is_help=True)
            alone.add_typer(import_module(f"{__package__}.{name}").app if self.needs else inner, name=name)
            return typer.main.get_group(alone).commands[name]
        first, _, second = self.words.partition(" ")
        together = not second or first in ONE_MODULE
        module = import_module(f"{__package__}.{first}_{'command' if together else second.replace(' ', '_')}")
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
            *above, name = words.split(" ")
            if not above:
                entries[name] = LateCommand(words, text, task, needs.get(words, ""))
                continue
            into = entries
            for one in above:
                into = into[one].commands
            into[name] = LateCommand(words, text)
    return entries


class _Commands(Mapping[str, Any]):
    """Commands by name, each built when it is asked for."""

    def __init__(self, entries: Mapping[str, LateCommand]) -> None:
        self._entries = entries
        self._built: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._built:
            self._built[name] = self._entries[name].load(name)
        return self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


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
