"""Saying what takes long: a spinner with the time on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from pipeline.core import log as logs

EVERY = 30.0  # seconds between two plain lines


class Reporter(Protocol):
    """Where progress goes."""

    def line(self, text: str) -> None:
        """Say one thing."""
        ...

    def working(self, text: str) -> AbstractContextManager[Callable[[], None]]:
        """Say that something long runs, until the returned context ends; its value is called meanwhile."""
        ...


class Quiet:
    """Says nothing."""

    def line(self, text: str) -> None:
        """Say nothing."""

    @contextmanager
    def working(self, text: str) -> Iterator[Callable[[], None]]:
        """Say nothing."""
        yield lambda: None


class Plain:
    """Lines on stderr, one more every half minute."""

    def line(self, text: str) -> None:
        """Write one line."""
        if logs.as_json():
            logs.event("progress", text)
            return
        print(text, file=sys.stderr, flush=True)  # noqa: T201 - the reporter's purpose

    @contextmanager
    def working(self, text: str) -> Iterator[Callable[[], None]]:
        """Write a line now, one every half minute, and one at the end."""
        started = said = time.monotonic()
        self.line(text)

        def tick() -> None:
            nonlocal said
            if time.monotonic() - said >= EVERY:
                said = time.monotonic()
                self.line(f"  still at it, {said - started:.0f} s so far")

        yield tick
        self.line(f"  done in {time.monotonic() - started:.0f} s")


class Terminal(Plain):
    """A spinner and the elapsed time on the terminal."""

    @contextmanager
    def working(self, text: str) -> Iterator[Callable[[], None]]:
        """Show the spinner for as long as the work lasts."""
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(text, total=1)
            yield lambda: None  # rich refreshes by itself
            bar.update(task, completed=1)


def reporter(*, quiet: bool = False) -> Reporter:
    """Choose the reporter that fits stderr."""
    if quiet:
        return Quiet()
    return Terminal() if sys.stderr.isatty() and not logs.as_json() else Plain()
