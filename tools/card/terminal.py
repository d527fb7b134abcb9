"""A person at a terminal: runs a command there, reads what it shows, types, and prints it as a transcript."""

from __future__ import annotations

import os
import pty
import re
import select
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

SECONDS: Final = 120.0
_CONTROL: Final = re.compile(
    r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[()][0-9A-B]|\x1b[=>78MD]|[\x00-\x08\x0b-\x1a\x1c-\x1f]"
)
_MOVE: Final = re.compile(r"\x1b\[[0-9;]*[Hfd]")
_FRAME: Final = re.compile("[\u2500-\u257f]+|\\b[lmtu]?q{3,}[kjtu]?")

CANCEL: Final = "\t"
"""From OK to Cancel, in a pinentry that asks for a card."""
Answer = tuple[str, str | Callable[[], str]]
"""A part of what is shown, and what is typed then, without the final Enter; or what gives it, and acts."""


def screen(raw: bytes) -> list[str]:
    """The lines of a terminal's output as one reads them: without colours, frames and moves."""
    text = _MOVE.sub("\n", raw.decode(errors="replace"))
    text = _FRAME.sub("", _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n")))
    lines = (re.sub(r"^\s*x(?=[ <]|$)|\s+x$", "", line).rstrip() for line in text.split("\n"))
    return [line for line in lines if line.strip()]


class Terminal:
    """A shell's place on a person's machine.

    Args:
        name: Whose it is; stands before each command of the transcript.
        folder: The working directory.
        environment: Of each command.
        hidden: What the transcript shows instead of the folder's name.
    """

    def __init__(self, name: str, folder: Path, environment: Mapping[str, str], hidden: str) -> None:
        self.name = name
        self._folder = folder
        self._environment = {**environment, "TERM": "xterm", "LINES": "40", "COLUMNS": "110"}
        self._hidden = hidden

    def run(
        self, *words: str, answers: Sequence[Answer] = (), code: int = 0, tells: Sequence[str] = ()
    ) -> None:
        """Run a command, answer its questions in their order, and end the story if it does something else.

        Args:
            words: The command.
            answers: The answers.
            code: The exit code that it has to end with.
            tells: What it has to show.
        """
        told = shlex.join(words).replace(f"{self._hidden}/", "")
        print(f"\n{self.name}$ {told}", flush=True)
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(self._folder)
            os.execvpe(words[0], words, self._environment)  # noqa: S606 - the point
        raw, seen, left, ends = b"", 0, list(answers), time.monotonic() + SECONDS
        try:
            while time.monotonic() < ends:
                if not select.select([terminal], [], [], 0.1)[0]:
                    continue
                try:
                    piece = os.read(terminal, 65536)
                except OSError:  # everybody has closed the other side
                    break
                if not piece:
                    break
                raw += piece
                shown = "\n".join(screen(raw[seen:]))
                if left and left[0][0] in shown:
                    seen, (_, what) = len(raw), left.pop(0)
                    os.write(terminal, (what() if callable(what) else what).encode() + b"\r")
            else:
                os.kill(pid, signal.SIGKILL)
        finally:
            os.close(terminal)
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        lines = [line.replace(f"{self._hidden}/", "") for line in screen(raw)]
        print("\n".join(f"  {line}" for line in lines))
        print(f"  [exit code {status}]", flush=True)
        shown = " ".join(" ".join(lines).split())
        missing = [*(part for part, _ in left), *(part for part in tells if part not in shown)]
        if status != code or missing:
            raise SystemExit(f"expected exit code {code}, and to be shown: {missing}")

    def quiet(self, *words: str, data: bytes = b"") -> bytes:
        """Run a command of which the transcript shows nothing; it must succeed."""
        done = subprocess.run(
            words, input=data, cwd=self._folder, env=self._environment, capture_output=True, timeout=SECONDS
        )
        if done.returncode != 0:
            raise SystemExit(f"{shlex.join(words)}: {done.stderr.decode(errors='replace')}")
        return done.stdout
