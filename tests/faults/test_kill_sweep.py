"""Killed at any instant, the next run finishes the same epoch with the same bytes, or starts cleanly.

The points come from the trace of a clean run (see ``faulty.py``). Each one is a test of its own: an escrow
is killed there with SIGKILL. Many of them leave the same behind; whoever is the first to leave something runs
the same command again, which must end well.
"""

from __future__ import annotations

import shutil
import signal

import pytest

from tests.faults.scene import Scene
from tests.support import forkserver

POINTS = 83
"""How many effects a clean escrow has. Whoever adds one changes this number, and has it swept with that."""


def test_the_number_of_points(clean_points: list[str]) -> None:
    listed = "\n".join(clean_points)
    assert len(set(clean_points)) == len(clean_points)
    assert len(clean_points) == POINTS, f"an escrow has other effects than it had:\n{listed}"


def test_the_points_are_the_same_in_every_run(clean_points: list[str], scene: Scene) -> None:
    assert scene.run(scene.escrow()).code == 0
    assert scene.points() == clean_points


def test_a_forked_run_has_the_points_of_an_executed_one(
    clean_points: list[str], scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forkserver, "ENTRIES", {})
    assert scene.run(scene.escrow()).code == 0
    assert scene.points() == clean_points


@pytest.mark.parametrize("number", range(POINTS))
def test_killed(number: int, clean_points: list[str], scene: Scene) -> None:
    point = clean_points[number]
    killed = scene.run(scene.escrow(), at=point)
    assert killed.code == -signal.SIGKILL, (point, killed)
    committed = scene.journalled()
    written = scene.stored()
    assert set(written) <= {path.name for path in (scene.root / "journal").glob("[0-9]*")}, point
    if not scene.is_new_state("escrow", written):
        return

    again = scene.run(scene.escrow())
    assert again.code == 0, (point, again)
    for epoch, copies in written.items():
        for data in copies.values():
            committed.setdefault(epoch, data)
            assert committed[epoch] == data, "what reached a target is what the journal holds"
    record = scene.check_whole(committed=committed)
    document = again.document
    assert (document["epoch"], document["proven"]) == (record.epoch, True)
    assert document["resumed"] or document["already"] or not committed


def test_killed_and_the_state_lost(clean_points: list[str], scene: Scene) -> None:
    """What reached a target is found there, and becomes the one epoch."""
    point = "replace state/FPR/journal/EPOCH/receipts/vault.json #1"
    assert point in clean_points
    assert scene.run(scene.escrow(), at=point).code == -signal.SIGKILL
    (written,) = scene.stored().values()
    committed = scene.journalled()
    assert written["vault"] in committed.values()
    shutil.rmtree(scene.state)

    again = scene.run(scene.escrow())
    assert again.code == 0, again
    assert again.document["already"]
    scene.check_whole(committed=committed)


def test_what_is_checked_can_fail(scene: Scene) -> None:
    assert scene.run([*scene.escrow(), "--no-drill"]).code == 0
    with pytest.raises(AssertionError, match="stays on the host"):
        scene.check_whole()
    assert scene.run(["drill", "--epoch", "all"]).code == 0
    scene.check_whole()
    with pytest.raises(AssertionError):
        scene.check_whole(committed={"20250101T000000Z-00000000": b"another"})
    (scene.root / ".left.orgkey-tmp").touch()
    with pytest.raises(AssertionError):
        scene.check_whole()
