from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.core.clock import Deadline
from pipeline.core.errors import Conflict, DeadlinePassed, Denied, OrgkeyError, Unreachable
from pipeline.core.retry import Breaker, Breakers, Retrier, SilentServers, in_time


class StillClock:
    """Time that passes only in sleeps, and by as much as each call takes."""

    def __init__(self) -> None:
        self.time = 0.0
        self.slept: list[float] = []

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds


class Highest(random.Random):
    """Always the upper end, so that ceilings can be seen."""

    def uniform(self, a: float, b: float) -> float:
        return b


def down(**more: object) -> Unreachable:
    return Unreachable("it is down", hint="start it", **more)  # type: ignore[arg-type]  # again, retry_after


def failing(times: int, error: OrgkeyError) -> tuple[Callable[[], str], list[int]]:
    calls: list[int] = []

    def fn() -> str:
        calls.append(len(calls))
        if len(calls) <= times:
            raise error
        return "done"

    return fn, calls


def retrier(
    clock: StillClock, seconds: float = 100, rng: random.Random | None = None, **more: object
) -> Retrier:
    return Retrier(Deadline(seconds, clock), clock=clock, rng=rng or Highest(), **more)  # type: ignore[arg-type]


def test_success_needs_one_call_and_no_sleep() -> None:
    clock = StillClock()
    fn, calls = failing(0, down())
    assert retrier(clock).call(fn, "x") == "done"
    assert (len(calls), clock.slept) == (1, [])


def test_waits_double_up_to_the_cap() -> None:
    clock = StillClock()
    fn, calls = failing(6, down())
    assert retrier(clock, attempts=7, base=1, cap=5).call(fn, "x") == "done"
    assert clock.slept == [1, 2, 4, 5, 5, 5]
    assert len(calls) == 7


def test_jitter_is_full() -> None:
    clock = StillClock()
    fn, _ = failing(200, down())
    rng = random.Random(7)  # noqa: S311
    with pytest.raises(Unreachable):
        retrier(clock, 1e6, rng, attempts=200, base=1, cap=1).call(fn, "x")
    assert min(clock.slept) < 0.05
    assert max(clock.slept) > 0.95
    assert 0.4 < sum(clock.slept) / len(clock.slept) < 0.6


def test_after_the_last_attempt_the_error_itself_leaves() -> None:
    clock, error = StillClock(), down()
    fn, calls = failing(99, error)
    with pytest.raises(Unreachable) as raised:
        retrier(clock, attempts=3).call(fn, "x")
    assert raised.value is error
    assert len(calls) == 3
    assert len(clock.slept) == 2


@pytest.mark.parametrize(
    "error",
    [
        down(again=False),
        Denied("no", hint="ask"),
        Conflict("taken", hint="look"),
        DeadlinePassed("late", hint="hurry"),
    ],
)
def test_what_is_permanent_is_not_repeated(error: OrgkeyError) -> None:
    clock = StillClock()
    fn, calls = failing(1, error)
    with pytest.raises(type(error)) as raised:
        retrier(clock).call(fn, "x")
    assert raised.value is error
    assert (len(calls), clock.slept) == (1, [])


def test_a_foreign_error_passes_unchanged() -> None:
    def fn() -> None:
        raise KeyError("bug")

    with pytest.raises(KeyError):
        retrier(StillClock()).call(fn, "x")


def test_the_server_s_wish_is_a_floor() -> None:
    clock = StillClock()
    fn, _ = failing(1, down(retry_after=30.0))
    assert retrier(clock, base=1, cap=5).call(fn, "x") == "done"
    assert clock.slept == [31]


def test_no_wait_reaches_beyond_the_deadline() -> None:
    clock = StillClock()
    fn, calls = failing(1, down(retry_after=30.0))
    with pytest.raises(Unreachable):
        retrier(clock, 20).call(fn, "x")
    assert (len(calls), clock.slept) == (1, [])


def test_time_used_up_by_the_call_is_a_passed_deadline() -> None:
    clock = StillClock()

    def slow() -> None:
        clock.time += 50
        raise down()

    with pytest.raises(DeadlinePassed, match="it is down") as raised:
        retrier(clock, 40).call(slow, "x")
    assert raised.value.hint == "start it"


def test_without_time_nothing_is_called() -> None:
    clock = StillClock()
    made = retrier(clock, 1)
    clock.time = 2
    fn, calls = failing(0, down())
    with pytest.raises(DeadlinePassed):
        made.call(fn, "x")
    assert calls == []


def test_in_time_keeps_the_error_while_there_is_time() -> None:
    clock, error = StillClock(), down()
    deadline = Deadline(1, clock)
    assert in_time(error, deadline) is error
    clock.time = 1
    assert isinstance(in_time(error, deadline), DeadlinePassed)


# -- a server that keeps silent --------------------------------------------------------------------


def test_a_silent_server_is_asked_once_after_all_attempts_met_silence() -> None:
    clock, breaker = StillClock(), Breaker()
    fn, calls = failing(100, down(silent=True))
    with pytest.raises(Unreachable):
        retrier(clock, breaker=breaker).call(fn, "x")
    assert (len(calls), breaker.open) == (5, True)
    slept = list(clock.slept)
    with pytest.raises(Unreachable):
        retrier(clock, breaker=breaker).call(fn, "y")
    assert (len(calls), clock.slept) == (6, slept)


def test_the_first_success_ends_that() -> None:
    clock, breaker = StillClock(), Breaker()
    breaker.trip()
    fn, _ = failing(0, down())
    assert retrier(clock, breaker=breaker).call(fn, "x") == "done"
    fn, calls = failing(4, down(silent=True))
    assert retrier(clock, breaker=breaker).call(fn, "x") == "done"
    assert (len(calls), breaker.open) == (5, False)


@pytest.mark.parametrize("silent", [(False,) * 5, (True, True, False, True, True)])
def test_a_server_that_answers_at_all_is_insisted_on(silent: tuple[bool, ...]) -> None:
    clock, breaker, left = StillClock(), Breaker(), list(silent)

    def fn() -> str:
        raise down(silent=left.pop(0))

    with pytest.raises(Unreachable):
        retrier(clock, breaker=breaker).call(fn, "x")
    assert (left, breaker.open) == ([], False)


def test_a_call_under_way_gives_up_when_another_finds_the_server_silent() -> None:
    clock, breaker = StillClock(), Breaker()
    calls: list[int] = []

    def fn() -> str:
        calls.append(1)
        if len(calls) == 2:
            breaker.trip()
        raise down(silent=True)

    with pytest.raises(Unreachable):
        retrier(clock, breaker=breaker).call(fn, "x")
    assert len(calls) == 2


def test_each_server_has_a_breaker_of_its_own() -> None:
    breakers = Breakers()
    breakers.of("https://a").trip()
    assert breakers.of("https://a").open
    assert not breakers.of("https://b").open


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SilentServers, "folder", tmp_path)
    monkeypatch.setattr(SilentServers, "_met", Counter())


@pytest.mark.usefixtures("fleet")
def test_a_server_that_keeps_silent_is_waited_for_by_one_run_of_a_fleet(tmp_path: Path) -> None:
    for _ in range(SilentServers.CALLS):
        SilentServers.check("https://a")
        SilentServers.note("https://a", answered=False)
    with pytest.raises(Unreachable, match="https://a keeps silent: a run of this fleet") as caught:
        SilentServers.check("https://a")
    assert not caught.value.again
    SilentServers.check("https://b")
    assert "https" not in "".join(path.name for path in tmp_path.iterdir())


@pytest.mark.usefixtures("fleet")
def test_an_answer_between_them_is_no_silence() -> None:
    for answered in (False, False, True, False, False):
        SilentServers.note("https://a", answered=answered)
    SilentServers.check("https://a")


def test_outside_of_a_fleet_no_word_is_left() -> None:
    for _ in range(2 * SilentServers.CALLS):
        SilentServers.note("https://a", answered=False)
    SilentServers.check("https://a")
