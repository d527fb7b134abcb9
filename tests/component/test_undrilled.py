"""An epoch that only people can prove, and what is made, told and handed out before they have proven it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.archive.run import KeyScope
from pipeline.core.errors import Code, Stale, Unreachable
from pipeline.monitoring.status import status
from pipeline.record.verify import Record
from pipeline.unseal.ceremony import Brought, UnsealRequest
from pipeline.workflows import checkin, drill, escrow, publish, refresh, rotate
from pipeline.workflows.drill import DrillRequest
from pipeline.workflows.refresh import RefreshRequest
from pipeline.workflows.rotate import Rotation, RotationRequest
from tests.support.inmemory import EXPORT_PASSPHRASE, MemoryHolder, World, export, unlocked
from tests.support.withpeople import machines_words

LEAKED = "a share was seen"
RENEWED = RefreshRequest(unlocked("renewed").public)


class Renewed(World):
    """A world around a key that has renewed itself."""

    @property
    def fingerprint(self) -> str:
        return unlocked("renewed").fingerprint


@pytest.fixture
def world(tmp_path: Path) -> Renewed:
    """Holders that no login opens, and an epoch that their shares have proven."""
    made = Renewed(tmp_path / "state")
    for holder in made.holders.values():
        holder.unattended = False
    accepted = escrow.EscrowOptions(frozenset({"expired"}))
    assert escrow.escrow(made.context, export("expired"), EXPORT_PASSPHRASE, accepted).code is Code.DEGRADED
    prove(made)
    return made


def records(world: World) -> list[Record]:
    """All that is stored, oldest first."""
    return list(world.context.archive("writer").catalog().records())


def brought(world: World, record: Record) -> UnsealRequest:
    """The shares of a record."""
    words = [Brought(machines_words(world, record, "unattended", name), name) for name in world.holders]
    return UnsealRequest(shares=tuple(words))


def prove(world: World) -> None:
    """Hold the drill of the newest epoch as a ceremony."""
    newest = records(world)[-1]
    done = drill.drill(world.context, DrillRequest({newest.epoch}, unseal=brought(world, newest)))
    assert done.code is Code.OK
    world.clock.shift += timedelta(seconds=5)


def rotated(
    world: World, shares: Record, *, code: Code = Code.DEGRADED, epoch: str | None = None
) -> Rotation:
    """Rotate with the shares of a record."""
    done = rotate.rotate(world.context, RotationRequest(LEAKED, epoch, brought(world, shares)))
    assert done.stored.code is code
    world.clock.shift += timedelta(seconds=5)
    return done


def refreshed(world: World, shares: Record) -> Record:
    """Refresh with the shares of a record."""
    done = refresh.refresh(world.context, RefreshRequest(RENEWED.public, brought(world, shares)))
    assert done.stored is not None
    assert done.stored.record.manifest.refreshed
    world.clock.shift += timedelta(seconds=5)
    return done.stored.record


def test_a_rotation_after_a_refresh_has_new_shares_and_the_newer_public_part(world: World) -> None:
    (first,) = records(world)
    newer = refreshed(world, first)
    done = rotated(world, first)
    made = done.stored.record
    assert made.manifest.record_id != first.manifest.record_id
    assert made.manifest.custody.witness != first.manifest.custody.witness, "another escrow passphrase"
    assert (done.old.epoch, made.manifest.key_state) == (newer.epoch, newer.manifest.key_state)


def test_a_rotation_does_not_finish_a_refresh_that_was_killed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first,) = records(world)
    with monkeypatch.context() as killed:
        killed.setattr(publish, "publish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            refreshed(world, first)
    world.clock.shift += timedelta(seconds=5)
    assert not rotate.rehearse(world.context, RotationRequest(LEAKED)).action.startswith("finish")
    assert rotated(world, first).stored.record.manifest.record_id != first.manifest.record_id


def test_each_rotation_that_is_asked_for_makes_new_shares(world: World) -> None:
    (first,) = records(world)
    ids = {rotated(world, first).stored.record.manifest.record_id for _ in range(2)}
    assert len(ids | {first.manifest.record_id}) == 3
    prove(world)
    assert world.context.archive("writer").catalog().record() == records(world)[-1]


def test_where_the_holders_keys_are_lost_a_new_epoch_is_made_all_the_same(tmp_path: Path) -> None:
    """Under the same names: nothing in the plan tells that the old shares open no more."""
    world = Renewed(tmp_path / "state")

    def escrowed(*, new: bool) -> publish.PublishedEpoch:
        world.clock.shift += timedelta(seconds=5)
        options = escrow.EscrowOptions(new_epoch=new)
        return escrow.escrow(world.context, export("renewed"), EXPORT_PASSPHRASE, options)

    first = escrowed(new=False)
    world.holders["vault"] = MemoryHolder("vault")
    assert escrowed(new=False).record == first.record
    second = escrowed(new=True)
    assert (second.code, second.proven, second.record != first.record) == (Code.OK, True, True)
    assert second.record.manifest.previous == first.record.reference


def test_a_rotation_whose_shares_do_not_open_is_not_tried_for_ever(world: World) -> None:
    for holder in world.holders.values():
        holder.unattended = True
    real, sealed = drill.within, []

    def lost(scope: KeyScope, request: DrillRequest) -> drill.Drill:
        sealed.append(world.holders["vault"])
        world.holders["vault"] = MemoryHolder("vault")
        try:
            return real(scope, request)
        finally:
            world.holders["vault"] = sealed.pop()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publish, "within", lost)
        bad = rotate.rotate(world.context, RotationRequest(LEAKED)).stored
    assert bad.code is Code.WRONG_SHARE
    world.clock.shift += timedelta(seconds=5)
    again = rotate.rotate(world.context, RotationRequest(LEAKED)).stored
    assert (again.code, again.proven, again.record != bad.record) == (Code.OK, True, True)


def test_a_rotation_that_stored_too_little_is_finished_by_the_next(world: World) -> None:
    (first,) = records(world)
    for name in ("b", "c"):
        world.targets[name].failures["put"] = Unreachable(f"{name} does not answer", hint="try again")
    short = rotated(world, first, code=Code.UNREACHABLE)
    for target in world.targets.values():
        target.failures.clear()
    assert rotated(world, first).stored.record == short.stored.record


def test_a_refresh_puts_no_older_shares_before_newer_ones(world: World) -> None:
    (first,) = records(world)
    made = rotated(world, first).stored.record
    for ask in (refresh.refresh, refresh.rehearse):
        with pytest.raises(Stale, match=f"{made.epoch} is newer than the latest") as caught:
            ask(world.context, RefreshRequest(RENEWED.public, brought(world, first)))
        assert f"orgkey drill --epoch {made.epoch} --via unattended" in caught.value.hint
    prove(world)
    assert refreshed(world, made).manifest.record_id == made.manifest.record_id


def test_a_rotation_puts_no_older_key_before_a_newer_one(world: World) -> None:
    (first,) = records(world)
    done = escrow.escrow(world.context, export("renewed"), EXPORT_PASSPHRASE)
    world.clock.shift += timedelta(seconds=5)
    newer = done.record
    with pytest.raises(Stale, match=f"{newer.epoch} is newer than the latest") as caught:
        rotated(world, first)
    assert "--epoch" in caught.value.hint
    assert rotated(world, newer, epoch=newer.epoch).old.epoch == newer.epoch
    assert rotated(world, first, epoch=first.epoch).old.epoch == first.epoch


def test_what_goes_by_the_latest_tells_of_the_newer_one(world: World) -> None:
    (first,) = records(world)
    made = rotated(world, first).stored.record
    found = status(world.context)
    assert found.epoch is not None
    assert found.epoch.name == first.epoch
    assert [rule.text for rule in found.rules if rule.name == "newer"] == [
        f"epoch {made.epoch} is newer than the latest, complete, and no drill has proven it: "
        f"run `orgkey drill --epoch {made.epoch} --via unattended`"
    ]
    world.lines.clear()
    (asked,) = {item.epoch for item in checkin.challenge(world.context)}
    assert asked == first.epoch
    assert any(f"epoch {made.epoch} is newer" in line for line in world.lines), world.lines
    prove(world)
    world.store(world.mint(key="renewed", later=10 * 86400.0))  # by a wrong clock, and not newer for that
    assert not [rule for rule in status(world.context).rules if rule.name == "newer"]


def test_a_plan_that_was_rotated_to_and_not_proven_is_proven_and_not_rotated_to_again(world: World) -> None:
    (first,) = records(world)
    world.holders["aws"].where = "memory:another account"
    request = RotationRequest(LEAKED, None, brought(world, first), accept_custody_change=True)
    made = rotate.rotate(world.context, request).stored.record
    (broken,) = [text for text in status(world.context).broken if "another custody plan" in text]
    assert f"epoch {made.epoch} does: prove it with `orgkey drill --epoch {made.epoch}" in broken
