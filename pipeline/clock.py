"""Time that tests can replace, and deadlines that every call honours."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Protocol

from pipeline.errors import DeadlinePassed, Interrupted

interrupted: Final = threading.Event()
"""Set by the first signal: no thread of this process starts another call, or goes on waiting for one."""


class Clock(Protocol):
    """What the program asks of time."""

    def now(self) -> datetime:
        """The present time, with zone UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that only grow."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """The machine's own time."""

    def now(self) -> datetime:
        """The present time, with zone UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that only grow."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait ``seconds``, or until the run is interrupted."""
        interrupted.wait(seconds)


def stamp(moment: datetime) -> str:
    """Write a moment as the documents do: ISO 8601 in UTC, whole seconds, ``Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_stamp(text: str) -> datetime:
    """Read what :func:`stamp` wrote.

    Raises:
        ValueError: The text has another form.
    """
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


@dataclass(frozen=True)
class Deadline:
    """The moment after which a run stops trying.

    Args:
        seconds: Time allowed from now, in seconds.
        clock: Where time comes from.
        setting: What allows it.
    """

    seconds: float
    clock: Clock = field(default_factory=SystemClock)
    setting: str = "policy.deadline_seconds"
    ends: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ends", self.clock.monotonic() + self.seconds)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let time pass that does not count: people's own, in a ceremony."""
        started = self.clock.monotonic()
        try:
            yield
        finally:
            object.__setattr__(self, "ends", self.ends + self.clock.monotonic() - started)

    def renew(self) -> None:
        """Start anew: what servers kept waiting is no reason to send people home who just took part."""
        object.__setattr__(self, "ends", max(self.ends, self.clock.monotonic() + self.seconds))

    def left(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.ends - self.clock.monotonic())

    def limit(self, seconds: float) -> float:
        """The time-out for one call: ``seconds``, or what is left when that is less.

        Raises:
            DeadlinePassed: Nothing is left.
        """
        self.check()
        return min(seconds, self.left())

    def check(self) -> None:
        """Raise when the time is over.

        Raises:
            DeadlinePassed: Nothing is left.
            Interrupted: A signal ended the run.
        """
        if interrupted.is_set():
            raise Interrupted("interrupted", hint="run the same command again, it resumes where it stopped")
        if self.left() <= 0:
            raise self.passed()

    def passed(self) -> DeadlinePassed:
        """What is raised when nothing is left."""
        return DeadlinePassed(
            f"the deadline of {self.seconds:g} s has passed",
            hint=f"run the same command again, it resumes; or raise {self.setting}",
        )
