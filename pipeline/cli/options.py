"""Options that many commands share, and the start of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli import jobs
from pipeline.cli.output import Output

if TYPE_CHECKING:
    from pipeline.archive.context import Context
    from pipeline.config import Config
    from pipeline.core.clock import Clock
    from pipeline.core.secret import SecretSource

_COMMON = "Every command"
_SECRETS = "Passphrases"

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="The configuration to use.", rich_help_panel=_COMMON),
]
StateDir = Annotated[
    Path | None,
    typer.Option("--state-dir", metavar="DIR", help="Where state is kept.", rich_help_panel=_COMMON),
]
Fingerprint = Annotated[
    str | None,
    typer.Option(
        "--fingerprint",
        metavar="FPR",
        help="The Org Key's fingerprint: one of key.former, or where none is pinned.",
        rich_help_panel=_COMMON,
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on stdout.", rich_help_panel=_COMMON)
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="No progress, only warnings and errors.", rich_help_panel=_COMMON),
]
Verbose = Annotated[
    int,
    typer.Option(
        "-v", "--verbose", count=True, help="More logs on stderr; repeat for more.", rich_help_panel=_COMMON
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
EpochChoice = Annotated[str, typer.Option("--epoch", metavar="latest|all|ID", help="Which epoch.")]
AcceptCustodyChange = Annotated[
    bool,
    typer.Option(
        "--accept-custody-change",
        help="Follow the configured custody plan although it is not the last epoch's.",
    ),
]
ExportPassphraseFile = Annotated[
    Path | None,
    typer.Option(
        "--export-passphrase-file", metavar="FILE", help="The export's passphrase.", rich_help_panel=_SECRETS
    ),
]
ExportPassphraseFd = Annotated[
    int | None,
    typer.Option(
        "--export-passphrase-fd",
        metavar="N",
        help="The same, from an open file descriptor.",
        rich_help_panel=_SECRETS,
    ),
]
ExportPassphraseCommand = Annotated[
    str | None,
    typer.Option(
        "--export-passphrase-command",
        metavar="COMMAND",
        help="The same, printed by a command.",
        rich_help_panel=_SECRETS,
    ),
]
NewPassphraseFile = Annotated[
    Path | None,
    typer.Option(
        "--new-passphrase-file",
        metavar="FILE",
        help="The passphrase for the restored key.",
        rich_help_panel=_SECRETS,
    ),
]
NewPassphraseFd = Annotated[
    int | None,
    typer.Option(
        "--new-passphrase-fd",
        metavar="N",
        help="The same, from an open file descriptor.",
        rich_help_panel=_SECRETS,
    ),
]
NewPassphraseCommand = Annotated[
    str | None,
    typer.Option(
        "--new-passphrase-command",
        metavar="COMMAND",
        help="The same, printed by a command.",
        rich_help_panel=_SECRETS,
    ),
]


@dataclass(frozen=True)
class Common:
    """The values of the options that every command has."""

    config: Path | None
    state_dir: Path | None
    fingerprint: str | None
    json: bool
    quiet: bool
    verbose: int

    def output(self) -> Output:
        """Start logging, remove what killed runs left in memory, and say where the command speaks."""
        from pipeline.core import log as logs
        from pipeline.openpgp.gnupg import home as gnupg_home

        gnupg_home.sweep_orphans()
        logs.setup(-1 if self.quiet else self.verbose)
        return Output(json=self.json, quiet=self.quiet)

    def load(self, out: Output) -> Config:
        """Find and read the configuration, and say which one it is.

        Raises:
            UsageProblem: There is none, or it is not valid.
        """
        from pipeline import config

        path = config.locate(self.config)
        loaded = config.load(path)
        jobs.configured(loaded, self.state_dir, self.fingerprint)
        out.progress(f"configuration: {path}")
        return loaded

    def context(
        self,
        out: Output,
        loaded: Config | None = None,
        fingerprint: str | None = None,
        clock: Clock | None = None,
    ) -> Context:
        """Put the run together.

        Args:
            out: Where progress goes.
            loaded: The configuration, when it was read before.
            fingerprint: What an operator confirmed as the pin of this run.
            clock: Where time comes from; this host's own when ``None``.

        Raises:
            UsageProblem: The configuration is missing or not valid, or no key is pinned.
        """
        from pipeline.wiring import factory as wiring

        return wiring.context(
            loaded or self.load(out),
            fingerprint=fingerprint or self.fingerprint,
            state_dir=self.state_dir,
            reporter=out,
            clock=clock,
        )


def epochs(choice: str) -> tuple[str, ...] | None:
    """Read the value of ``--epoch``: ``latest`` is empty, ``all`` is ``None``."""
    if choice == "all":
        return None
    return () if choice == "latest" else (choice,)


def passphrase_source(
    kind: str,
    prompt: str,
    file: Path | None,
    fd: int | None,
    command: str | tuple[str, ...] | None,
    *,
    confirm: bool = False,
) -> SecretSource:
    """Say where a passphrase comes from, without asking for it yet.

    Args:
        kind: ``export`` or ``new``; names the options in errors.
        prompt: What a person is asked.
        file: From ``--<kind>-passphrase-file``.
        fd: From ``--<kind>-passphrase-fd``.
        command: From ``--<kind>-passphrase-command``.
        confirm: Whether a person types it twice.

    Raises:
        UsageProblem: More than one way is given.
    """
    from pipeline.core import passphrases as inputs

    return inputs.from_options(
        prompt,
        file=file,
        fd=fd,
        command=command,
        confirm=confirm,
        new=kind == "new",
        option_names=f"--{kind}-passphrase-file, --{kind}-passphrase-fd or --{kind}-passphrase-command",
    )
