"""Time that tests can replace, and deadlines that every call honours."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final, Protocol

from pipeline.core.errors import DeadlinePassed, Interrupted, LocalFilesProblem
from pipeline.core.signals import Flag

TOLERANCE: Final = timedelta(minutes=5)
"""How far two clocks may be apart: S3 refuses what was signed by one that is off by fifteen minutes."""
AHEAD: Final = timedelta(days=1)
"""What is dated further ahead than this was dated by a wrong clock: it must keep nothing fresh for ever."""
_STAMP: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)

interrupted: Final = Flag()
"""Set by the first signal: no thread of this process starts another call, or goes on waiting for one."""


def interruption() -> Interrupted:
    """What is raised once :data:`interrupted` is set."""
    return Interrupted("interrupted", hint="run the same command again, it resumes where it stopped")


class Clock(Protocol):
    """What the program asks of time."""

    def now(self) -> datetime:
        """The present time, with zone UTC."""

    def monotonic(self) -> float:
        """Seconds that only grow."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


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


def within(age: timedelta, days: float) -> bool:
    """Whether something is at most so many days old, and not dated further ahead than :data:`AHEAD`.

    Args:
        age: How long ago it was, or was said to be.
        days: The limit.
    """
    return age >= -AHEAD and age / timedelta(days=1) <= days


def stamp(moment: datetime) -> str:
    """Write a moment as the documents do: ISO 8601 in UTC, whole seconds, ``Z``."""
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='seconds')}Z"


def parse_stamp(text: str) -> datetime:
    """Read what :func:`stamp` wrote.

    Raises:
        ValueError: The text is malformed.
    """
    if not _STAMP.fullmatch(text):
        raise ValueError(f"{text!r} is not a time as 2026-01-31T08:00:00Z")
    return datetime.fromisoformat(text)


class GivenClock(SystemClock):
    """The time that an operator gives, for a host whose own clock is wrong and where no server tells better.

    Args:
        given: The present time, with zone UTC.
    """

    def __init__(self, given: datetime) -> None:
        self._shift = given - super().now()

    def now(self) -> datetime:
        """The present time as it was given, and what has passed since."""
        return super().now() + self._shift


class ServerDates:
    """What the ``Date`` of servers' answers says of this host's clock, in one run."""

    def __init__(self) -> None:
        self._ahead: dict[str, timedelta] = {}

    def note(self, server: str, date: str | None, now: datetime) -> None:
        """Take an answer's ``Date``.

        Args:
            server: Its address, for people.
            date: The header (RFC 9110, 6.6.1); anything else counts as none.
            now: The present time by this host's clock.
        """
        try:
            told = parsedate_to_datetime(date or "")
            told = (told if told.tzinfo else told.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            return
        self._ahead[server] = told - now

    @property
    def seen(self) -> bool:
        """Whether any server has told its time."""
        return bool(self._ahead)

    def off(self) -> timedelta:
        """By how much the servers are ahead of this host's clock; nothing where one agrees with it."""
        least = min(self._ahead.values(), key=abs, default=timedelta())
        return least if abs(least) > TOLERANCE else timedelta()

    def problem(self) -> LocalFilesProblem | None:
        """The error for a clock that is wrong; ``None`` where it is right, or nobody knows."""
        off = self.off()
        if not off:
            return None
        by = timedelta(seconds=round(abs(off).total_seconds()))
        return LocalFilesProblem(
            f"this host's clock differs from the Date of {' and '.join(sorted(self._ahead))}: "
            f"it is {by} {'slow' if off > timedelta() else 'fast'}",
            hint="set this host's clock, then run the same command again",
        )


@dataclass(frozen=True)
class Deadline:
    """The moment after which a run stops trying.

    Args:
        seconds: Time allowed from now, in seconds.
        clock: Where time comes from.
        setting: What allows it.

    Attributes:
        dates: What servers that were asked until then say of the clock.
        written: By address, the state of its storage that a server told after the run's last write there.
    """

    seconds: float
    clock: Clock = field(default_factory=SystemClock)
    setting: str = "policy.deadline_seconds"
    ends: float = field(init=False)
    dates: ServerDates = field(default_factory=ServerDates, init=False, repr=False, compare=False)
    written: dict[str, str] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ends", self.clock.monotonic() + self.seconds)

    def note_date(self, server: str, date: str | None) -> None:
        """Take the ``Date`` of a server's answer; see :meth:`ServerDates.note`."""
        self.dates.note(server, date, self.clock.now())

    def time(self) -> datetime:
        """The present time by the servers, where they contradict this host's clock; else by that."""
        return self.clock.now() + self.dates.off()

    def require_clock(self) -> None:
        """Refuse to go on with a clock that is wrong: what is made or proven by it would mislead.

        Raises:
            LocalFilesProblem: The servers contradict it.
        """
        if (problem := self.dates.problem()) is not None:
            raise problem

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let time pass that does not count: people's own, in a ceremony."""
        started = self.clock.monotonic()
        try:
            yield
        finally:
            object.__setattr__(self, "ends", self.ends + self.clock.monotonic() - started)

    def renew(self) -> None:
        """Start anew: people who just took part are not sent home because servers were slow."""
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
            raise interruption()
        if self.left() <= 0:
            raise self.passed()

    def passed(self) -> DeadlinePassed:
        """What is raised when nothing is left."""
        return DeadlinePassed(
            f"the deadline of {self.seconds:g} s has passed",
            hint=f"run the same command again, or raise {self.setting}",
        )
