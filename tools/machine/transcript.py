"""What a person reads afterwards: what was typed, what came of it, and what was seen in it."""

from __future__ import annotations

import time
from collections.abc import Callable

LONGEST = 12  # lines of an answer that are shown; of more, the last ones


class Unexpected(Exception):
    """Something is not as the documentation says."""


class Transcript:
    """Prints, and counts what was seen."""

    def __init__(self) -> None:
        self.seen = 0
        self._chapters = 0
        self._begun = time.monotonic()

    def chapter(self, title: str) -> None:
        """Begin a chapter."""
        self._chapters += 1
        print(f"\n== {self._chapters}. {title}  ({time.monotonic() - self._begun:.0f} s)\n", flush=True)

    def typed(self, prompt: str, command: str) -> None:
        """Show what is typed."""
        print(f"{prompt} {command}", flush=True)

    def answered(self, text: str) -> None:
        """Show an answer, the end of a long one."""
        lines = text.rstrip().splitlines()
        if len(lines) > LONGEST:
            print(f"    … {len(lines) - LONGEST} lines")
        for line in lines[-LONGEST:]:
            print(f"    {line[:200]}")

    def done(self, what: str) -> None:
        """Show something that another than the machine did."""
        print(f" -- {what}", flush=True)

    def check(self, good: object, what: str, found: object = "") -> None:
        """Say what was seen.

        Args:
            good: Whether it was.
            what: What should be so.
            found: What is there instead, for the error.

        Raises:
            Unexpected: It was not seen.
        """
        if not good:
            raise Unexpected(f"not so: {what}" + (f"\n{found}" if found != "" else ""))
        self.seen += 1
        print(f" ok {what}", flush=True)

    def until(self, what: str, condition: Callable[[], object], seconds: float = 60) -> None:
        """Wait for something.

        Args:
            what: What should become so.
            condition: Whether it is.
            seconds: After so many it is too late.

        Raises:
            Unexpected: It did not become so.
        """
        begun = time.monotonic()
        while not condition():
            if time.monotonic() - begun > seconds:
                raise Unexpected(f"not within {seconds:.0f} s: {what}")
            time.sleep(0.2)
        self.check(True, what)
