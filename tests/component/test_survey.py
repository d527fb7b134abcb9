from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipeline.archive import archive as reading
from pipeline.archive.archive import AT_ONCE, Archive
from pipeline.archive.catalog import (
    Catalog,
    Copy,
    CopyState,
    EpochState,
)
from pipeline.archive.journal import Journal
from pipeline.archive.overview import event, verdict
from pipeline.cli.list_command import lines
from pipeline.core.clock import Deadline
from pipeline.core.errors import Code, IntegrityProblem, OrgkeyError, Unreachable, UsageProblem, first_of
from pipeline.monitoring import doctor
from pipeline.monitoring.status import status
from pipeline.record.verify import Record
from pipeline.storage.interface import Presence, Slot
from pipeline.workflows.retention import records as retain
from tests.support.inmemory import (
    ATTACKER,
    ORG,
    MemoryTarget,
    World,
    as_targets,
    attackers,
    denied,
    forged,
    slot_of,
    unlocked,
    unreachable,
)


def look(world: World, **more: Any) -> Catalog:
    return reader(world).catalog(**more)


def reader(world: World) -> Archive:
    return world.context.archive("driller")


def prove(world: World, *records: Record) -> None:
    for made in records:
        entry = world.context.journal.begin(made.epoch, None)
        entry.mark_proven({"record_sha256": made.sha256.hex, "at": "2026-01-31T08:00:00Z"})


def copy_at(survey: Catalog, target: str) -> Copy:
    (epoch,) = survey.epochs
    return next(copy for copy in epoch.copies if copy.target == target)


def test_nothing_stored_is_an_empty_survey(world: World) -> None:
    survey = look(world)
    assert survey.epochs == ()
    assert survey.latest() is None
    assert survey.codes() == []


def test_every_copy_is_read_and_judged(world: World) -> None:
    made = world.store(world.mint())
    survey = look(world)
    (epoch,) = survey.epochs
    assert epoch.name == made.epoch
    assert epoch.record == made
    assert [(copy.target, copy.ok, copy.version, copy.sha256, copy.problem) for copy in epoch.copies] == [
        (name, True, "1", made.sha256, None) for name in "abc"
    ]
    assert epoch.state is EpochState.COMPLETE
    assert set(survey.codes()) == {Code.OK}


# -- the attacker ----------------------------------------------------------------------------------


def test_latest_is_not_fooled_by_an_attackers_record_of_a_later_time(world: World) -> None:
    made = world.store(world.mint())
    for target in world.targets.values():
        name = f"20990101T000000Z-{made.manifest.record_id[:8]}"
        target.plant(Slot(made.fingerprint, name), attackers(made))
    survey = look(world)
    assert len(survey.epochs) == 2
    latest = survey.latest()
    assert latest is not None
    assert latest.name == made.epoch
    false = next(epoch for epoch in survey.epochs if epoch.name != made.epoch)
    assert false.record is None
    assert false.state is EpochState.WRITTEN
    assert {copy.code for copy in false.copies} == {Code.INTEGRITY}
    assert Code.INTEGRITY in survey.codes()


def test_an_old_record_under_a_later_name_is_not_the_latest(world: World) -> None:
    old = world.store(world.mint())
    new = world.store(world.mint(later=60))
    later = f"20990101T000000Z-{old.manifest.record_id[:8]}"
    for target in world.targets.values():
        target.plant(Slot(old.fingerprint, later), old.data)
    survey = look(world)
    latest = survey.latest()
    assert latest is not None
    assert latest.name == new.epoch
    moved = next(epoch for epoch in survey.epochs if epoch.name == later)
    assert all("stands in the place of" in str(copy.problem) for copy in moved.copies)


@pytest.mark.parametrize("proven", [False, True])
def test_a_record_that_is_dated_in_the_future_is_the_latest_only_where_there_is_no_other(
    world: World, proven: bool
) -> None:
    """As one is that an expired key signs, on a host whose clock is ahead: its signature is not."""
    made = world.mint()
    late = "2099-01-01T00:00:00Z"
    data = forged(made, by=ORG, describe=lambda document: document.update(created=late))
    name = f"20990101T000000Z-{made.manifest.record_id[:8]}"
    for target in world.targets.values():
        target.plant(Slot(world.fingerprint, name), data)
    future = look(world).record()
    assert future.epoch == name
    if proven:
        prove(world, future)
    world.store(made)
    if proven:
        prove(world, made)
    survey = look(world)
    latest = survey.latest()
    assert (latest and latest.name, survey.newest()) == (made.epoch, latest)


def test_an_attackers_version_on_top_does_not_hide_the_authentic_one(world: World) -> None:
    made = world.store(world.mint())
    world.targets["b"].plant(slot_of(made), attackers(made))
    copy = copy_at(look(world), "b")
    assert copy.ok
    assert copy.version == "1"
    assert "version 2" in str(copy.problem)
    assert copy.code is Code.INTEGRITY  # it restores, and yet somebody wrote there


def test_an_older_version_is_found_behind_garbage_without_receipts(world: World) -> None:
    made = world.store(world.mint())
    for noise in (b"", b"garbage", made.data[:5000], made.data + b"\0"):
        world.targets["a"].plant(slot_of(made), noise)
    copy = copy_at(replace(reader(world), journal=None).catalog(), "a")
    assert copy.ok
    assert copy.version == "1"
    assert copy.record == made


def test_a_version_with_a_receipt_is_read_before_older_ones_but_a_false_one_on_top_is_seen(
    world: World,
) -> None:
    made = world.store(world.mint())
    entry = world.context.journal.begin(made.epoch, None)
    target = world.targets["a"]
    entry.add_receipt(target.put(Slot(made.fingerprint, "20000101T000000Z-00000000"), made.data))
    target.places.pop(Slot(made.fingerprint, "20000101T000000Z-00000000"))
    target.plant(slot_of(made), b"garbage")
    target.plant(slot_of(made), b"more garbage")
    target.calls.clear()
    copy = copy_at(look(world), "a")
    assert (copy.version, copy.code) == ("1", Code.INTEGRITY)
    assert "version 3" in str(copy.problem)
    assert target.calls.count("get") == 2


def test_a_copy_behind_a_delete_marker_is_read_and_named(world: World) -> None:
    made = world.store(world.mint())
    world.targets["c"].mark(slot_of(made), Presence.HIDDEN)
    copy = copy_at(look(world), "c")
    assert copy.ok
    assert "delete marker" in str(copy.problem)
    assert look(world).epochs[0].state is EpochState.COMPLETE


@pytest.mark.parametrize("presence", [Presence.DELETED, Presence.DESTROYED])
def test_a_deleted_or_destroyed_copy_is_not_good_and_says_so(world: World, presence: Presence) -> None:
    made = world.store(world.mint())
    world.targets["c"].mark(slot_of(made), presence)
    copy = copy_at(look(world), "c")
    assert not copy.ok
    assert str(presence) in str(copy.problem)
    assert copy.code is Code.DEGRADED


def test_a_missing_copy_is_degraded(world: World) -> None:
    world.store(world.mint(), "a", "b")
    survey = look(world)
    copy = copy_at(survey, "c")
    assert (copy.ok, copy.code, copy.sha256) == (False, Code.DEGRADED, None)
    assert survey.epochs[0].state is EpochState.COMPLETE, (
        "copies stand in as many domains as the policy asks for"
    )
    latest = survey.latest()
    assert latest is not None
    assert latest.name == survey.epochs[0].name


def test_an_epoch_is_complete_by_the_domains_that_the_policy_asks_for(world: World) -> None:
    """The newest epoch is lost at one of three targets: an older one is not the latest for that."""
    world.store(world.mint())
    new = world.store(world.mint(later=60), "a", "b")
    latest = look(world).latest()
    assert latest is not None
    assert (latest.name, latest.state) == (new.epoch, EpochState.COMPLETE)
    world.targets["b"].domain = "a"
    assert look(world).epochs[-1].state is EpochState.WRITTEN, "two copies in one domain are one"


def test_a_newer_epoch_that_was_passed_over_is_told(world: World) -> None:
    old = world.store(world.mint())
    world.store(world.mint(later=60), "a")
    unread = world.store(world.mint(later=120), "b")
    survey = look_with(world, "b", unread)
    latest = survey.latest()
    assert latest is not None
    assert latest.name == old.epoch
    written, listed = survey.passed_over(latest.name)
    assert "is newer, written at a: take it with --epoch" in written
    assert "is listed, but could not be read at b: b: version 1: b does not answer" in listed
    assert [epoch.name for epoch in survey.unread()] == [unread.epoch]


# -- what could not be read ------------------------------------------------------------------------


def look_with(world: World, target: str, made: Record) -> Catalog:
    """A survey where reading one record at one target fails, although it is listed."""
    real = world.targets[target].get

    def get(slot: Slot, version: str | None = None) -> bytes:
        if slot == slot_of(made):
            raise unreachable(target)
        return real(slot, version)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.targets[target], "get", get)
        return look(world)


@pytest.mark.parametrize(
    ("error", "code"), [(unreachable("it"), Code.UNREACHABLE), (denied("it"), Code.DENIED)]
)
def test_listed_but_not_read_is_neither_missing_nor_false(
    world: World, error: OrgkeyError, code: Code
) -> None:
    made = world.store(world.mint())
    for name in "ab":
        world.targets[name].failures["get"] = error
    survey = look(world)
    assert {copy.target: copy.standing for copy in survey.epochs[0].copies} == {
        "a": CopyState.UNREACHABLE, "b": CopyState.UNREACHABLE, "c": CopyState.GOOD,
    }  # fmt: skip
    assert first_of(verdict(survey, 2)) is code
    world.targets["c"].failures["get"] = unreachable("c")
    survey = look(world)
    assert first_of(verdict(survey, 2)) is code
    with pytest.raises(OrgkeyError, match=f"epoch {made.epoch} is listed, but could not be read") as caught:
        survey.choose(())
    assert caught.value.code is code
    with pytest.raises(UsageProblem, match="is stored for"):
        survey.choose({"20990101T000000Z-00000000"})


def test_a_verdict_counts_a_copy_that_was_not_read_for_neither_side(world: World) -> None:
    made = world.store(world.mint(), "a", "b")
    world.targets["b"].failures["get"] = unreachable("b")
    assert first_of(verdict(look(world), 2)) is Code.UNREACHABLE
    assert Code.INTEGRITY in verdict(look(world), 3), "even with that one there are too few"
    world.targets["a"].damage(slot_of(made))
    assert first_of(verdict(look(world), 2)) is Code.INTEGRITY


def test_a_damaged_copy_is_an_integrity_problem_and_named(world: World) -> None:
    made = world.store(world.mint())
    world.targets["b"].damage(slot_of(made))
    copy = copy_at(look(world), "b")
    assert (copy.ok, copy.code) == (False, Code.INTEGRITY)
    assert copy.sha256 is not None
    assert copy.sha256 != made.sha256


def test_copies_swapped_between_epochs_are_both_bad(world: World) -> None:
    one, two = world.store(world.mint(), "a", "b"), world.store(world.mint(later=1), "a", "b")
    target = world.targets["c"]
    target.plant(slot_of(one), two.data)
    target.plant(slot_of(two), one.data)
    for epoch in look(world).epochs:
        bad = next(copy for copy in epoch.copies if copy.target == "c")
        assert (bad.ok, bad.code) == (False, Code.INTEGRITY)
        assert len(epoch.good) == 2


def test_a_newer_schema_is_no_good_copy_but_asks_for_an_upgrade(world: World) -> None:
    made = world.store(world.mint(), "a", "b")

    def newer(document: dict[str, Any]) -> None:
        document["schema"] = "orgkey.record/2"

    world.targets["c"].plant(slot_of(made), forged(made, by=ORG, describe=newer))
    copy = copy_at(look(world), "c")
    assert (copy.ok, copy.code) == (False, Code.USAGE)
    assert "newer schema" in str(copy.problem)


@pytest.mark.parametrize(
    "name", ["notes", "20260131T080000Z", "20260131T080000Z-0a1b2c3d-rx", "latest", "../x"]
)
def test_names_that_no_epoch_has_are_not_ours(world: World, name: str) -> None:
    world.targets["a"].plant(Slot(world.fingerprint, name), b"somebody else's")
    assert look(world).epochs == ()


def test_a_repaired_copy_beside_counts_for_its_epoch(world: World) -> None:
    made = world.store(world.mint())
    target = world.targets["b"]
    target.damage(slot_of(made))
    target.plant(Slot(made.fingerprint, f"{made.epoch}-r1"), made.data)
    survey = look(world)
    (epoch,) = survey.epochs
    copy = copy_at(survey, "b")
    assert copy.ok
    assert copy.slot.epoch == f"{made.epoch}-r1"
    assert epoch.state is EpochState.COMPLETE
    assert copy.problem is not None, "the damaged one beside it is told"


# -- reachability ----------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [unreachable("b"), denied("b")])
def test_a_target_that_cannot_be_listed_is_named_and_its_copies_unknown(
    world: World, error: Unreachable
) -> None:
    world.store(world.mint())
    world.targets["b"].failures["find"] = error
    survey = look(world)
    assert survey.unreachable == {"b": error}
    copy = copy_at(survey, "b")
    assert (copy.ok, copy.code, copy.problem) == (False, error.code, error.message)
    assert len(survey.epochs[0].good) == 2


def test_a_target_that_fails_while_reading_is_named(world: World) -> None:
    world.store(world.mint())
    world.targets["b"].failures["get"] = unreachable("b")
    copy = copy_at(look(world), "b")
    assert (copy.ok, copy.code) == (False, Code.UNREACHABLE)


def test_all_targets_gone_is_an_empty_survey_that_says_so(world: World) -> None:
    for target in world.targets.values():
        target.failures["find"] = unreachable(target.name)
    survey = look(world)
    assert survey.epochs == ()
    assert set(survey.unreachable) == {"a", "b", "c"}
    with pytest.raises(Unreachable):
        survey.choose(())


# -- states ----------------------------------------------------------------------------------------


def test_the_latest_is_the_newest_proven_one(world: World) -> None:
    one, two, three = (world.store(world.mint(later=later)) for later in (0, 10, 20))
    prove(world, one, two)
    survey = look(world)
    assert [epoch.state for epoch in survey.epochs] == [
        EpochState.SUPERSEDED,
        EpochState.PROVEN,
        EpochState.COMPLETE,
    ]
    latest = survey.latest()
    assert latest is not None
    assert latest.name == two.epoch
    assert [epoch.name for epoch in survey.epochs] == [one.epoch, two.epoch, three.epoch]


def test_without_any_proof_the_latest_is_the_newest_complete_one(world: World) -> None:
    whole = world.store(world.mint())
    partial = world.store(world.mint(later=10), "a")
    survey = look(world)
    latest, newest = survey.latest(), survey.newest()
    assert latest is not None
    assert newest is not None
    assert (latest.name, newest.name) == (whole.epoch, partial.epoch)


def test_an_incomplete_epoch_is_better_than_none(world: World) -> None:
    world.store(world.mint(), "a")
    new = world.store(world.mint(later=10), "a")
    latest = look(world).latest()
    assert latest is not None
    assert latest.name == new.epoch


def test_a_proof_counts_for_the_bytes_that_were_proven_only(world: World) -> None:
    made = world.store(world.mint())
    entry = world.context.journal.begin(made.epoch, None)
    entry.mark_proven({"record_sha256": "00" * 32, "at": "2026-01-31T08:00:00Z"})
    assert look(world).epochs[0].state is EpochState.COMPLETE


def test_a_proven_epoch_without_any_good_copy_is_not_proven_any_more(world: World) -> None:
    made = world.store(world.mint())
    prove(world, made)
    for target in world.targets.values():
        target.damage(slot_of(made))
    survey = look(world)
    assert survey.epochs[0].state is EpochState.WRITTEN
    assert survey.latest() is None


def test_two_hosts_epochs_are_both_shown(world: World, make_world: Callable[[str], World]) -> None:
    other = make_world("other")
    other.targets, other.holders = world.targets, world.holders
    one, two = world.store(world.mint()), other.store(other.mint(later=1))
    prove(world, one)
    prove(other, two)
    assert {epoch.name for epoch in look(world).epochs} == {one.epoch, two.epoch}
    mine, theirs = look(world).latest(), look(other).latest()
    assert mine is not None
    assert theirs is not None
    assert (mine.name, theirs.name) == (one.epoch, two.epoch)


def test_only_the_epochs_asked_for_are_read(world: World) -> None:
    one = world.store(world.mint())
    world.store(world.mint(later=1))
    world.targets["a"].calls.clear()
    survey = look(world, epochs={one.epoch})
    assert [epoch.name for epoch in survey.epochs] == [one.epoch]
    assert world.targets["a"].calls.count("get") == 1


# -- one copy --------------------------------------------------------------------------------------


def test_one_named_version_is_the_only_one_looked_at(world: World) -> None:
    made = world.store(world.mint())
    world.targets["a"].plant(slot_of(made), b"garbage")
    assert reader(world).version("a", made.epoch, "1").ok
    bad = reader(world).version("a", made.epoch, "2")
    assert (bad.ok, bad.code) == (False, Code.INTEGRITY)
    gone = reader(world).version("a", made.epoch, "9")
    assert (gone.ok, gone.code) == (False, Code.INTEGRITY)


# -- choosing, judging, telling --------------------------------------------------------------------


def test_choosing(world: World) -> None:
    one, two = world.store(world.mint()), world.store(world.mint(later=1))
    survey = look(world)
    assert [epoch.name for epoch in survey.choose(None)] == [one.epoch, two.epoch]
    assert [epoch.name for epoch in survey.choose(())] == [two.epoch]
    assert [epoch.name for epoch in survey.choose({one.epoch})] == [one.epoch]
    with pytest.raises(UsageProblem, match="20000101T000000Z-00000000"):
        survey.choose({"20000101T000000Z-00000000"})


def test_choosing_where_only_false_records_are_is_an_integrity_problem(world: World) -> None:
    made = world.mint()
    world.targets["a"].plant(slot_of(made), attackers(made))
    with pytest.raises(IntegrityProblem, match="no copy of this key is authentic"):
        look(world).choose(())


def test_choosing_where_nothing_is(world: World) -> None:
    with pytest.raises(UsageProblem) as caught:
        look(world).choose(())
    assert "orgkey escrow" in caught.value.hint


def test_the_verdict_weighs_too_few_good_copies_more_than_a_missing_one(world: World) -> None:
    made = world.store(world.mint(), "a", "b")
    assert Code.INTEGRITY not in verdict(look(world), 2)
    assert Code.DEGRADED in verdict(look(world), 2)
    assert Code.INTEGRITY in verdict(look(world), 3)
    world.targets["a"].places.pop(slot_of(made))
    assert Code.INTEGRITY in verdict(look(world), 2)


def test_the_verdict_does_not_call_copies_false_that_it_could_not_see(world: World) -> None:
    world.store(world.mint())
    for name in "bc":
        world.targets[name].failures["find"] = unreachable(name)
    codes = verdict(look(world), 2)
    assert Code.UNREACHABLE in codes
    assert Code.INTEGRITY not in codes


def test_what_the_ledger_says(world: World) -> None:
    made = world.store(world.mint(), "a", "b")
    world.targets["b"].failures["find"] = unreachable("b")
    survey = look(world)
    standings = {copy.target: copy.standing for copy in survey.epochs[0].copies}
    assert standings == {"a": CopyState.GOOD, "b": CopyState.UNREACHABLE, "c": CopyState.MISSING}
    kept = event([survey], Code.UNREACHABLE).to_details()
    assert kept == {
        "code": 20,
        "epochs": {
            made.epoch: {"a": "good", "b": "b does not answer", "c": "no copy of this epoch is there"}
        },
        "unreachable": ["b"],
    }


def test_former_org_keys_are_surveyed_and_judged_by_their_own_state(world: World) -> None:
    former = unlocked(ATTACKER).fingerprint
    world.key = f'former = ["{former}"]'
    old = world.store(world.mint(key=ATTACKER))
    new = world.store(world.mint(later=1))
    Journal(world.root / former).begin(old.epoch, None).mark_proven(
        {"record_sha256": old.sha256.hex, "at": "2026-01-31T08:00:00Z"}
    )
    surveys = world.context.catalogs()
    assert [(item.fingerprint, [epoch.name for epoch in item.epochs]) for item in surveys] == [
        (world.fingerprint, [new.epoch]),
        (former, [old.epoch]),
    ]
    assert surveys[1].epochs[0].state is EpochState.PROVEN
    assert set(world.roles) == {"driller"}


def test_the_survey_says_until_when_a_copy_is_retained(world: World) -> None:
    made = world.store(world.mint())
    until = datetime.now(UTC) + timedelta(days=30)
    world.targets["a"].places[slot_of(made)][0].retain_until = until
    assert copy_at(look(world), "a").retain_until == until


# -- a target that somebody has filled -------------------------------------------------------------

SOON, FAR = timedelta(hours=1), timedelta(days=9999)


def flood(world: World, made: Record, count: int, *names: str, ahead: timedelta = SOON) -> None:
    """Names of epochs, newer than the true one, with nothing good behind them."""
    at = (datetime.now(UTC) + ahead).strftime("%Y%m%dT%H%M%SZ")
    for number in range(count):
        for name in names:
            slot = Slot(made.fingerprint, f"{at}-{number:08x}")
            world.targets[name].plant(slot, b"garbage")


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("ahead", [SOON, FAR])
def test_a_flood_at_one_target_does_not_hide_what_others_hold(
    world: World, genuine: Record, known: bool, ahead: timedelta
) -> None:
    world.store(genuine)
    if known:
        prove(world, genuine)
    flood(world, genuine, 3000, "a", ahead=ahead)
    survey = look(world, everything=False)
    latest = survey.latest()
    assert latest is not None
    assert latest.name == genuine.epoch
    assert world.targets["a"].calls.count("get") == AT_ONCE
    assert world.targets["b"].calls.count("get") == 1
    assert survey.left_out == {}, "the latest was asked for, and is known"


def test_a_flood_is_read_while_there_is_time_and_told(
    world: World, genuine: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.store(genuine)
    flood(world, genuine, 1000, "a")
    left = iter([100.0])
    monkeypatch.setattr(Deadline, "left", lambda self: next(left, 40.0))
    survey = look(world)
    assert survey.epochs[-1].record == genuine
    assert survey.left_out == {"a": 1001 - AT_ONCE}
    assert Code.DEGRADED in survey.codes()
    said = "\n".join(lines(world.context, [survey], {}))
    assert f"a lists {1001 - AT_ONCE} more epochs than there was time to read" in said


def test_the_only_target_that_answers_may_be_the_flooded_one(world: World, genuine: Record) -> None:
    """Names of the future go last: reading goes on until something authentic is there."""
    world.store(genuine)
    flood(world, genuine, 500, "a", ahead=FAR)
    for name in "bc":
        world.targets[name].failures["find"] = unreachable(name)
    survey = look(world, everything=False)
    assert survey.epochs[-1].record == genuine


def test_names_that_are_not_an_epochs_cost_nothing(world: World, genuine: Record) -> None:
    world.store(genuine)
    for number in range(500):
        world.targets["a"].plant(Slot(genuine.fingerprint, f"notes-{number}"), b"hello")
    assert [epoch.name for epoch in look(world).epochs] == [genuine.epoch]
    assert world.targets["a"].calls.count("get") == 1


class Named(MemoryTarget):
    """One whose listing is cheap, as Vault's and S3's are."""

    def slots(self, fingerprint: str) -> list[str]:
        self.calls.append("slots")
        return sorted((slot.epoch for slot in self.places if slot.fingerprint == fingerprint), reverse=True)


def test_where_a_listing_is_cheap_each_epoch_is_looked_at_by_itself(world: World, genuine: Record) -> None:
    target = Named("a")
    world.targets = {"a": target}
    world.copies = 1
    world.store(genuine)
    repaired = Slot(genuine.fingerprint, f"{genuine.epoch}-r1")
    target.plant(repaired, genuine.data)
    target.plant(slot_of(genuine), b"garbage")
    flood(world, genuine, 300, "a", ahead=FAR)
    survey = look(world, everything=False)
    (copy,) = survey.epochs[-1].copies
    assert (copy.ok, copy.slot, copy.version) == (True, repaired, "1")
    assert "version 2: this is not a whole record" in str(copy.problem), "what lies on top is still told"
    assert target.calls.count("slots") == 1
    assert target.calls.count("find") == AT_ONCE + 1, "two slots of the true epoch, one of each other"


def test_a_flooded_target_keeps_neither_retain_nor_doctor(
    world: World, genuine: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = world.targets["a"] = Named("a")
    world.store(genuine)
    prove(world, genuine)
    flood(world, genuine, 1000, "a")
    context = world.context
    assert slot_of(genuine) in {item.slot for item in doctor._newest(context, target)}
    assert target.calls.count("find") == AT_ONCE
    left = iter([100.0])
    monkeypatch.setattr(Deadline, "left", lambda self: next(left, 40.0))
    versions, more = retain._read(context, reader(world), target, None)
    assert [item.epoch for item in versions if item.fate.problem is None] == [genuine.epoch]
    assert (more, target.calls.count("find")) == (1001 - AT_ONCE, 2 * AT_ONCE)
    (version,), none = retain._read(context, reader(world), target, [genuine.epoch])
    assert (version.epoch, none, target.calls.count("find")) == (genuine.epoch, 0, 2 * AT_ONCE + 1)


def test_a_copy_that_was_only_deleted_is_brought_back_before_anything_else(world: World) -> None:
    made = world.store(world.mint())
    world.targets["a"].mark(slot_of(made), Presence.DELETED)
    back = "an administrator can bring it back: `undelete 1`"
    found = status(world.context)
    assert found.epoch is not None
    assert found.epoch.copies[0].hint == f"{back}; or else `orgkey repair` copies it there from a good copy"
    for name in "bc":
        world.targets[name].mark(slot_of(made), Presence.DESTROYED)
    survey = look(world)
    with pytest.raises(IntegrityProblem, match=f"no copy of epoch {made.epoch} is authentic") as raised:
        survey.choose(())
    assert raised.value.hint.startswith(back)
    (told,) = (text for text in status(world.context).broken if "nothing authentic is stored" in text)
    assert back in told


@pytest.mark.parametrize("call", ["find", "get"])
def test_a_target_that_does_not_answer_leaves_half_of_the_time_to_the_others(
    call: str, world: World, genuine: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where its calls go on: nobody waits for them."""
    monkeypatch.setattr(reading, "_LEAST", 0.05)
    world.store(genuine)
    over, slow = threading.Event(), world.targets["a"]
    monkeypatch.setattr(slow, call, lambda *_: over.wait(30))
    reader = Archive(genuine.fingerprint, as_targets(world.targets), Deadline(0.4), datetime.now(UTC), 2)
    try:
        found = reader.catalog()
        assert reader.deadline.left() > 0
    finally:
        over.set()
    (epoch,) = found.epochs
    assert {copy.target: copy.standing for copy in epoch.copies} == {
        "a": CopyState.UNREACHABLE, "b": CopyState.GOOD, "c": CopyState.GOOD,
    }  # fmt: skip
    assert "share of the time" in str(epoch.copies[0].problem)
    assert list(found.unreachable) == (["a"] if call == "find" else [])
