"""Executes a page: every block of it, in order, in one shell, with the scene's happenings in between."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
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
        terminal: Whether its commands run at a terminal, where they may ask.
        seconds: How long one command may take.
    """

    def __init__(
        self, folder: Path, env: Mapping[str, str], *, terminal: bool = False, seconds: float = SECONDS
    ) -> None:
        self._seconds = seconds
        self._ours, theirs = pty.openpty() if terminal else os.pipe()
        # The shell leads a session, so the terminal that it opens first becomes the session's.
        self._to = f"<{name} >{name} 2>&1" if terminal and (name := os.ttyname(theirs)) else "</dev/null"
        self._shell = subprocess.Popen(
            ["sh", "-u"],
            cwd=folder,
            env=dict(env),
            stdin=subprocess.PIPE,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._shell.stdin is not None
        self._shell.stdin.close()
        try:
            self._shell.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(self._shell.pid, signal.SIGKILL)
            self._shell.wait()
        os.close(self._ours)

    def run(self, text: str, answers: Sequence[tuple[str, str]] = ()) -> tuple[int, str]:
        """Run one command, without anything to read but the answers to its questions.

        Args:
            text: The command.
            answers: Parts of its questions in their order, and what is typed at the terminal.

        Returns:
            Its exit code, and what it printed.

        Raises:
            RunbookFailed: The shell ended, or the command does not.
        """
        assert self._shell.stdin is not None
        # Not a subshell: what it sets stays. Its end is told in a line that no page can hold.
        call = f"{{ {text}\n}} {self._to}\nprintf '\\n{MARK}%s\\n' \"$?\"\n"
        try:
            self._shell.stdin.write(call.encode())
            self._shell.stdin.flush()
        except BrokenPipeError:
            raise RunbookFailed("the shell has ended") from None
        said, _, code = self._read(list(answers)).rpartition(f"\n{MARK}")
        return int(code), said

    def _read(self, answers: list[tuple[str, str]]) -> str:
        said, answered, ends = b"", 0, time.monotonic() + self._seconds
        while not (said.endswith(b"\n") and MARK.encode() in said):
            if not select.select([self._ours], [], [], max(ends - time.monotonic(), 0))[0]:
                raise RunbookFailed(f"it does not end:\n{said.decode(errors='replace')}")
            more = _read_some(self._ours)
            if not more:
                raise RunbookFailed(f"the shell has ended:\n{said.decode(errors='replace')}")
            said = (said + more).replace(b"\r\n", b"\n")
            if answers and (found := said.find(answers[0][0].encode(), answered)) >= 0:
                answered = found + len(answers[0][0])
                os.write(self._ours, answers.pop(0)[1].encode() + b"\n")
        if answers:
            raise RunbookFailed(f"it did not ask for {answers[0][0]!r}:\n{said.decode(errors='replace')}")
        return said.decode(errors="replace")


def _read_some(handle: int) -> bytes:
    try:
        return os.read(handle, 65536)
    except OSError:  # a terminal whose other side is closed
        return b""


_CHANGING = (
    (r"\x1b\[\d*m", ""),
    (r"\d{8}T\d{6}Z-[0-9a-f]{8}", "EPOCH"),
    (r"\b[0-9A-Z]{26}\b", "VERSION"),
    (r"\b[0-9a-f]{16}\b", "DIGEST"),
    (r"\b\d{4}-\d\d-\d\d\b", "DATE"),
    (r"127\.0\.0\.1:\d+", "ADDRESS"),
    (r"\b\d+ s ago", "AGO"),
    (r"\b\d+\.\d+ s\b", "SECONDS"),
    (r"\bready +\d+", "ready PID"),
    (r"\b\d+\.\d+\.\d+\b", "RELEASE"),
    (r" +", " "),
)
"""What differs from one run to the next, in what a page shows."""


def masked(text: str) -> str:
    """A line without what differs from one run to the next."""
    for pattern, name in _CHANGING:
        text = re.sub(pattern, name, text)
    return text


TUTORIAL: Mapping[str, Sequence[tuple[str, str]]] = {
    "orgkey escrow": [("passphrase of the export:", "correct horse battery staple")],
    "orgkey restore": [("restored key:", "one that I chose"), (", again:", "one that I chose")],
}
"""What the tutorial's commands ask, and what is typed."""


@dataclass(frozen=True)
class Typist:
    """Somebody who types a page at a terminal.

    Attributes:
        answers: Beginnings of commands that ask, with parts of the questions and the answers.
        places: Names of the page that are others on this host.
        hears: Is told each command, and what it printed.
    """

    answers: Mapping[str, Sequence[tuple[str, str]]]
    places: Mapping[str, str]
    hears: Callable[[str, str], None] = lambda _command, _said: None

    def here(self, text: str) -> str:
        """What a page says, with this host's names."""
        for example, place in self.places.items():
            text = text.replace(example, place)
        return text

    def asked(self, text: str) -> Sequence[tuple[str, str]]:
        """The answers to what a command asks."""
        return next((given for begin, given in self.answers.items() if text.startswith(begin)), ())


def execute(
    page: Path,
    folder: Path,
    env: Mapping[str, str],
    happenings: Mapping[str, Callable[[], None]] | None = None,
    typist: Typist | None = None,
    seconds: float = SECONDS,
) -> list[Command]:
    """Execute a page.

    Args:
        page: The page.
        folder: Where its commands run.
        env: Their whole environment.
        happenings: What the scene does where the page says so; each must be named by the page.
        typist: Types it at a terminal; what the page shows is an example then, whose changing values differ.
        seconds: How long one command may take.

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
    with Shell(folder, env, terminal=typist is not None, seconds=seconds) as shell:
        for step in steps:
            if isinstance(step, Command):
                _check(page.name, *_run(page.name, shell, step, typist))
                done.append(step)
            else:
                happenings[step.name]()
    executed = {command.block for command in done}
    if executed != set(range(1, pages.blocks_of(page) + 1)):
        raise PageProblem(f"{page.name}: some blocks were not executed, only {sorted(executed)}")
    return done


def _run(page: str, shell: Shell, command: Command, typist: Typist | None) -> tuple[Command, int, str]:
    """What was to be printed, the exit code, and what was printed."""
    text = typist.here(command.text) if typist else command.text
    try:
        code, said = shell.run(text, typist.asked(text) if typist else ())
    except RunbookFailed as error:
        raise RunbookFailed(f"{page}:{command.line}: {text}\n{error}") from None
    if typist:
        typist.hears(text, said)
        shown = tuple(masked(typist.here(line)) for line in command.shown)
        command, said = replace(command, shown=shown), masked(said)
    return command, code, said


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
