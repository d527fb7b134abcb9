"""Killed at any instant of a rotation, a complete, proven epoch is there, and the next run finishes it.

The points come from the trace of a clean rotation (see ``faulty.py``). Each one is a test of its own. The
epoch that is rotated is made once and copied to each test's own place.
"""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline import authentic
from pipeline.authentic import Record
from pipeline.targets.interface import Slot
from tests.assets import people
from tests.faults.conftest import set_up
from tests.faults.scene import FINGERPRINT, Scene

if TYPE_CHECKING:
    from pipeline.devstack.stack import Stack

POINTS = 87
"""How many effects a clean rotation has. Whoever adds one changes this number, and has it swept with that."""

ROTATE = ["custody", "rotate", "--reason", "yearly"]


@dataclass(frozen=True)
class Before:
    """An escrowed and proven epoch.

    Attributes:
        record: Its record.
        state: The state directory of the host that made it.
    """

    record: Record
    state: Path


def with_people(scene: Scene) -> Scene:
    """Give the plan a second path, of three custodians."""
    certificates = people.folder(scene.directory / "certificates", ("alice", "bob", "carol"))
    tables = people.tables(certificates, members=("alice", "bob", "carol"), threshold=2)
    scene.config.write_text(scene.config.read_text() + tables)
    return scene


def adopt(scene: Scene, before: Before) -> None:
    """Let a scene be the host and the place of an epoch that was made elsewhere."""
    shutil.copytree(before.state, scene.state)
    context = scene.context()
    slot = Slot(FINGERPRINT, before.record.epoch)
    entry = context.journal.entry(before.record.epoch)
    assert entry is not None
    for target in context.estate("writer").targets().values():
        entry.add_receipt(target.put(slot, before.record.data))


@pytest.fixture(scope="session")
def before(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Before]:
    """The epoch that every test rotates, made once by each worker."""
    with with_people(set_up(stack, tmp_path_factory.mktemp("before"))) as scene:
        ended = scene.run(scene.escrow())
        assert ended.code == 0, ended
        (copies,) = scene.stored().values()
        context = scene.context()
        record = authentic.open_record(
            copies["vault"], context.pins, deadline=context.deadline, now=context.clock.now()
        )
        yield Before(record, scene.state)


@pytest.fixture
def rotating(scene: Scene, before: Before) -> Scene:
    """A scene with that epoch."""
    adopt(with_people(scene), before)
    return scene


@pytest.fixture(scope="session")
def rotation_points(stack: Stack, before: Before, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The points of a clean rotation, traced once by each worker; sorted."""
    with with_people(set_up(stack, tmp_path_factory.mktemp("traced"))) as scene:
        adopt(scene, before)
        ended = scene.run(ROTATE)
        assert ended.code == 0, ended
        check_ended(scene, before)
        return scene.points()


def check_proven(scene: Scene, before: Before, name: str) -> None:
    """The old epoch stands as it was: whole at both targets, proven on this host, and it restores."""
    copies = scene.stored()[before.record.epoch]
    assert copies == {"vault": before.record.data, "s3": before.record.data}
    entry = scene.context().journal.entry(before.record.epoch)
    assert entry is not None
    assert entry.proven() is not None
    out = scene.directory / "out" / f"{name}.asc"
    restored = scene.run(["restore", "--original", "--out", str(out)])
    assert restored.code == 0, restored
    assert out.read_bytes() == scene.export.read_bytes()


def check_ended(scene: Scene, before: Before) -> set[str]:
    """Every epoch is whole, the newest is proven and replaces another one; nothing lingers.

    Returns:
        The new epochs.
    """
    context = scene.context()
    stored = scene.stored()
    marks = {entry.epoch: entry.proven() for entry in context.journal.entries()}
    assert set(marks) == set(stored)
    assert all(marks.values()), marks
    for copies in stored.values():
        assert set(copies) == {"vault", "s3"}
        assert copies["vault"] == copies["s3"]
    new = set(stored) - {before.record.epoch}
    for epoch in new:
        record = authentic.open_record(
            stored[epoch]["s3"], context.pins, deadline=context.deadline, now=context.clock.now(), epoch=epoch
        )
        assert record.manifest.supersedes is not None
        assert record.manifest.supersedes.epoch in set(stored) - {epoch}
        assert record.manifest.key_state == before.record.manifest.key_state
    events = [item["event"] for item in context.ledger.entries()]  # checks the chain
    assert "rotate" in events
    scene.check_nothing_lingers()
    return new


def test_the_number_of_points(rotation_points: list[str]) -> None:
    listed = "\n".join(rotation_points)
    assert len(set(rotation_points)) == len(rotation_points)
    assert len(rotation_points) == POINTS, f"a rotation has other effects than it had:\n{listed}"


@pytest.mark.parametrize("number", range(POINTS))
def test_killed(number: int, rotation_points: list[str], rotating: Scene, before: Before) -> None:
    point = rotation_points[number]
    killed = rotating.run(ROTATE, at=point)
    assert killed.code == -signal.SIGKILL, (point, killed)
    check_proven(rotating, before, "killed")
    committed = rotating.journalled()
    done = {entry.epoch for entry in rotating.context().journal.entries() if entry.proven()}

    again = rotating.run(ROTATE)
    assert again.code == 0, (point, again)
    new = check_ended(rotating, before)
    assert json.loads(again.out)["epoch"] in new
    # One new epoch; a second one only where the first was proven already when the run was killed.
    assert len(new) == 1 + len(done - {before.record.epoch}), point
    for epoch, data in committed.items():
        assert rotating.stored()[epoch]["vault"] == data, "what was journalled is what is stored"


def test_an_escrow_ends_a_rotation_that_was_killed(
    rotation_points: list[str], rotating: Scene, before: Before
) -> None:
    point = "replace state/FPR/journal/EPOCH/receipts/vault.json #1"
    assert point in rotation_points
    assert rotating.run(ROTATE, at=point).code == -signal.SIGKILL
    (epoch,) = rotating.journalled()
    ended = rotating.run(rotating.escrow())
    assert ended.code == 0, ended
    assert (ended.document["epoch"], ended.document["proven"]) == (epoch, True)
    assert set(rotating.stored()) == {before.record.epoch, epoch}
