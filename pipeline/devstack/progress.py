"""Progress of what takes long: a spinner with the time on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.core import log

EVERY = 30.0  # seconds between two plain lines


class Progress:
    """Where progress goes: nowhere."""

    def line(self, text: str) -> None:
        """Show one line."""

    @contextmanager
    def working(self, text: str) -> Iterator[None]:
        """Show that something long runs, until the context ends."""
        yield


class Plain(Progress):
    """Lines on stderr, one more every half minute."""

    def line(self, text: str) -> None:
        """Write one line."""
        if log.as_json():
            log.event("progress", text)
            return
        print(text, file=sys.stderr, flush=True)  # noqa: T201 - its purpose

    @contextmanager
    def working(self, text: str) -> Iterator[None]:
        """Write a line now, one every half minute, and one at the end."""
        started = time.monotonic()
        self.line(text)
        ended = threading.Event()

        def show() -> None:
            while not ended.wait(EVERY):
                self.line(f"  still at it, {time.monotonic() - started:.0f} s so far")

        threading.Thread(target=show, daemon=True).start()
        try:
            yield
        finally:
            ended.set()
        self.line(f"  done in {time.monotonic() - started:.0f} s")


class Terminal(Plain):
    """A spinner and the elapsed time on the terminal."""

    @contextmanager
    def working(self, text: str) -> Iterator[None]:
        """Show the spinner for as long as the work lasts."""
        from rich import progress
        from rich.console import Console

        columns = (progress.SpinnerColumn(), "{task.description}", progress.TimeElapsedColumn())
        with progress.Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(text, total=1)
            yield
            bar.update(task, completed=1)


def reporter(*, quiet: bool = False) -> Progress:
    """Choose what fits standard error."""
    if quiet:
        return Progress()
    return Terminal() if sys.stderr.isatty() and not log.as_json() else Plain()
