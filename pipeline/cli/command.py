"""The skeleton of a command: options that it shares with others, the configuration, the run, the answer.

A command is a function whose first parameter is the :class:`Invocation`; its other parameters are its own
options::

    @command("orgkey repair --dry-run", COPY_CODES, job="repair")
    def repair(call: Invocation, epoch: str = options.epoch("all"), dry_run: bool = DRY_RUN) -> Code:
        ...
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_type_hints

from pipeline.cli import jobs
from pipeline.cli.help import usage
from pipeline.cli.options import COMMON_OPTIONS, SHARED, parameter
from pipeline.cli.output import Output
from pipeline.core.errors import Code, LocalFilesProblem, OrgkeyError

if TYPE_CHECKING:
    from pipeline.archive.run import KeyScope
    from pipeline.cli.documents import Document
    from pipeline.config import Config, Job
    from pipeline.core.clock import Clock, Deadline
    from pipeline.core.secret import SecretSource
    from pipeline.unseal.ceremony import UnsealRequest


NO_PIN: Final = "0" * 40
"""Stands for the fingerprint where none is pinned yet."""


@dataclass(frozen=True)
class Invocation:
    """The values of the options that commands share; those that a command does not take are left out."""

    config: Path | None = None
    state_dir: Path | None = None
    fingerprint: str | None = None
    json: bool = False
    quiet: bool = False
    verbose: int = 0
    via: str | None = None
    share: list[str] | None = None
    share_fd: list[int] | None = None
    export_passphrase_file: Path | None = None
    export_passphrase_fd: int | None = None
    export_passphrase_command: str | None = None
    new_passphrase_file: Path | None = None
    new_passphrase_fd: int | None = None
    new_passphrase_command: str | None = None

    @cached_property
    def out(self) -> Output:
        """Where the command speaks."""
        return Output(json=self.json, quiet=self.quiet)

    def begin(self) -> None:
        """Start logging, and remove what killed runs left in memory."""
        from pipeline.core import log
        from pipeline.openpgp.gnupg import home

        home.sweep_orphans()
        log.setup(-1 if self.quiet else self.verbose)

    @cached_property
    def loaded(self) -> Config:
        """The configuration; the first use reads it and says which file it is.

        Raises:
            UsageProblem: There is none, or it is not valid.
        """
        from pipeline import config

        path = config.locate(self.config)
        loaded = config.load(path)
        jobs.configured(loaded, self.state_dir, self.fingerprint)
        self.out.progress(f"configuration: {path}")
        return loaded

    def context(self, fingerprint: str | None = None, clock: Clock | None = None) -> KeyScope:
        """Put a run together.

        Args:
            fingerprint: What an operator confirmed as the pin of this run.
            clock: Where time comes from; this host's own when ``None``.

        Raises:
            UsageProblem: The configuration is missing or not valid, or no key is pinned.
        """
        from pipeline.wiring import factory

        return factory.context(
            self.loaded,
            fingerprint=fingerprint or self.fingerprint,
            state_dir=self.state_dir,
            reporter=self.out,
            clock=clock,
        )

    def unseal_request(self, deadline: Deadline) -> UnsealRequest:
        """How records are opened: as the options say, and by asking people where somebody is there."""
        from pipeline.cli import ceremony_prompt, shares
        from pipeline.unseal.ceremony import UnsealRequest

        given = shares.read(self.share, deadline, self.share_fd)
        return UnsealRequest(self.via, given, ceremony_prompt.at_terminal(self.out, deadline))

    def answer(self, document: Document, lines: Iterable[str]) -> Code:
        """Print the result, as a document or for a person.

        Returns:
            The exit code that the document names, or ``OK``.
        """
        self.out.emit(document.to_json() if self.json else {}, lines)
        return getattr(document, "exit_code", Code.OK)

    def passphrase(
        self,
        kind: str,
        prompt: str,
        file: Path | None = None,
        command: tuple[str, ...] | None = None,
        *,
        confirm: bool = False,
    ) -> SecretSource:
        """Say where a passphrase comes from, without asking for it yet.

        Args:
            kind: ``export`` or ``new``: which options.
            prompt: What a person is asked.
            file: A file that is read where no option is given.
            command: A command that is run where no option is given.
            confirm: Whether a person types it twice.

        Raises:
            UsageProblem: More than one way is given.
        """
        from pipeline.core import passphrases

        given = [getattr(self, f"{kind}_passphrase_{way}") for way in ("file", "fd", "command")]
        if given == [None, None, None]:
            given = [file, None, command]
        return passphrases.from_options(
            prompt,
            file=given[0],
            fd=given[1],
            command=given[2],
            confirm=confirm,
            new=kind == "new",
            option_names=f"--{kind}-passphrase-file, --{kind}-passphrase-fd or --{kind}-passphrase-command",
        )


def command(
    example: str,
    codes: Iterable[Code] = (),
    *,
    takes: Iterable[str] = (),
    shared: Iterable[str] = COMMON_OPTIONS,
    parameters: Iterable[inspect.Parameter] = (),
    job: Job | None = None,
    words: str | None = None,
) -> Callable[[Callable[..., Code]], Callable[..., Code]]:
    """Make a function a command.

    Args:
        example: A line for its help page.
        codes: The exit codes that it is known for.
        takes: Names of options of :data:`pipeline.cli.options.SHARED` that it takes before its own.
        shared: The same, for those that the help page shows last.
        parameters: More options, which the function takes as ``**``.
        job: Its name in ``[ping.JOB]`` and in notifications, where it is a job.
        words: The words of the command, where they differ from the job's name.
    """
    names, more = (*takes, *shared), tuple(parameters)

    def decorate(function: Callable[..., Code]) -> Callable[..., Code]:
        hints = get_type_hints(function, include_extras=True)
        _, *own = inspect.signature(function).parameters.values()

        @functools.wraps(function)
        def run(**values: Any) -> Code:
            call = Invocation(**{name: values.pop(name) for name in names if name in values})
            if "quiet" in names:
                call.begin()
            return function(call, **values)

        options = [
            parameter(item.name, hints[item.name], item.default)
            for item in own
            if item.kind is not item.VAR_KEYWORD
        ]
        options += [*more, *(parameter(name, *SHARED[name]) for name in names)]
        run.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]  # any function has room
        run.__annotations__ = {item.name: item.annotation for item in options}
        described = usage(example, codes)(run)
        return jobs.job(job, words)(described) if job else described

    return decorate


def read_file(path: Path, limit: int, kind: type[OrgkeyError] = LocalFilesProblem) -> bytes:
    """Read a file that the operator names, up to one byte over a limit.

    Args:
        path: The file, or a pipe.
        limit: The most bytes that are wanted.
        kind: What is raised where it cannot be read.
    """
    from pipeline.core import files

    try:
        with files.expanded(path).open("rb") as stream:
            return stream.read(limit + 1)
    except OSError as error:
        raise kind(
            f"cannot read {path}: {error.strerror or error}", hint="check the path and its permissions"
        ) from error
