"""Killed at any instant of a rotation, a complete, proven epoch is there, and the next run finishes it.

The points come from the trace of a clean rotation (see ``faulty.py``). Each one is a test of its own. The
epoch that is rotated is made once and copied to each test's own place.
"""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

from tests.faults.conftest import set_up, traced_once
from tests.faults.replacing import Before, adopt, check_ended, check_restores, check_stands, with_people
from tests.faults.scene import Scene

if TYPE_CHECKING:
    from tests.support.local_stack import Stack

POINTS = 88
"""How many effects a clean rotation has. Whoever adds one changes this number, and has it swept with that."""

ROTATE = ["custody", "rotate", "--reason", "yearly"]


@pytest.fixture(scope="session")
def rotation_points(stack: Stack, before: Before, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The points of a clean rotation, sorted."""

    def trace() -> list[str]:
        with with_people(set_up(stack, tmp_path_factory.mktemp("traced"))) as scene:
            adopt(scene, before)
            ended = scene.run(ROTATE)
            assert ended.code == 0, ended
            check_ended(scene, before, "rotate")
            return scene.points()

    return traced_once("rotate", trace)


def test_the_number_of_points(rotation_points: list[str]) -> None:
    listed = "\n".join(rotation_points)
    assert len(set(rotation_points)) == len(rotation_points)
    assert len(rotation_points) == POINTS, f"a rotation has other effects than it had:\n{listed}"


@pytest.mark.parametrize("number", range(POINTS))
def test_killed(number: int, rotation_points: list[str], replacing: Scene, before: Before) -> None:
    point = rotation_points[number]
    killed = replacing.run(ROTATE, at=point)
    assert killed.code == -signal.SIGKILL, (point, killed)
    if not replacing.is_new_state("rotate", check_stands(replacing, before)):
        return
    check_restores(replacing, "killed")
    committed = replacing.journalled()
    done = {entry.epoch for entry in replacing.context().journal.entries() if entry.proven()}

    again = replacing.run(ROTATE)
    assert again.code == 0, (point, again)
    new = check_ended(replacing, before, "rotate")
    assert json.loads(again.out)["epoch"] in new
    # One new epoch; a second one only where the first was proven already when the run was killed.
    assert len(new) == 1 + len(done - {before.record.epoch}), point
    for epoch, data in committed.items():
        assert new[epoch]["vault"] == data, "what was journalled is what is stored"


def test_an_escrow_ends_a_rotation_that_was_killed(
    rotation_points: list[str], replacing: Scene, before: Before
) -> None:
    point = "replace state/FPR/journal/EPOCH/receipts/vault.json #1"
    assert point in rotation_points
    assert replacing.run(ROTATE, at=point).code == -signal.SIGKILL
    (epoch,) = replacing.journalled()
    ended = replacing.run(replacing.escrow())
    assert ended.code == 0, ended
    assert (ended.document["epoch"], ended.document["proven"]) == (epoch, True)
    assert set(replacing.stored()) == {before.record.epoch, epoch}
