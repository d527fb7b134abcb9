from __future__ import annotations

import re
import shutil
import threading
from datetime import timedelta

import pytest

from pipeline.archive import journal
from pipeline.cli import status_text
from pipeline.cli.documents.upkeep import RepairDocument
from pipeline.core.errors import Code, Locked, OrgkeyError, UsageProblem
from pipeline.monitoring.status import status
from pipeline.report.build import build
from pipeline.report.drill_facts import ProofState
from pipeline.storage.interface import Presence, Slot
from pipeline.workflows.drill import DrillRequest, drill
from pipeline.workflows.repair import Repair, repair
from tests.support.inmemory import World, denied, slot_of, unreachable


def actions(done: Repair) -> dict[str, str]:
    return {item.target: item.action for item in done.copies}


def test_good_copies_are_kept_and_nothing_is_written(world: World) -> None:
    world.store(world.mint())
    done = repair(world.context)
    assert actions(done) == {"a": "kept", "b": "kept", "c": "kept"}
    assert done.code is Code.OK
    assert all("put" not in target.calls for target in world.targets.values())
    assert world.events() == []


def test_a_missing_copy_is_written_with_the_same_bytes(world: World) -> None:
    made = world.store(world.mint(), "a", "b")
    done = repair(world.context)
    assert actions(done) == {"a": "kept", "b": "kept", "c": "copied"}
    assert world.targets["c"].get(slot_of(made)) == made.data
    assert done.code is Code.OK
    assert world.events() == ["repair"]
    entry = world.context.journal.entry(made.epoch)
    assert entry is not None
    assert set(entry.receipts()) == {"c"}


@pytest.mark.parametrize("presence", [Presence.DESTROYED, None])
def test_a_damaged_copy_is_left_alone_and_a_good_one_put_beside_it(
    world: World, presence: Presence | None
) -> None:
    made = world.store(world.mint())
    target = world.targets["b"]
    if presence:
        target.mark(slot_of(made), presence)
    else:
        target.damage(slot_of(made))
    before = target.places[slot_of(made)][0].data
    done = repair(world.context)
    assert actions(done)["b"] == "copied"
    assert target.places[slot_of(made)][0].data == before
    beside = Slot(made.fingerprint, f"{made.epoch}-r1")
    assert target.get(beside) == made.data
    again = repair(world.context)
    assert actions(again)["b"] == "kept"
    assert len(target.places) == 2


def test_a_dry_run_writes_nothing_anywhere(world: World) -> None:
    world.store(world.mint(), "a", "b")
    done = repair(world.context, dry_run=True)
    assert actions(done)["c"] == "would copy"
    assert world.targets["c"].places == {}
    assert world.events() == []
    assert world.context.journal.entries() == []


@pytest.mark.parametrize(("error", "code"), [(unreachable(), Code.UNREACHABLE), (denied(), Code.DENIED)])
def test_a_copy_that_cannot_be_written_is_named(world: World, error: OrgkeyError, code: Code) -> None:
    world.store(world.mint(), "a")
    world.targets["c"].failures["put"] = error
    done = repair(world.context)
    assert actions(done) == {"a": "kept", "b": "copied", "c": "failed"}
    assert done.code is code
    assert RepairDocument.of(done, dry_run=False).lines()[-1] == f"hint: {error.hint}"


def test_an_epoch_without_a_good_copy_cannot_be_repaired(world: World) -> None:
    made = world.store(world.mint())
    for target in world.targets.values():
        target.damage(slot_of(made))
    done = repair(world.context)
    assert set(actions(done).values()) == {"failed"}
    assert done.code is Code.INTEGRITY
    assert all(len(target.places) == 1 for target in world.targets.values())


def test_nothing_stored(world: World) -> None:
    with pytest.raises(UsageProblem):
        repair(world.context)


def test_every_epoch_or_the_latest_or_those_named(world: World) -> None:
    one, two = world.store(world.mint(), "a"), world.store(world.mint(later=5), "a")
    assert {item.epoch for item in repair(world.context, dry_run=True).copies} == {one.epoch, two.epoch}
    assert {item.epoch for item in repair(world.context, (), dry_run=True).copies} == {two.epoch}
    assert {item.epoch for item in repair(world.context, {one.epoch}, dry_run=True).copies} == {one.epoch}


def test_it_needs_no_holder_and_no_passphrase(world: World) -> None:
    world.store(world.mint(), "a")
    for holder in world.holders.values():
        holder.calls.clear()
        for name in ("describe", "open", "seal"):
            holder.failures[name] = unreachable("holder")
    assert repair(world.context).code is Code.OK
    assert all(holder.calls == [] for holder in world.holders.values())
    assert world.roles == ["writer"]


def test_copies_made_at_the_same_time_share_one_journal_entry(world: World) -> None:
    # With the state lost, two copies finish at once: neither may take the journal from the other.
    world.targets.update({})
    made = world.store(world.mint(), "a")
    meeting = threading.Barrier(2, timeout=30)
    for name in "bc":
        target = world.targets[name]
        real = target.get

        def get(slot: Slot, version: str | None = None, real: object = real) -> bytes:
            data: bytes = real(slot, version)  # type: ignore[operator]  # the target's own method
            meeting.wait()
            return data

        target.get = get  # type: ignore[method-assign]  # a slower one
    for _ in range(5):
        shutil.rmtree(world.root, ignore_errors=True)
        for name in "bc":
            world.targets[name].places.clear()
        assert repair(world.context).code is Code.OK
        entry = world.context.journal.entry(made.epoch)
        assert entry is not None
        assert set(entry.receipts()) == {"b", "c"}


def test_it_waits_for_no_other_run(world: World) -> None:
    world.store(world.mint(), "a")
    with journal.lock(world.context.root), pytest.raises(Locked):
        repair(world.context)
    assert world.targets["b"].places == {}


def test_a_copy_that_was_written_anew_counts_as_restored_only_after_the_next_drill(world: World) -> None:
    world.store(world.mint())
    assert drill(world.context, DrillRequest()).code is Code.OK
    world.targets["b"].places.clear()
    world.clock.shift += timedelta(seconds=40)
    assert repair(world.context).code is Code.OK
    world.policy = "max_copy_drill_age_days = 8\n"

    def restored() -> list[str]:
        shown = status_text.lines(status(world.context))
        return [line for line in shown if line.startswith(("a ", "b ", "c ", "unattended"))]

    told = restored()
    assert "not since it was copied anew" in told[1]
    assert all(re.search(r"4\d s ago", told[place]) for place in (0, 2, 3))
    world.targets["b"].failures["get"] = unreachable("b")
    assert "not since it was copied anew" in restored()[1]
    world.targets["b"].failures.clear()
    (gap,) = status(world.context).broken
    assert gap.startswith("copy b of the latest epoch was never restored")
    states = {cell.copy: cell.state for cell in build(world.context).report.matrix}
    assert states == {"a": ProofState.PROVEN, "b": ProofState.NEVER, "c": ProofState.PROVEN}
    world.clock.shift += timedelta(seconds=40)
    assert drill(world.context, DrillRequest()).code is Code.OK
    assert status(world.context).broken == ()
    assert "not since" not in "".join(restored())
