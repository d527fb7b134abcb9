"""Options that several commands share."""

from __future__ import annotations

from datetime import UTC, datetime
from inspect import Parameter
from pathlib import Path
from types import NoneType
from typing import Any, Final, get_args

import typer
from typer.models import ParameterInfo

from pipeline.cli.help import COMMON, OPENED, PASSPHRASES, WHAT
from pipeline.core.errors import UsageProblem


def opt(
    name: str, text: str, metavar: str | None = None, panel: str = WHAT, *, default: Any = ..., **more: Any
) -> Any:
    """An option, as the default of a command's parameter.

    Args:
        name: How it is written; several spellings with a slash between.
        text: Its line on the help page.
        metavar: What stands for its value; ``None`` for a flag.
        panel: The heading under which the help page shows it.
        default: Its value where it is left out; without one a flag is off, a type with ``None`` is ``None``,
            and anything else is required.
        more: What else :func:`typer.Option` takes.
    """
    return typer.Option(default, *name.split("/"), metavar=metavar, help=text, rich_help_panel=panel, **more)


def arg(metavar: str, text: str) -> Any:
    """An argument, as the default of a command's parameter.

    Args:
        metavar: What stands for it.
        text: Its line on the help page.
    """
    return typer.Argument(metavar=metavar, help=text)


def parameter(name: str, kind: Any, option: Any) -> Parameter:
    """A parameter of a command as typer wants it.

    Args:
        name: Its name.
        kind: Its type.
        option: What :func:`opt` or :func:`arg` made.
    """
    if isinstance(option, ParameterInfo) and option.default is ...:
        option.default = None if NoneType in get_args(kind) else {bool: False, int: 0}.get(kind, ...)
    return Parameter(name, Parameter.KEYWORD_ONLY, default=option, annotation=kind)


def epoch(default: str) -> Any:
    """The option ``--epoch`` of commands that take several.

    Args:
        default: Its value where it is left out.
    """
    return opt("--epoch", "Which epoch.", "latest|all|ID", default=default)


DRY_RUN: Final[Any] = opt("--dry-run", "Say what would be done, and do nothing.")
ONE_EPOCH: Final[Any] = opt(
    "--epoch", "An epoch's name from `orgkey list`, or latest.", "latest|ID", default="latest"
)
ACCEPT_CUSTODY_CHANGE: Final[Any] = opt(
    "--accept-custody-change", "Follow the configured custody plan although it is not the last epoch's."
)

SHARED: Final[dict[str, tuple[Any, Any]]] = {
    "via": (str | None, opt("--via", "Only this custody path.", "PATH", OPENED)),
    "share": (
        list[str] | None,
        opt(
            "--share",
            "A custodian's share: words, or encrypted to you (gpg opens it here); - for standard input; "
            "repeatable.",
            "FILE",
            OPENED,
        ),
    ),
    "share_fd": (
        list[int] | None,
        opt("--share-fd", "The same, from an open file descriptor; repeatable.", "N", OPENED),
    ),
    "export_passphrase_file": (
        Path | None,
        opt("--export-passphrase-file", "The export's passphrase.", "FILE", PASSPHRASES),
    ),
    "export_passphrase_fd": (
        int | None,
        opt("--export-passphrase-fd", "The same, from an open file descriptor.", "N", PASSPHRASES),
    ),
    "export_passphrase_command": (
        str | None,
        opt("--export-passphrase-command", "The same, printed by a command.", "COMMAND", PASSPHRASES),
    ),
    "new_passphrase_file": (
        Path | None,
        opt("--new-passphrase-file", "The passphrase for the restored key.", "FILE", PASSPHRASES),
    ),
    "new_passphrase_fd": (
        int | None,
        opt("--new-passphrase-fd", "The same, from an open file descriptor.", "N", PASSPHRASES),
    ),
    "new_passphrase_command": (
        str | None,
        opt("--new-passphrase-command", "The same, printed by a command.", "COMMAND", PASSPHRASES),
    ),
    "config": (Path | None, opt("--config", "The configuration to use.", "FILE", COMMON)),
    "state_dir": (Path | None, opt("--state-dir", "Where state is kept.", "DIR", COMMON)),
    "fingerprint": (
        str | None,
        opt(
            "--fingerprint",
            "The Org Key's fingerprint: one of key.former, or where none is pinned.",
            "FPR",
            COMMON,
        ),
    ),
    "json": (bool, opt("--json", "Print one JSON document on stdout.", None, COMMON)),
    "quiet": (bool, opt("--quiet/-q", "No progress, only warnings and errors.", None, COMMON)),
    "verbose": (
        int,
        opt(
            "-v/--verbose",
            "More logs on stderr; repeat for more.",
            None,
            COMMON,
            count=True,
            show_default=False,
        ),
    ),
}
"""Type and option for each field of :class:`pipeline.cli.command.Invocation`."""

SPEAKING: Final = ("json", "quiet", "verbose")
COMMON_OPTIONS: Final = ("config", "state_dir", "fingerprint", *SPEAKING)
UNSEAL: Final = ("via", "share", "share_fd")
EXPORT_PASSPHRASE: Final = ("export_passphrase_file", "export_passphrase_fd", "export_passphrase_command")
NEW_PASSPHRASE: Final = ("new_passphrase_file", "new_passphrase_fd", "new_passphrase_command")


def epochs(choice: str) -> tuple[str, ...] | None:
    """Read the value of ``--epoch``: ``latest`` is empty, ``all`` is ``None``."""
    if choice == "all":
        return None
    return () if choice == "latest" else (choice,)


def since_day(text: str | None) -> datetime | None:
    """The moment that ``--since`` names: the beginning of a day, in UTC.

    Raises:
        UsageProblem: It is not a date.
    """
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        raise UsageProblem(f"--since {text!r} is not a date", hint="write it as 2026-01-31") from None
