"""When is somebody told: once, again after a while, and when it works again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.core.errors import Code
from pipeline.monitoring.notify.message import JobOutcome, NotificationState, judge

NOW = datetime(2026, 5, 1, tzinfo=UTC)
ALL = ("failure", "recovery", "overdue")
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
FINE = JobOutcome(Code.OK, "fine")
DEAD = JobOutcome(Code.UNREACHABLE, "dead")
LATE = JobOutcome(Code.STALE, "stale", broken=("a is late",), overdue={"drill a": "a is late"})
LATER = JobOutcome(
    Code.STALE, "stale", broken=("a is late", "b is late"), overdue={"drill a": "", "drill b": ""}
)
BROKEN = JobOutcome(
    Code.STALE, "stale", broken=("a is late", "a is gone"), wrong=("copies",), overdue={"drill a": ""}
)
# An export in the inbox could not be escrowed while a rule about an age was broken.
REFUSED = JobOutcome(Code.EXPIRED, "the key expired", broken=("a is late",), overdue={"drill a": ""})
GONE = JobOutcome(Code.STALE, "stale", broken=("a is gone",), wrong=("copies",))
WORSE = JobOutcome(Code.STALE, "stale", broken=("a is gone", "b is gone"), wrong=("copies", "copies"))
FORGED = JobOutcome(Code.STALE, "stale", broken=("c is false",), wrong=("foreign",))


def events(
    ends: Sequence[JobOutcome], step: timedelta = HOUR, wanted: Sequence[str] = ALL, arrives: bool = True
) -> list[str | None]:
    """What is told of a series of runs."""
    memory, now, told = NotificationState(), NOW, []
    for ended in ends:
        event, after, lost = judge(memory, ended, now, DAY, wanted)
        memory = NotificationState.parse((after if arrives else lost).render())
        told.append(event)
        now += step
    return told  # type: ignore[return-value]  # events are words


@pytest.mark.parametrize(
    ("ends", "told"),
    [
        ([FINE, FINE], [None, None]),
        ([DEAD, DEAD, DEAD], ["failure", None, None]),
        ([DEAD, FINE, FINE], ["failure", "recovery", None]),
        ([DEAD, JobOutcome(Code.DENIED, "no"), FINE], ["failure", "failure", "recovery"]),
        ([JobOutcome(Code.DEGRADED, "enough")], ["failure"]),
        ([JobOutcome(Code.INTERRUPTED, ""), JobOutcome(Code.PENDING, "Vault differs")], [None, "failure"]),
        ([DEAD, JobOutcome(Code.INTERRUPTED, ""), FINE], ["failure", None, "recovery"]),
        ([LATE, LATE, LATER, LATER, FINE], ["overdue", None, "overdue", None, "recovery"]),
        ([LATE, BROKEN, BROKEN, FINE], ["overdue", "failure", None, "recovery"]),
        ([BROKEN, LATE, FINE, LATE], ["failure", None, "recovery", "overdue"]),
        ([DEAD, LATE, DEAD], ["failure", "overdue", "failure"]),
        ([LATE, REFUSED, REFUSED, LATE, FINE], ["overdue", "failure", None, None, "recovery"]),
        ([REFUSED], ["failure"]),
        ([GONE, WORSE, WORSE, GONE, WORSE], ["failure", "failure", None, None, "failure"]),
        ([WORSE, FORGED, FORGED, FINE], ["failure", "failure", None, "recovery"]),
    ],
)
def test_what_is_told_of_a_series_of_runs(ends: list[JobOutcome], told: list[str | None]) -> None:
    assert events(ends) == told


@pytest.mark.parametrize(("ended", "told"), [(DEAD, "failure"), (LATE, "overdue")])
def test_the_same_is_told_again_after_a_while(ended: JobOutcome, told: str) -> None:
    assert events([ended] * 4, timedelta(hours=13)) == [told, None, told, None]


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (("failure",), ["failure", None, "failure", None, None]),
        (("recovery",), [None, None, None, None, "recovery"]),
        (("overdue",), [None, None, "overdue", None, None]),
        ((), [None] * 5),
    ],
)
def test_only_what_is_wanted_is_told(wanted: tuple[str, ...], told: list[str | None]) -> None:
    assert events([DEAD, DEAD, LATE, LATE, FINE], wanted=wanted) == told


def test_what_did_not_arrive_is_told_again_by_the_next_run() -> None:
    assert events([DEAD, DEAD, FINE, FINE], arrives=False) == ["failure", "failure", "recovery", "recovery"]
    assert events([LATE, LATE], arrives=False) == ["overdue", "overdue"]


def test_a_clock_that_was_ahead_does_not_silence() -> None:
    _, memory, _ = judge(NotificationState(), DEAD, NOW + timedelta(days=4000), DAY, ALL)
    assert judge(memory, DEAD, NOW, DAY, ALL)[0] == "failure"


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"null", b'{"schema": "orgkey.job/2"}', b"\xff"])
def test_a_memory_of_another_form_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        NotificationState.parse(data)
