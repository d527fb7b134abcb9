"""The skeleton of a command: its options, the configuration, the run, the answer, its help page.

A command is a function whose first parameter is the :class:`Invocation`; its other parameters are its own
options::

    @command("orgkey repair --dry-run", COPY_CODES, job="repair")
    def repair(call: Invocation, epoch: str = epoch_option("all"), dry_run: bool = DRY_RUN) -> Code:
        ...
"""

from __future__ import annotations

import functools
import gc
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import cached_property
from inspect import Parameter
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, Final, Literal, get_args, get_type_hints

import typer
from typer.models import ParameterInfo

from pipeline.cli import completion, jobs
from pipeline.cli.output import Output
from pipeline.core.errors import Code, UsageProblem

if TYPE_CHECKING:
    from pipeline.archive.run import KeyScope
    from pipeline.config import Config
    from pipeline.config.sections import Job
    from pipeline.core.clock import Clock, Deadline
    from pipeline.core.documents import Document
    from pipeline.core.secret import SecretSource
    from pipeline.unseal.ceremony import UnsealRequest

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

NO_PIN: Final = "0" * 40
"""Stands for the fingerprint where none is pinned yet."""


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


def arg(metavar: str, text: str, **more: Any) -> Any:
    """An argument, as the default of a command's parameter.

    Args:
        metavar: What stands for it.
        text: Its line on the help page.
        more: What else :func:`typer.Argument` takes.
    """
    return typer.Argument(metavar=metavar, help=text, **more)


def parameter(name: str, kind: Any, option: Any) -> Parameter:
    """A parameter of a command as typer wants it.

    Args:
        name: Its name.
        kind: Its type.
        option: What :func:`opt` or :func:`arg` made.
    """
    if isinstance(option, ParameterInfo) and option.default is ...:
        option.default = None if NoneType in get_args(kind) else False if kind is bool else ...
    return Parameter(name, Parameter.KEYWORD_ONLY, default=option, annotation=kind)


def epoch_option(default: str) -> Any:
    """The option ``--epoch`` of commands that take several; :func:`epochs` reads its value.

    Args:
        default: Its value where it is left out.
    """
    return opt("--epoch", "Which epoch.", "latest|all|ID", default=default, autocompletion=completion.EPOCHS)


def epochs(choice: str) -> tuple[str, ...] | None:
    """Read the value of ``--epoch``: ``latest`` is empty, ``all`` is ``None``."""
    return None if choice == "all" else () if choice == "latest" else (choice,)


def since_day(text: str | None) -> datetime | None:
    """The moment that ``--since`` names: the beginning of a day, in UTC.

    Raises:
        UsageProblem: It is not a date, or lies ahead: nothing is from then on.
    """
    if text is None:
        return None
    try:
        day = datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        raise UsageProblem(f"--since {text!r} is not a date", hint="write it as 2026-01-31") from None
    if day > datetime.now(UTC):
        raise UsageProblem(f"--since {text} is in the future", hint="give the first day of a past period")
    return day


DRY_RUN: Final[Any] = opt("--dry-run", "Say what would be done, and do nothing.")
ONE_EPOCH: Final[Any] = opt(
    "--epoch",
    "An epoch's name from `orgkey list`, or latest.",
    "latest|ID",
    default="latest",
    autocompletion=completion.ONE_EPOCH,
)
CUSTODY_CHANGE: Final[Any] = opt(
    "--accept-custody-change", "Follow the configured custody plan although it is not the last epoch's."
)


def _shared(*option: Any, default: Any = None, **more: Any) -> Any:
    return field(default=default, metadata={"option": opt(*option, default=default, **more)})


@dataclass(frozen=True)
class Invocation:
    """The values of the options that commands share; those that a command does not take are left out.

    Attributes:
        ways: The values of options that say where a passphrase comes from.
    """

    config: Path | None = _shared("--config", "The configuration to use.", "FILE", COMMON)
    state_dir: Path | None = _shared("--state-dir", "Where state is kept.", "DIR", COMMON)
    fingerprint: str | None = _shared(
        "--fingerprint",
        "Which Org Key: one of key.former, or any where the configuration pins none.",
        "FPR",
        COMMON,
        autocompletion=completion.PINS,
    )
    json: bool = _shared("--json", "Print one JSON document on stdout.", None, COMMON, default=False)
    quiet: bool = _shared("--quiet/-q", "No progress, only warnings and errors.", None, COMMON, default=False)
    verbose: int = _shared(
        "-v/--verbose", "More logs on stderr; repeat for more.", None, COMMON,
        default=0, count=True, show_default=False,
    )  # fmt: skip
    via: str | None = _shared(
        "--via", "Only this custody path.", "PATH", OPENED, autocompletion=completion.PATHS
    )
    share: list[str] | None = _shared(
        "--share",
        "A custodian's share: words, or encrypted to you (gpg opens it here); - for standard input; "
        "repeatable.",
        "FILE",
        OPENED,
    )
    share_fd: list[int] | None = _shared(
        "--share-fd", "The same, from an open file descriptor; repeatable.", "N", OPENED
    )
    ways: Mapping[str, Any] = field(default_factory=dict)

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

    @property
    def pin(self) -> str:
        """The key that is meant, for what can be done before one is pinned: then :data:`NO_PIN`."""
        return self.fingerprint or (self.loaded.key.fingerprint if self.loaded.key else NO_PIN)

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
        return UnsealRequest(self.via, given, ceremony_prompt.at_terminal(deadline))

    def answer(self, document: Document, lines: Iterable[str] | None = None) -> Code:
        """Print the result.

        Args:
            document: What ``--json`` prints.
            lines: What a person reads instead; else what the document says itself.

        Returns:
            The exit code that the document names, or ``OK``.
        """
        self.out.emit(document.to_json() if self.json else {}, document.lines() if lines is None else lines)
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

        given: dict[str, Any] = {way: self.ways.get(f"{kind}_passphrase_{way}") for way in _WAYS}
        if not self.has_passphrase:
            given |= {"file": file, "command": command}
        *names, last = [f"--{kind}-passphrase-{way}" for way in _WAYS]
        return passphrases.from_options(
            prompt, **given, confirm=confirm, new=kind == "new", option_names=f"{', '.join(names)} or {last}"
        )

    @property
    def has_passphrase(self) -> bool:
        """Whether an option says where a passphrase comes from."""
        return any(way is not None for way in self.ways.values())


_WAYS: Final[dict[str, tuple[Any, str, str]]] = {
    "file": (Path | None, "FILE", ""),
    "fd": (int | None, "N", "The same, from an open file descriptor."),
    "command": (str | None, "COMMAND", "The same, printed by a command."),
}
"""How a passphrase comes: the option's type, what stands for its value, its line on the help page."""


def _passphrases() -> Iterator[tuple[str, Parameter]]:
    kinds = {"export": "The export's passphrase.", "new": "The passphrase for the restored key."}
    for kind, what in kinds.items():
        for way, (hint, metavar, text) in _WAYS.items():
            name, option = f"{kind}_passphrase_{way}", f"--{kind}-passphrase-{way}"
            yield name, parameter(name, hint, opt(option, text or what, metavar, PASSPHRASES))


_PASSPHRASES: Final = dict(_passphrases())
_SHARED: Final = _PASSPHRASES | {
    item.name: parameter(item.name, hint, item.metadata["option"])
    for item, hint in zip(fields(Invocation), get_type_hints(Invocation).values(), strict=True)
    if item.metadata
}
SPEAKING: Final = ("json", "quiet", "verbose")
COMMON_OPTIONS: Final = ("config", "state_dir", "fingerprint", *SPEAKING)
_TAKES: Final[Mapping[str, tuple[tuple[str, ...], tuple[Code, ...]]]] = {
    "unseal": (("via", "share", "share_fd"), SHARE_CODES),
    "export_passphrase": (tuple(_PASSPHRASES)[:3], ()),
    "new_passphrase": (tuple(_PASSPHRASES)[3:], ()),
}
"""Options that go together, and the exit codes that come with them."""


@dataclass(frozen=True)
class Usage:
    """What the help page of a command says beyond its options.

    Attributes:
        example: A line that can be typed.
        codes: The exit codes that this command is known for, besides 0, 2 and 3.
    """

    example: str
    codes: frozenset[Code]


def command(
    example: str,
    codes: Iterable[Code] = (),
    *,
    takes: Iterable[Literal["unseal", "export_passphrase", "new_passphrase"]] = (),
    shared: Iterable[str] = COMMON_OPTIONS,
    parameters: Iterable[Parameter] = (),
    job: Job | None = None,
) -> Callable[[Callable[..., Code]], Callable[..., Code]]:
    """Make a function a command.

    Args:
        example: A line for its help page.
        codes: The exit codes that it is known for, besides 0, 2 and 3.
        takes: What it takes besides its own options: how a record is opened, passphrases.
        shared: The options of every command that it takes.
        parameters: More options, which the function takes as ``**``.
        job: Its name in ``[ping.JOB]`` and in notifications, where it is a job.
    """
    names = (*(name for what in takes for name in _TAKES[what][0]), *shared)
    known = frozenset((*codes, *(code for what in takes for code in _TAKES[what][1])))

    def decorate(function: Callable[..., Code]) -> Callable[..., Code]:
        hints = get_type_hints(function, include_extras=True)
        _, *own = inspect.signature(function).parameters.values()

        @functools.wraps(function)
        def run(**values: Any) -> Code:
            gc.freeze()  # what is imported stays
            gc.set_threshold(20_000)  # commands leave few cycles: to look after 700 objects finds nothing
            gc.enable()
            values = {name: _at_home(value) for name, value in values.items()}
            ways = {name: values.pop(name) for name in names if name in _PASSPHRASES}
            call = Invocation(**{name: values.pop(name) for name in names if name in values}, ways=ways)
            if "verbose" in names:
                call.begin()
            return function(call, **values)

        options = [
            parameter(item.name, hints[item.name], item.default)
            for item in own
            if item.kind is not item.VAR_KEYWORD
        ]
        options += [*parameters, *(_SHARED[name] for name in names)]
        run.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]  # any function has room
        run.__annotations__ = {item.name: item.annotation for item in options}
        run.usage = Usage(example, known)  # type: ignore[attr-defined]  # the same
        words = function.__module__.rpartition(".")[2].removesuffix("_command").replace("_", " ")
        return jobs.job(job, words)(run) if job else run

    return decorate


def _at_home(value: Any) -> Any:
    """Paths with the home that ``~`` stands for: a shell leaves ``--out=~/key.asc`` as it is."""
    from pipeline.core import files

    if isinstance(value, list):
        return [_at_home(item) for item in value]
    return files.expanded(value) if isinstance(value, Path) else value
