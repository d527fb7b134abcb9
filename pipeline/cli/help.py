"""Help pages: options in groups, an example, and the exit codes of the command; plain text."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from typer.core import TyperCommand, TyperGroup

from pipeline.core.errors import Code

ARGUMENTS: Final = "Arguments"
WHAT: Final = "What"
WHERE: Final = "Where"
OPENED: Final = "How it is opened"
PASSPHRASES: Final = "Passphrases"
COMMON: Final = "Every command"

KEY_CODES: Final = tuple(code for code in Code if Code.PUBLIC_ONLY <= code <= Code.UNSUPPORTED)
SERVER_CODES: Final = (Code.UNREACHABLE, Code.DENIED, Code.DEADLINE)
COPY_CODES: Final = (*SERVER_CODES, Code.INTEGRITY, Code.DEGRADED)
SHARE_CODES: Final = (Code.NOT_ENOUGH_SHARES, Code.WRONG_SHARE)

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Usage:
    """What the help page of a command says beyond its options.

    Attributes:
        example: A line that can be typed.
        codes: The exit codes that this command is known for, besides 0, 2 and 3.
    """

    example: str
    codes: frozenset[Code]

    @classmethod
    def of(cls, command: Any) -> Usage | None:
        """What was attached to a command by :func:`usage`."""
        return getattr(command.callback, "usage", None)


def usage(example: str, codes: Iterable[Code] = ()) -> Callable[[F], F]:
    """Attach an example and the exit codes to a command.

    Args:
        example: A line that can be typed.
        codes: The exit codes that this command is known for, besides 0, 2 and 3.
    """

    def attach(function: F) -> F:
        function.usage = Usage(example, frozenset(codes))  # type: ignore[attr-defined]  # any function has room
        return function

    return attach


def _format_options(command: Any, ctx: Any, formatter: Any) -> None:
    group = hasattr(command, "commands")
    panels: dict[str, list[tuple[str, str]]] = {}
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        if record is None:
            continue
        own = ARGUMENTS if parameter.param_type_name == "argument" else "Options" if group else COMMON
        panels.setdefault(getattr(parameter, "rich_help_panel", None) or own, []).append(record)
    order = [
        ARGUMENTS,
        WHAT,
        WHERE,
        OPENED,
        PASSPHRASES,
        *(name for name in panels if name != COMMON),
        COMMON,
    ]
    for heading in sorted(panels, key=order.index):
        with formatter.section(heading):
            formatter.write_dl(panels[heading])


class HelpCommand(TyperCommand):
    """A command whose help page has groups of options, an example and exit codes."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options, group by group."""
        _format_options(self, ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the example and the exit codes."""
        usage = Usage.of(self)
        if usage is None:
            return
        with formatter.section("Example"):
            formatter.write(" " * formatter.current_indent + usage.example + "\n")
        codes = sorted({Code.OK, Code.USAGE, Code.LOCAL_FILES} | usage.codes)
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(int(code)), code.meaning) for code in codes])
        formatter.write_paragraph()
        formatter.write_text("All exit codes: docs/exit-codes.md")


class HelpGroup(TyperGroup):
    """A group of commands whose help page has groups of options."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the commands, then the options."""
        self.format_commands(ctx, formatter)
        _format_options(self, ctx, formatter)
