"""Whether anybody is notified of a job's end, and the message."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from pydantic import Field

from pipeline.core.errors import Code
from pipeline.core.state_files import Moment, StateFile

SCHEMA: Final = "orgkey.notification/1"
NO_FAILURE: Final = frozenset({Code.OK, Code.INTERRUPTED})
"""Ends that nobody is alarmed by; an interrupted run is resumed, and missed by the ping if it is not."""

Event = Literal["failure", "recovery", "overdue", "test"]


@dataclass(frozen=True)
class JobOutcome:
    """How a run ended.

    Attributes:
        code: Its exit code.
        message: What happened, in words.
        hint: What to do; may be empty.
        broken: The gate's broken rules, in words, where the job judged it.
        wrong: The names of those that are broken for another reason than time, one for each problem; and
            one name for each of what else failed in the run.
        overdue: Those that are broken only because time has passed, by a name that stays the same.
    """

    code: Code
    message: str
    hint: str = ""
    broken: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    overdue: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Message:
    """The document orgkey.notification/1. What others wrote passed :func:`pipeline.core.log.clean`.

    Attributes:
        event: What happened.
        command: The command that ended.
        code: Its exit code.
        name: The code's name.
        message: What happened.
        hint: What to do.
        host: Where.
        fingerprint: The key; ``None`` when it is not known.
        run: The run's correlation id.
        at: When.
        broken: The gate's broken rules, in words.
    """

    event: Event
    command: str
    code: int
    name: str
    message: str
    hint: str
    host: str
    fingerprint: str | None
    run: str
    at: str
    broken: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """The JSON document."""
        return {"schema": SCHEMA} | dataclasses.asdict(self) | {"broken": list(self.broken)}

    @property
    def title(self) -> str:
        """One line for people."""
        what = {
            "failure": f"failed ({self.code}, {self.name})",
            "recovery": "works again",
            "overdue": "finds something overdue",
            "test": "is a test",
        }[self.event]
        return f"orgkey {self.command} on {self.host} {what}"

    @property
    def text(self) -> str:
        """A few lines for people."""
        facts = [self.message, self.hint, *(f"- {rule}" for rule in self.broken)]
        facts += [f"key {self.fingerprint}" if self.fingerprint else "", f"run {self.run}, {self.at}"]
        return "\n".join(filter(None, facts))


class NotificationState(StateFile):
    """What is remembered of a job between its runs.

    Attributes:
        failed: Whether its last run failed.
        code: With which code.
        notified: When somebody was notified of that; ``None`` when nobody was.
        wrong: Names of the rules that were broken then, one for each problem.
        overdue: What was overdue, with the time when somebody was notified.
    """

    SCHEMA = "orgkey.job/1"
    failed: bool = False
    code: int = 0
    notified: Moment | None = Field(None, alias="told")
    wrong: list[str] = Field(default_factory=list)
    overdue: dict[str, Moment] = Field(default_factory=dict)


def judge(
    before: NotificationState, ended: JobOutcome, now: datetime, repeat: timedelta, wanted: Collection[str]
) -> tuple[Event | None, NotificationState, NotificationState]:
    """Decide whether somebody is notified of a run's end, and of what.

    Args:
        before: What is remembered.
        ended: How the run ended.
        now: The present time.
        repeat: After how long the same is sent again.
        wanted: Which events are.

    Returns:
        The event, or ``None``; what to remember once it is sent; what to remember when it could not be.
    """
    if ended.code is not Code.OK and ended.code in NO_FAILURE:
        return None, before, before

    def due(notified: datetime | None) -> bool:
        # A clock that was wrong must not silence for years.
        return notified is None or not timedelta(0) <= now - notified < repeat

    kept = {name: at for name, at in before.overdue.items() if name in ended.overdue}
    if ended.code is Code.OK:
        event: Event | None = "recovery" if before.failed and "recovery" in wanted else None
        return event, NotificationState(), before if event else NotificationState()
    news = any(due(kept.get(name)) for name in ended.overdue) and "overdue" in wanted
    # What else failed in the run, such as an escrow of `watch`, has a code of its own.
    stale = ended.code is Code.STALE and ended.overdue and not ended.wrong
    only_time = stale and "overdue" in wanted
    wrong, known = Counter(ended.wrong), Counter(before.wrong)
    changed = not before.failed or before.code != ended.code or wrong - known
    failing = not only_time and (changed or due(before.notified))
    earlier = before.notified if before.code == ended.code else None
    still = sorted((wrong & known).elements())
    unsent = NotificationState(failed=True, code=int(ended.code), notified=earlier, wrong=still, overdue=kept)
    event = "failure" if failing and "failure" in wanted else "overdue" if news else None
    if event is None:
        return None, unsent, unsent
    notified = now if event == "failure" else earlier
    overdue = dict.fromkeys(ended.overdue, now)
    told = {"notified": notified, "wrong": sorted(ended.wrong), "overdue": overdue}
    return event, unsent.model_copy(update=told), unsent
