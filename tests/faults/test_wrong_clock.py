"""Clocks that are wrong: what is refused is named, and what is stored stays good."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.archive.run import KeyScope
from pipeline.core.clock import SystemClock
from pipeline.core.errors import Code, Expired
from pipeline.core.secret import Secret
from pipeline.monitoring import status
from pipeline.workflows import escrow
from pipeline.workflows.publish import PublishedEpoch
from tests.faults.scene import EXPORT_PASSPHRASE, Scene


class ShiftedClock(SystemClock):
    """The host's clock, set wrong.

    Args:
        shift: How far it is ahead.
        drift: How far it jumps at every look.
    """

    def __init__(self, shift: timedelta, drift: timedelta = timedelta()) -> None:
        self.shift = shift
        self.drift = drift

    def now(self) -> datetime:
        self.shift += self.drift
        return datetime.now(UTC) + self.shift


def on(scene: Scene, clock: ShiftedClock) -> KeyScope:
    return replace(scene.context(), clock=clock)


def run(scene: Scene, clock: ShiftedClock) -> PublishedEpoch:
    return escrow.escrow(on(scene, clock), scene.export.read_bytes(), Secret(EXPORT_PASSPHRASE))


def test_a_host_whose_clock_has_lost_its_battery(scene: Scene) -> None:
    """Before the key's own creation nothing is stored: its self-signatures are not valid yet."""
    with pytest.raises(Expired, match=r"not valid yet|not yet valid|future") as caught:
        run(scene, ShiftedClock(datetime(2001, 1, 1, tzinfo=UTC) - datetime.now(UTC)))
    assert caught.value.hint
    assert scene.stored() == {}


def test_a_record_dated_in_the_future(scene: Scene) -> None:
    """It stays readable and restorable; the gate says that a clock was wrong, instead of "fresh" for ever."""
    made = run(scene, ShiftedClock(timedelta(days=30)))
    assert made.code is Code.OK
    assert made.record.manifest.created > datetime.now(UTC) + timedelta(days=29)
    scene.check_whole()

    today = scene.context()
    survey = today.archive("driller").catalog()
    assert survey.codes() == [Code.OK, Code.OK]
    judged = status.status(today)
    assert judged.code is Code.STALE
    assert any("future" in rule for rule in judged.broken), judged.broken
    again = scene.run(scene.escrow())
    assert (again.code, again.document["already"]) == (0, True)
    scene.check_whole()


def test_a_reader_whose_clock_is_behind(scene: Scene) -> None:
    """The signature seems to be from the future: not taken for good, and the clock is named."""
    assert scene.run(scene.escrow()).code == 0
    behind = on(scene, ShiftedClock(-timedelta(days=3)))
    reader = behind.archive("driller")
    survey = reader.catalog()
    for epoch in survey.epochs:
        for copy in epoch.copies:
            assert copy.code is Code.INTEGRITY
            assert "this host's clock" in (copy.problem or "")
    # An hour is what clocks differ by.
    near = replace(reader, now=datetime.now(UTC) - timedelta(hours=1))
    assert all(copy.ok for epoch in near.catalog().epochs for copy in epoch.copies)


def test_a_clock_that_jumps_back_during_the_run(scene: Scene) -> None:
    """Time limits rest on another clock, and the ledger's order on its numbers."""
    made = run(scene, ShiftedClock(timedelta(hours=1), -timedelta(minutes=7)))
    assert made.code is Code.OK
    scene.check_whole()
    times = [item.at for item in scene.context().ledger.own().each()]
    assert times == sorted(times, reverse=True)
    assert len(set(times)) > 1


@pytest.mark.parametrize("seconds", [-3600, 3600])
def test_s3_refuses_a_clock_that_differs(seconds: int, scene: Scene) -> None:
    """A real 403: the copy is missing, the cause is named, and the next run completes the same epoch."""
    ended = scene.run(scene.escrow(), aws_clock=seconds)
    assert ended.code == 21, ended
    failed = {copy["target"]: copy["error"] for copy in ended.document["copies"] if "error" in copy}
    assert list(failed) == ["s3"]
    assert failed["s3"]["name"] == "denied"
    assert "clock" in failed["s3"]["message"]
    assert not ended.document["proven"]
    committed = scene.journalled()
    assert len(committed) == 1

    again = scene.run(scene.escrow())
    assert (again.code, again.document["resumed"]) == (0, True)
    scene.check_whole(committed=committed)
