"""Executes a runbook: every block of it, in order, in one shell, with the scene's happenings in between."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.runbooks import pages
from tests.runbooks.pages import Command, PageProblem

SECONDS = 180.0
MARK = "--runbook-command-ended-with-"


class RunbookFailed(AssertionError):
    """A command did something else than its page says."""


class Shell:
    """``sh -u`` in a directory: variables of one command are there in the next one.

    Args:
        folder: Its working directory.
        env: Its whole environment.
    """

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self._shell = subprocess.Popen(
            ["sh", "-u"],
            cwd=folder,
            env=dict(env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.close()
        try:
            self._shell.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(self._shell.pid, signal.SIGKILL)
            self._shell.wait()
        self._shell.stdout.close()

    def run(self, text: str) -> tuple[int, str]:
        """Run one command, without anything to read.

        Returns:
            Its exit code, and what it printed.

        Raises:
            RunbookFailed: The shell ended, or the command does not.
        """
        assert self._shell.stdin is not None
        # Not a subshell: what it sets stays. Its end is told in a line that no page can hold.
        call = f"{{ {text}\n}} </dev/null\nprintf '\\n{MARK}%s\\n' \"$?\"\n"
        try:
            self._shell.stdin.write(call.encode())
            self._shell.stdin.flush()
        except BrokenPipeError:
            raise RunbookFailed("the shell has ended") from None
        said, _, code = self._read().rpartition(f"\n{MARK}")
        return int(code), said

    def _read(self) -> str:
        assert self._shell.stdout is not None
        said, ends = b"", time.monotonic() + SECONDS
        while not (said.endswith(b"\n") and MARK.encode() in said):
            if not select.select([self._shell.stdout], [], [], max(ends - time.monotonic(), 0))[0]:
                raise RunbookFailed(f"it does not end:\n{said.decode(errors='replace')}")
            more = os.read(self._shell.stdout.fileno(), 65536)
            if not more:
                raise RunbookFailed(f"the shell has ended:\n{said.decode(errors='replace')}")
            said += more
        return said.decode(errors="replace")


def execute(
    page: Path,
    folder: Path,
    env: Mapping[str, str],
    happenings: Mapping[str, Callable[[], None]] | None = None,
) -> list[Command]:
    """Execute a page.

    Args:
        page: The page.
        folder: Where its commands run.
        env: Their whole environment.
        happenings: What the scene does where the page says so; each must be named by the page.

    Returns:
        The commands that were executed: all of them.

    Raises:
        PageProblem: The page cannot be executed as it stands.
        RunbookFailed: A command did something else than the page says.
    """
    happenings = happenings or {}
    steps = pages.read(page)
    named = {step.name for step in steps if not isinstance(step, Command)}
    if named != set(happenings):
        raise PageProblem(
            f"{page.name}: happens in the page {sorted(named)}, in the scene {sorted(happenings)}"
        )
    done: list[Command] = []
    with Shell(folder, env) as shell:
        for step in steps:
            if isinstance(step, Command):
                _check(page.name, step, *_run(page.name, shell, step))
                done.append(step)
            else:
                happenings[step.name]()
    executed = {command.block for command in done}
    if executed != set(range(1, pages.blocks_of(page) + 1)):
        raise PageProblem(f"{page.name}: some blocks were not executed, only {sorted(executed)}")
    return done


def _run(page: str, shell: Shell, command: Command) -> tuple[int, str]:
    try:
        return shell.run(command.text)
    except RunbookFailed as error:
        raise RunbookFailed(f"{page}:{command.line}: {command.text}\n{error}") from None


def _check(page: str, command: Command, code: int, said: str) -> None:
    where = f"{page}:{command.line}: {command.text}"
    if code != command.code:
        raise RunbookFailed(f"{where}\nended with {code}, the page says {command.code}\n{said}")
    left = said.splitlines()
    for line in command.shown:
        while left and not _fits(line.strip(), left[0]):
            left.pop(0)
        if not left:
            raise RunbookFailed(f"{where}\ndid not print: {line}\n{said}")
        left.pop(0)


def _fits(wanted: str, line: str) -> bool:
    """Whether the parts between the ellipses stand in a line, in this order."""
    place = 0
    for part in wanted.split("…"):
        found = line.find(part.strip(), place)
        if found < 0:
            return False
        place = found + len(part.strip())
    return True
