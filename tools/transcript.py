"""What a run against real programs did, for people to read: steps, commands, and what was checked."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Mapping, Sequence


class Transcript:
    """Prints a run as it goes on, and counts what did not hold.

    Attributes:
        failed: What was checked and did not hold.
    """

    def __init__(self) -> None:
        self.failed: list[str] = []
        self._checks = 0
        self._begun = time.monotonic()

    def step(self, title: str) -> None:
        """Begin a part."""
        print(f"\n== {title}", flush=True)

    def command(self, words: Sequence[str]) -> None:
        """Show a command that is run."""
        print(f"$ {shlex.join(words)}", flush=True)

    def output(self, text: str) -> None:
        """Show what something printed."""
        for line in text.rstrip().splitlines():
            print(f"  {line}", flush=True)

    def check(self, what: str, holds: bool, seen: object = "") -> None:
        """Say whether something holds.

        Args:
            what: What should hold.
            holds: Whether it does.
            seen: What was seen, shown where it does not hold.
        """
        self._checks += 1
        print(f"{'ok  ' if holds else 'FAIL'} {what}", flush=True)
        if not holds:
            self.failed.append(what)
            self.output(str(seen))

    def end(self) -> int:
        """Say how it went.

        Returns:
            An exit code: 1 when something did not hold.
        """
        seconds = time.monotonic() - self._begun
        print(f"\n{self._checks} checks, {len(self.failed)} failed, {seconds:.0f} s")
        for what in self.failed:
            print(f"FAIL {what}")
        return 1 if self.failed else 0


def begin_as_root(programs: Mapping[str, str]) -> None:
    """End with one line for who is not root, or lacks a program; end cleanly when asked to.

    Args:
        programs: By command, the Debian package that brings it.
    """
    if os.geteuid() != 0:
        sys.exit("run it as root: it makes files of other users, and mounts")
    missing = sorted({package for name, package in programs.items() if shutil.which(name) is None})
    if missing:
        sys.exit(f"missing: on Debian `apt install {' '.join(missing)}`")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is ended on the way out
