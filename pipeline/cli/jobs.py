"""Commands that are jobs: how they end is notified and pinged. The one place where that is hooked in."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, ParamSpec

import typer

from pipeline.cli.output import Output, printable
from pipeline.core import host_limits, passphrases
from pipeline.core.errors import Code, OrgkeyError
from pipeline.core.signals import Signalled

if TYPE_CHECKING:
    from pipeline.config import Config
    from pipeline.config.sections import Job
    from pipeline.monitoring.notify.job import RunNotifier
    from pipeline.monitoring.rules import Rule

P = ParamSpec("P")


@dataclass
class _Running:
    job: Job
    command: str
    configured: tuple[Config, Path | None, str | None] | None = None
    alarm: RunNotifier | None = None
    rules: tuple[Rule, ...] = ()


_running: _Running | None = None
_QUESTIONS: Final = frozenset({"status", "verify", "report"})


def job(name: Job, command: str | None = None) -> Callable[[Callable[P, Code]], Callable[P, Code]]:
    """Make a command a job: its start and its end are notified and pinged as the configuration says.

    A dry run is none. How it ends is never changed by telling it.

    Args:
        name: The job's name in the configuration.
        command: The command's words, where they differ.
    """

    def decorate(function: Callable[P, Code]) -> Callable[P, Code]:
        @functools.wraps(function)
        def run(*args: P.args, **options: P.kwargs) -> Code:
            global _running
            _running = None if options.get("dry_run") else _Running(name, command or name)
            try:
                code = function(*args, **options)
            except (typer.Exit, typer.Abort):
                raise
            except Exception as error:
                problem = error if isinstance(error, OrgkeyError) else host_limits.exhaustion(error, "go on")
                if problem is not None:
                    ended(problem.code, problem.message, problem.hint)
                else:
                    ended(Code.INTERNAL, f"internal error: {type(error).__name__}")
                raise
            ended(code)
            return code

        return run

    return decorate


def configured(config: Config, state_dir: Path | None, fingerprint: str | None) -> None:
    """Say what the present run is configured with, and begin it.

    Args:
        config: The configuration.
        state_dir: The value of ``--state-dir``.
        fingerprint: The value of ``--fingerprint``.
    """
    running = _running
    if running is None or running.configured or not (config.notify or running.job in config.ping):
        return
    if running.job in _QUESTIONS and passphrases.interactive():
        return  # a person asks, and reads the answer: nobody is paged, and no schedule's ping is made
    running.configured = (config, state_dir, fingerprint)
    begin()


def begin() -> None:
    """Begin the job, or its next round."""
    running = _running
    if running is None or running.configured is None:
        return
    from pipeline.config import state_root
    from pipeline.monitoring.notify.job import RunNotifier
    from pipeline.wiring import factory

    config, state_dir, fingerprint = running.configured
    try:
        pin = factory.pinned(config, fingerprint)
    except OrgkeyError:
        pin = config.key.fingerprint if config.key else None
    root = state_root(state_dir) / pin if pin else None
    warn = Output().warn
    running.alarm = RunNotifier(config, running.job, running.command, fingerprint=pin, root=root, warn=warn)
    running.rules = ()
    _safely(running.alarm.begin)


def judged(rules: Iterable[Rule]) -> None:
    """Hand over the gate's rules, where the job has judged them."""
    if _running is not None:
        _running.rules = tuple(rules)


def ended(code: Code, message: str = "", hint: str = "", problems: Iterable[str] = ()) -> None:
    """Tell how the job, or its round, ended; once.

    Args:
        code: The exit code.
        message: What happened; left out, the problems, or what the code means.
        hint: What to do.
        problems: What went wrong beside the gate's rules.
    """
    running = _running
    if running is None or running.alarm is None:
        return
    alarm, running.alarm = running.alarm, None
    from pipeline.monitoring.notify.message import JobOutcome

    also = tuple(map(printable, problems))
    broken = [(f"{rule.name} {rule.subject}".strip(), rule) for rule in running.rules if not rule.ok]
    outcome = JobOutcome(
        code,
        printable(message) or "; ".join(also) or code.meaning,
        printable(hint),
        broken=tuple(printable(rule.text) for _, rule in broken),
        # By no text of theirs: one that differs each time would be told each time.
        wrong=(*(name for name, rule in broken if not rule.overdue), *("problem" for _ in also)),
        overdue={name: rule.text for name, rule in broken if rule.overdue},
    )
    _safely(lambda: alarm.end(outcome))


def _safely(tell: Callable[[], None]) -> None:
    """The job has its result by now, or is about to find it: nothing in here may change that."""
    try:
        tell()
    except Signalled:
        Output().warn("interrupted while notifications of how the run ended were sent")
    except Exception as error:
        Output().warn(f"notifications of the run failed: {type(error).__name__}")
