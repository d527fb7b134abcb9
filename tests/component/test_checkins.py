"""What counts as the proof of a person's share, and what a challenge calls old, in this process."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.core.errors import Code, WrongShare
from pipeline.core.secret import Secret
from pipeline.custody.custodians import challenge as protocol
from pipeline.custody.shares import commitments
from pipeline.monitoring.status import status
from pipeline.record.verify import Record
from pipeline.storage.interface import Slot
from pipeline.unseal.ceremony import Brought, UnsealRequest
from pipeline.workflows import checkin, drill
from pipeline.workflows.drill import DrillRequest
from tests.support import people
from tests.support.inmemory import World
from tests.support.people import FINGERPRINTS
from tests.support.withpeople import people_world


def stored(world: World, record: Record, *targets: str) -> Record:
    """Put a record at targets."""
    for name in targets:
        world.targets[name].plant(Slot(record.fingerprint, record.epoch), record.data)
    return record


def test_of_two_shares_of_one_person_a_drill_proves_those_that_were_brought(tmp_path: Path) -> None:
    needs = ", ".join(f'{{ holder = "{name}", threshold = 2 }}' for name in ("custodians", "owners"))
    board = people.tables(tmp_path / "world" / "certificates", holder="owners", path=None)
    world = people_world(tmp_path / "world", more=f"{board}[path.both]\nneeds = [{needs}]\n")
    world.holders["owners"] = type(world.holders["custodians"])(  # type: ignore[call-arg]  # a group
        "owners", world.config.holder["owners"], deadline=world.context.deadline, clock=world.clock
    )
    record = stored(world, world.mint(), "a", "b", "c")
    entry = record.manifest.custody.path("both")
    shares = [
        Brought(people.decrypt(name, record.members[share.member]), f"{name} of {holder}")
        for holder, names in (("custodians", ("alice", "bob")), ("owners", ("alice", "carol")))
        for share in entry.shares_of(holder)
        for name in names
        if share.label == FINGERPRINTS[name]
    ]
    done = drill.drill(world.context, DrillRequest(unseal=UnsealRequest("both", tuple(shares))))
    assert done.code is Code.OK
    shown = {
        (item.seat.share.holder, item.seat.share.label)
        for item in status(world.context).custodians
        if item.last and item.seat.path.name == "both"
    }
    assert shown == {(holder, FINGERPRINTS["alice"]) for holder in ("custodians", "owners")}


def test_a_check_in_that_a_wrong_clock_dated_in_the_future_hides_none(tmp_path: Path) -> None:
    world = people_world(tmp_path / "world")
    record = stored(world, world.mint(), "a", "b", "c")
    for days in (0, 3):
        world.clock.shift = timedelta(days=days)
        (asked,) = checkin.challenge(world.context, [FINGERPRINTS["bob"]], new=True)
        answers = [
            protocol.answer(asked, people.words("bob", record, share.path), "the share")
            for share in asked.shares
        ]
        checkin.confirm(world.context, [item.code for item in answers])
    world.clock.shift = timedelta()
    shown = [item for item in status(world.context).custodians if item.seat.share.label == asked.custodian]
    assert [0 <= item.age_seconds < 60 for item in shown] == [True, True]


@pytest.mark.parametrize("later", [-60.0, 60.0])
def test_a_share_of_a_newer_epoch_is_not_called_old(tmp_path: Path, later: float) -> None:
    """Custodians destroy what is called old; a newer epoch that does not count yet is going to."""
    world = people_world(tmp_path / "world")
    record = stored(world, world.mint(), "a", "b", "c")
    other = stored(world, world.mint(later=later), "a")
    (asked,) = checkin.challenge(world.context, [FINGERPRINTS["bob"]], new=True)[:1]
    assert asked.epoch == record.epoch
    words = people.words("bob", other)
    told = "older epoch" if later < 0 else "not one that"
    with pytest.raises(WrongShare, match=told) as caught:
        protocol.answer(asked, words, "the share")
    assert ("destroy" in caught.value.hint) == (later < 0)
    (seat,) = [
        item
        for item in checkin.seats(other)
        if item.share.label == FINGERPRINTS["bob"] and item.path.name == "custodians"
    ]
    code = commitments.code(seat.place, 3, Secret(words.reveal()))
    with pytest.raises(WrongShare, match=f"of the {'older' if later < 0 else 'newer'} epoch {other.epoch}"):
        checkin.confirm(world.context, [code.text()])
