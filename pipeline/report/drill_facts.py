"""What a report says of test restores: each, by run, by copy and path, and those that were missed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pipeline.core.text import age


class ProofState(StrEnum):
    """How one copy on one custody path stands."""

    PROVEN = "proven"
    OVERDUE = "overdue"
    FAILED = "failed"
    NEVER = "never"
    UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Cell:
    """How one copy stands on one path: the matrix of proofs.

    Attributes:
        copy: The target.
        path: The custody path.
        state: See :class:`ProofState`.
        proven_at: The newest passed test restore of this copy, path and epoch.
        tried_at: The newest one, whatever it showed.
        seconds: How long the newest passed one took, in seconds.
        problem: What the newest one failed on, when it failed.
        evidence: Ids.
    """

    copy: str
    path: str
    state: ProofState
    proven_at: datetime | None
    tried_at: datetime | None
    seconds: float | None
    problem: str | None
    evidence: tuple[str, ...] = ()

    @property
    def time_text(self) -> str:
        """How long it took, in words."""
        return seconds_text(self.seconds)


@dataclass(frozen=True)
class DrillFacts:
    """One test restore of the period: one copy on one path.

    Attributes:
        at: When.
        epoch: The epoch's name.
        copy: The target.
        path: The custody path.
        passed: Whether everything was proven.
        seconds: From the stored copy to a proven key; ``None`` when it did not get there.
        stages: Seconds by stage.
        problems: What failed, in words.
        implementations: Who agreed on the proofs.
        within_objective: Whether it was fast enough; ``None`` without an objective or a time.
        evidence: Ids.
    """

    at: datetime
    epoch: str
    copy: str
    path: str
    passed: bool
    seconds: float | None
    stages: tuple[tuple[str, float], ...]
    problems: tuple[str, ...]
    implementations: tuple[str, ...]
    within_objective: bool | None
    evidence: tuple[str, ...] = ()

    @property
    def state(self) -> str:
        """In a word."""
        return "passed" if self.passed else "failed"

    @property
    def slow(self) -> bool:
        """Whether it is known to have been too slow."""
        return self.within_objective is False

    @property
    def time_text(self) -> str:
        """How long it took, in words."""
        return seconds_text(self.seconds) if self.seconds is not None else "\N{EN DASH}"


@dataclass(frozen=True)
class DrillRun:
    """One run of test restores, as people count them: it may try several copies and paths.

    Attributes:
        at: When.
        drills: What it tried.
        evidence: Ids.
    """

    at: datetime
    drills: tuple[DrillFacts, ...]
    evidence: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether everything that it tried passed."""
        return all(drill.passed for drill in self.drills)

    @property
    def slow(self) -> bool:
        """Whether something that it restored is known to have been too slow."""
        return any(drill.slow for drill in self.drills)

    @property
    def time_text(self) -> str:
        """How long the slowest took, in words."""
        slowest = max(self.drills, key=lambda drill: drill.seconds or 0.0)
        return slowest.time_text

    @property
    def tried(self) -> tuple[tuple[str, str], ...]:
        """What it restored, in words, and the epoch that it was of."""
        found: dict[tuple[str, str], list[str]] = {}
        for drill in self.drills:
            found.setdefault((drill.path, drill.epoch), []).append(drill.copy)
        return tuple((f"{', '.join(copies)} by {path}", epoch) for (path, epoch), copies in found.items())

    @property
    def problems(self) -> tuple[str, ...]:
        """What failed, in words, each once."""
        told: dict[str, list[str]] = {}
        for drill in self.drills:
            if not drill.passed:
                told.setdefault("; ".join(drill.problems), []).append(f"{drill.copy} by {drill.path}")
        return tuple(f"{', '.join(whose)}: {problem}" for problem, whose in told.items())


@dataclass(frozen=True)
class Missed:
    """A time in which a test restore was due and none passed.

    Attributes:
        due: When it was due.
        until: When one passed at last; ``None`` when it is still missing.
        days: How long it was, or is, overdue.
    """

    due: datetime
    until: datetime | None
    days: float

    @property
    def state(self) -> str:
        """In a word."""
        return "missed" if self.until else "overdue"


def seconds_text(value: float | None) -> str:
    """A recovery time for people."""
    if value is None:
        return "unknown"
    return f"{value:.2f} s" if value < 60 else age(value)
