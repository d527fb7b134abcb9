"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from pipeline.cli.help import COMMON, OPENED, PASSPHRASES, WHAT


def opt(name: str, text: str, metavar: str | None = None, panel: str = WHAT, **more: Any) -> Any:
    """An option.

    Args:
        name: How it is written; several spellings with a slash between.
        text: Its line on the help page.
        metavar: What stands for its value; ``None`` for a flag.
        panel: The heading under which the help page shows it.
        more: What else :func:`typer.Option` takes.
    """
    return typer.Option(*name.split("/"), metavar=metavar, help=text, rich_help_panel=panel, **more)


DryRun = Annotated[bool, opt("--dry-run", "Say what would be done, and do nothing.")]
EpochChoice = Annotated[str, opt("--epoch", "Which epoch.", "latest|all|ID")]
OneEpoch = Annotated[str, opt("--epoch", "An epoch's name from `orgkey list`, or latest.", "latest|ID")]
AcceptCustodyChange = Annotated[
    bool,
    opt(
        "--accept-custody-change",
        "Follow the configured custody plan although it is not the last epoch's.",
    ),
]

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
