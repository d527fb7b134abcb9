"""A record of one Org Key in another one's place: a former key's in the present one's, and the reverse."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from pipeline.archive.catalog import Copy
from pipeline.archive.journal import Journal
from pipeline.archive.overview import verdict
from pipeline.archive.run import KeyScope
from pipeline.core.errors import Code, IntegrityProblem, first_of
from pipeline.core.secret import Secret
from pipeline.monitoring.status import status
from pipeline.openpgp.key import rewrap
from pipeline.record.verify import Record
from pipeline.storage.interface import Presence, Slot, Stored
from pipeline.workflows.drill import DrillRequest, drill
from pipeline.workflows.escrow import EscrowOptions, escrow
from pipeline.workflows.repair import repair
from pipeline.workflows.restore import RestoreRequest, find, restore
from tests.support.inmemory import (
    ATTACKER,
    EXPORT_PASSPHRASE,
    ORG,
    MemoryEstate,
    MemoryHolder,
    World,
    export,
    slot_of,
    unlocked,
)

PRESENT, FORMER = unlocked(ORG).fingerprint, unlocked(ATTACKER).fingerprint
KEYS = {PRESENT: ORG, FORMER: ATTACKER}
NEW = Secret("a passphrase of my own")


@pytest.fixture(params=[(PRESENT, FORMER), (FORMER, PRESENT)], ids=["former in present", "present in former"])
def slots(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Whose slot is read, and whose record was put there, too."""
    read, planted = request.param
    return read, planted


@dataclass(frozen=True)
class Minted:
    """Two records of each key, made once, and what opens them."""

    holders: dict[str, MemoryHolder]
    older: dict[str, Record]
    newer: dict[str, Record]


@pytest.fixture(scope="module")
def minted(tmp_path_factory: pytest.TempPathFactory) -> Minted:
    made = World(tmp_path_factory.mktemp("minted"))
    made.key = f'former = ["{FORMER}"]'
    return Minted(
        made.holders,
        {fingerprint: made.mint(key=name) for fingerprint, name in KEYS.items()},
        {fingerprint: made.mint(key=name, later=60) for fingerprint, name in KEYS.items()},
    )


@pytest.fixture
def planted(world: World, minted: Minted, slots: tuple[str, str]) -> tuple[Record, Record]:
    """The slot's own record at all targets, and beside it the other key's, which is newer, at two."""
    world.key = f'former = ["{FORMER}"]'
    world.holders = minted.holders
    read, other = slots
    own, foreign = world.store(minted.older[read]), world.store(minted.newer[other])
    for name in "ab":
        world.targets[name].plant(Slot(read, foreign.epoch), foreign.data)
    return own, foreign


def context(world: World, fingerprint: str) -> KeyScope:
    return world.context.of(fingerprint)


def accused(copies: tuple[Copy, ...]) -> set[str]:
    return {copy.target for copy in copies if copy.code is Code.INTEGRITY}


def test_list_verify_and_status_name_the_copies(
    world: World, slots: tuple[str, str], planted: tuple[Record, Record]
) -> None:
    own, foreign = planted
    survey = next(item for item in world.context.catalogs() if item.fingerprint == slots[0])
    latest = survey.latest()
    assert latest is not None
    assert latest.name == own.epoch
    false = next(epoch for epoch in survey.epochs if epoch.name == foreign.epoch)
    assert false.record is None
    assert accused(false.copies) == {"a", "b"}
    assert all(foreign.fingerprint in str(copy.problem) for copy in false.copies if copy.target != "c")
    assert first_of(verdict(survey, 2)) is Code.INTEGRITY
    judged = status(context(world, PRESENT))
    assert judged.epoch is not None
    assert judged.epoch.record is not None
    assert judged.epoch.record.fingerprint == PRESENT


@pytest.mark.parametrize("proven", [False, True])
def test_restore_gives_the_right_key_back(
    world: World, slots: tuple[str, str], planted: tuple[Record, Record], proven: bool, tmp_path: Path
) -> None:
    """On a host without state, and where the false one stands as proven in the journal."""
    own, foreign = planted
    run = context(world, slots[0])
    if proven:
        Journal(run.root).begin(foreign.epoch, None).mark_proven(
            {"record_sha256": foreign.sha256.hex, "at": "2026-01-31T08:00:00Z"}
        )
    request = RestoreRequest(tmp_path / "key.asc")
    found = find(run, request)
    assert found.record == own
    if proven:
        return
    done = restore(
        found, request, MemoryEstate(world), lambda: NEW,
        run.deadline,
    )  # fmt: skip
    assert (done.epoch, done.fingerprint) == (own.epoch, slots[0])
    back = rewrap.load((tmp_path / "key.asc").read_bytes(), NEW, pin=slots[0], now=run.clock.now())
    assert back.fingerprint == slots[0]


def test_restore_of_the_false_epoch_is_refused(
    world: World, slots: tuple[str, str], planted: tuple[Record, Record], tmp_path: Path
) -> None:
    run = context(world, slots[0])
    with pytest.raises(IntegrityProblem, match="a: version 1: not authentic"):
        find(run, RestoreRequest(tmp_path / "key.asc", epoch=planted[1].epoch))
    with pytest.raises(IntegrityProblem, match="in the place of"):
        find(
            run,
            RestoreRequest(tmp_path / "key.asc", epoch=planted[1].epoch, source="a", version="1"),
        )


def test_a_drill_proves_the_slots_own_key(
    world: World, slots: tuple[str, str], planted: tuple[Record, Record]
) -> None:
    own, foreign = planted
    run = context(world, slots[0])
    assert {result.epoch for result in drill(run, DrillRequest()).results} == {own.epoch}
    every = drill(run, DrillRequest(epochs=None))
    assert every.code is Code.INTEGRITY
    assert {(result.epoch, result.passed) for result in every.results} == {
        (own.epoch, True),
        (foreign.epoch, False),
    }


def test_a_repair_does_not_spread_it(
    world: World, slots: tuple[str, str], planted: tuple[Record, Record]
) -> None:
    own, foreign = planted
    world.targets["c"].places.pop(Slot(slots[0], own.epoch))
    done = repair(context(world, slots[0]))
    assert done.code is Code.INTEGRITY
    assert Slot(slots[0], own.epoch) in world.targets["c"].places
    assert Slot(slots[0], foreign.epoch) not in world.targets["c"].places


def test_retain_extends_nothing_of_it(
    world: World, slots: tuple[str, str], planted: tuple[Record, Record]
) -> None:
    reader = context(world, slots[0]).archive("driller")
    stored = Stored(Slot(slots[0], planted[1].epoch), "a", "1", Presence.CURRENT)
    outcome = reader.read(world.targets["a"], stored).outcome
    assert isinstance(outcome, IntegrityProblem)
    assert "in the place of" in outcome.message


def test_an_escrow_counts_its_own_record_alone(
    world: World, slots: tuple[str, str], planted: tuple[Record, Record]
) -> None:
    """The planted record looks newer; taking it for the key's would mint another epoch each time."""
    run = replace(context(world, slots[0]), config=world.config)
    done = escrow(run, export(KEYS[slots[0]]), EXPORT_PASSPHRASE, EscrowOptions(with_drill=False))
    assert (done.already, done.record.epoch) == (True, planted[0].epoch)


def test_an_interrupted_escrow_of_another_key_is_not_taken_up(world: World, minted: Minted) -> None:
    """The journal is read by the same rule."""
    world.key = f'former = ["{FORMER}"]'
    world.holders = minted.holders
    foreign = minted.older[FORMER]
    world.context.journal.begin(foreign.epoch, foreign.data)
    with pytest.raises(Exception, match="another key") as caught:
        escrow(world.context, export(), EXPORT_PASSPHRASE, EscrowOptions(with_drill=False))
    assert getattr(caught.value, "code", None) is Code.LOCAL_FILES
    assert slot_of(foreign) not in world.targets["a"].places
