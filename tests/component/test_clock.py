"""A host whose clock is wrong: the clock is named, and nothing is said against key or copy for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from pathlib import Path

import pytest

from pipeline.archive.catalog import CopyState
from pipeline.archive.overview import judged, verdict
from pipeline.cli.restore_command import _clock
from pipeline.core.clock import Deadline, GivenClock, ServerDates
from pipeline.core.errors import Code, LocalFilesProblem, UsageProblem
from pipeline.monitoring.status import status
from pipeline.providers.failures import CallFailure, explain
from pipeline.record.verify import Record
from pipeline.workflows.drill import DrillRequest, drill
from pipeline.workflows.escrow import EscrowOptions, escrow
from pipeline.workflows.repair import repair
from pipeline.workflows.restore import RestoreRequest, find
from pipeline.workflows.rotate import RotationRequest, rotate
from tests.support.inmemory import EXPORT_PASSPHRASE, World, export

SHIFTS = [
    timedelta(minutes=sign * minutes) for minutes in (10, 120, 24 * 60, 3 * 24 * 60) for sign in (1, -1)
]
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def dated(**ahead: timedelta) -> ServerDates:
    dates = ServerDates()
    for name, by in ahead.items():
        dates.note(name, format_datetime(NOW + by), NOW)
    return dates


# -- what servers say ------------------------------------------------------------------------------


@pytest.mark.parametrize("shift", SHIFTS)
def test_a_clock_that_every_server_contradicts_is_named(shift: timedelta) -> None:
    dates = dated(vault=shift, s3=shift + timedelta(seconds=2))
    assert abs(dates.off() - shift) <= timedelta(seconds=2)
    problem = dates.problem()
    assert problem is not None
    assert problem.code is Code.LOCAL_FILES
    assert "differs from the Date of s3 and vault" in problem.message
    assert problem.message.endswith("slow" if shift > timedelta() else "fast")


def test_a_clock_that_one_server_agrees_with_is_right() -> None:
    assert dated(vault=timedelta(hours=2), s3=timedelta(minutes=1)).problem() is None
    assert dated().problem() is None
    assert not dated().seen


@pytest.mark.parametrize(
    "header",
    [
        None, "", "x", "Thu, 99 Foo 2026", "0" * 4000, "Fri, 31 Dec 9999 23:59:59 -2359",
        "Mon, 01 Jan 2026 00:00:00 +99999999999999999999", "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
    ],
)  # fmt: skip
def test_an_answer_without_a_usable_date_tells_nothing(header: str | None) -> None:
    dates = ServerDates()
    dates.note("vault", header, NOW)
    assert not dates.seen
    headers = {"date": header}
    failure = CallFailure("answer", service="s3", status=403, code="RequestTimeTooSkewed", headers=headers)
    assert "this host's clock differs from the server's" in explain(failure, "it").message


def test_the_time_by_the_servers() -> None:
    deadline = Deadline(10, GivenClock(NOW))
    assert abs(deadline.time() - NOW) < timedelta(seconds=5)
    deadline.note_date("vault", format_datetime(NOW + timedelta(days=1)))
    assert abs(deadline.time() - NOW - timedelta(days=1)) < timedelta(seconds=5)


# -- each command ----------------------------------------------------------------------------------


@pytest.fixture(params=SHIFTS, ids=str)
def wrong(request: pytest.FixtureRequest, world: World, genuine: Record) -> World:
    """A host whose clock is off, and servers that tell the time."""
    world.store(genuine)
    world.clock.shift = request.param
    world.dated = True
    return world


def test_list_verify_and_status_name_the_clock(wrong: World) -> None:
    context = wrong.context
    (survey,) = context.catalogs()
    assert {copy.standing for copy in survey.epochs[0].copies} == {CopyState.GOOD}
    assert set(verdict(survey, 2)) == {Code.OK}
    assert judged([], context.deadline) is Code.LOCAL_FILES
    assert judged([Code.INTEGRITY], context.deadline) is Code.INTEGRITY
    found = status(wrong.context)
    assert found.code is Code.LOCAL_FILES
    assert any("this host's clock differs from the Date of a and b and c" in rule for rule in found.broken)


def test_a_restore_goes_on_by_the_servers_time(wrong: World, genuine: Record) -> None:
    found = find(wrong.context, RestoreRequest(Path("x")))
    assert found.record == genuine
    assert any("this host's clock differs" in line for line in wrong.lines)


def test_a_drill_is_no_verdict_on_the_key(wrong: World) -> None:
    with pytest.raises(LocalFilesProblem, match="this host's clock differs"):
        drill(wrong.context, DrillRequest())
    assert "drill" not in wrong.events()


def test_nothing_is_minted_by_a_wrong_clock_and_nothing_repaired_for_it(wrong: World) -> None:
    assert {item.action for item in repair(wrong.context).copies} == {"kept"}
    for target in wrong.targets.values():
        target.places.clear()
    with pytest.raises(LocalFilesProblem, match="this host's clock differs"):
        escrow(wrong.context, export(), EXPORT_PASSPHRASE, EscrowOptions(with_drill=False))
    assert not any(target.places for target in wrong.targets.values())


# -- the isolated room -----------------------------------------------------------------------------


def test_where_no_server_tells_the_time_a_slow_clock_is_no_verdict(world: World, genuine: Record) -> None:
    world.store(genuine)
    world.clock.shift = -timedelta(days=3)
    (survey,) = world.context.catalogs()
    assert {copy.standing for copy in survey.epochs[0].copies} == {CopyState.UNREACHABLE}
    assert Code.INTEGRITY not in verdict(survey, 2)
    with pytest.raises(LocalFilesProblem, match="is from the future") as caught:
        find(world.context, RestoreRequest(Path("x")))
    assert "orgkey restore --at" in caught.value.hint
    assert "policy.known_false" in caught.value.hint


def test_an_epoch_of_the_future_that_was_looked_into_keeps_nothing_up(world: World) -> None:
    """Its maker's clock was wrong, and no server tells the time: for months nothing else could be made."""
    run = partial(escrow, data=export(), passphrase=EXPORT_PASSPHRASE)
    ahead = world.store(world.mint(later=50 * 365 * 86400)).epoch
    with pytest.raises(LocalFilesProblem, match="is from the future"):
        run(world.context)
    world.policy = f'known_false = ["{ahead}"]'
    assert run(world.context).code is Code.OK
    assert rotate(world.context, RotationRequest("it was time")).stored.code is Code.OK
    assert status(world.context).code is Code.OK


def test_the_operator_gives_the_time() -> None:
    given = datetime.now(UTC) - timedelta(days=400)
    assert abs(_clock(given.isoformat()).now() - given) < timedelta(seconds=5)
    assert abs(_clock("2027-12-31T12:00:00Z").now() - datetime(2027, 12, 31, 12, tzinfo=UTC)) < timedelta(
        seconds=5
    )
    for text in ("yesterday", "2027-12-31T12:00:00", "2027-12-31"):
        with pytest.raises(UsageProblem, match="is not a time with its zone"):
            _clock(text)


def test_a_record_from_the_future_is_false_where_the_servers_call_the_clock_right(
    world: World, genuine: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then it is the record's own time that is wrong."""
    world.store(genuine)
    world.clock.shift = -timedelta(days=3)
    context = world.context
    for target in world.targets.values():
        target.answered = lambda name: context.deadline.note_date(name, format_datetime(world.clock.now()))
    (survey,) = context.catalogs()
    assert {copy.standing for copy in survey.epochs[0].copies} == {CopyState.BAD}
