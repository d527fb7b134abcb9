from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.archive.replicate import WriteResult, replicate, write_beside, write_one
from pipeline.config.places import DirectoryTargetConfig
from pipeline.core.clock import Deadline, SystemClock
from pipeline.core.digest import sha256
from pipeline.core.errors import (
    Code,
    Conflict,
    Denied,
    IntegrityProblem,
    LocalFilesProblem,
    OrgkeyError,
    Stale,
    Unreachable,
    WrongShare,
)
from pipeline.core.retry import Retrier, retrying
from pipeline.storage.directory.backend import DirectoryBackend
from pipeline.storage.interface import TARGET_CALLS, Presence, Receipt, Slot, Stored
from tests.support.inmemory import MemoryTarget, as_targets, denied, named, unreachable

SLOT = Slot("A" * 40, "20260131T080000Z-0a1b2c3d")
DATA = b"the record"


class NoWait(SystemClock):
    """A clock that does not wait."""

    def sleep(self, seconds: float) -> None:
        return


def test_a_written_copy_is_read_back_before_it_counts() -> None:
    target = MemoryTarget("a")
    receipt = write_one(target, SLOT, DATA)
    assert target.calls == ["put", "get"]
    assert receipt.sha256 == sha256(DATA)
    assert receipt.version == "1"


def test_a_copy_that_reads_back_otherwise_does_not_count() -> None:
    target = MemoryTarget("a")
    target.garble = True
    with pytest.raises(IntegrityProblem, match="returns other bytes"):
        write_one(target, SLOT, DATA)


def test_a_conflict_with_the_same_bytes_is_a_success() -> None:
    target = MemoryTarget("a")
    target.plant(SLOT, DATA)
    receipt = write_one(target, SLOT, DATA)
    assert receipt.version == "1"
    assert receipt.sha256 == sha256(DATA)
    assert len(target.places[SLOT]) == 1


def test_a_conflict_with_other_bytes_is_a_conflict() -> None:
    target = MemoryTarget("a")
    target.plant(SLOT, b"something else")
    with pytest.raises(Conflict):
        write_one(target, SLOT, DATA)
    assert [version.data for version in target.places[SLOT]] == [b"something else"]


@pytest.mark.parametrize("presence", [Presence.OLDER, Presence.HIDDEN])
def test_our_bytes_behind_a_newer_version_or_a_delete_marker_are_found(presence: Presence) -> None:
    target = MemoryTarget("a")
    target.plant(SLOT, DATA, presence)
    if presence is Presence.OLDER:
        target.plant(SLOT, b"garbage of somebody with more rights")
    receipt = write_one(target, SLOT, DATA)
    assert receipt.version == "1"
    assert target.get(SLOT, receipt.version) == DATA


def test_a_destroyed_copy_is_a_conflict() -> None:
    target = MemoryTarget("a")
    target.plant(SLOT, DATA, Presence.DESTROYED)
    with pytest.raises(Conflict):
        write_one(target, SLOT, DATA)


def test_a_lost_answer_to_a_write_ends_well_with_retries() -> None:
    target = MemoryTarget("a")
    target.lost_answers = 1
    retrier = Retrier(Deadline(60), clock=NoWait())
    receipt = write_one(retrying(target, retrier, "target", TARGET_CALLS), SLOT, DATA)
    assert receipt.version == "1"
    assert target.calls.count("put") == 2
    assert len(target.places[SLOT]) == 1


def test_a_lost_answer_without_another_try_is_no_success_and_the_next_run_finds_the_copy() -> None:
    target = MemoryTarget("a")
    target.lost_answers = 1
    with pytest.raises(Unreachable):
        write_one(target, SLOT, DATA)
    assert write_one(target, SLOT, DATA).version == "1"


def test_a_confirmed_copy_is_only_read_again() -> None:
    target = MemoryTarget("a")
    receipt = write_one(target, SLOT, DATA)
    target.calls.clear()
    assert write_one(target, SLOT, DATA, receipt) == receipt
    assert target.calls == ["get"]


def test_a_confirmed_copy_that_is_gone_is_written_again() -> None:
    target = MemoryTarget("a")
    receipt = write_one(target, SLOT, DATA)
    target.places.clear()
    assert write_one(target, SLOT, DATA, receipt).version == "1"
    assert target.get(SLOT) == DATA


def test_a_confirmed_copy_that_was_changed_since_is_a_conflict() -> None:
    target = MemoryTarget("a")
    receipt = write_one(target, SLOT, DATA)
    target.damage(SLOT)
    with pytest.raises(Conflict):
        write_one(target, SLOT, DATA, receipt)


def test_a_confirmed_copy_is_read_by_its_version_and_slot() -> None:
    target = MemoryTarget("a")
    beside = replace(SLOT, epoch=f"{SLOT.epoch}-r1")
    target.plant(SLOT, b"damaged")
    target.plant(beside, DATA)
    receipt = Receipt("a", "memory", "a", "there", "1", sha256(DATA), slot=beside.epoch)
    assert write_one(target, SLOT, DATA, receipt) == receipt


def test_a_confirmed_copy_that_cannot_be_reached_is_not_taken_for_good() -> None:
    target = MemoryTarget("a")
    receipt = write_one(target, SLOT, DATA)
    target.failures["get"] = unreachable()
    with pytest.raises(Unreachable):
        write_one(target, SLOT, DATA, receipt)


class LockingTarget(MemoryTarget):
    """A target that demands a lock; it tells of a version's lock by its end, or its lack."""

    def confirm(self, stored: Stored) -> datetime | None:
        self.calls.append("confirm")
        if stored.retain_until is None:
            raise IntegrityProblem(f"{stored.location} is not locked", hint="`orgkey retain` locks it")
        return stored.retain_until


LOCKED = datetime(2031, 1, 1, tzinfo=UTC)


def test_our_bytes_without_the_configured_lock_do_not_count() -> None:
    target = LockingTarget("a")
    target.plant(SLOT, DATA)
    retrier = Retrier(Deadline(60), clock=NoWait())
    for _ in range(2):
        with pytest.raises(IntegrityProblem, match="is not locked"):
            write_one(retrying(target, retrier, "target", TARGET_CALLS), SLOT, DATA)
    with pytest.raises(IntegrityProblem, match="is not locked"):
        write_beside(target, SLOT, DATA)
    assert len(target.places) == 1
    target.places[SLOT][0].retain_until = LOCKED
    assert write_one(target, SLOT, DATA).retain_until == LOCKED


def test_among_several_versions_of_our_bytes_the_locked_one_counts() -> None:
    target = LockingTarget("a")
    target.plant(SLOT, DATA, Presence.OLDER)
    target.places[SLOT][0].retain_until = LOCKED
    target.plant(SLOT, DATA)
    assert write_one(target, SLOT, DATA).version == "1"


def test_a_copy_that_was_only_listed_has_to_be_locked_too() -> None:
    target = LockingTarget("a")
    target.plant(SLOT, DATA)
    listed = Receipt("a", "memory", "a", "there", "1", sha256(DATA))
    with pytest.raises(IntegrityProblem, match="is not locked"):
        write_one(target, SLOT, DATA, listed)


def test_nothing_is_asked_of_a_target_that_never_locks() -> None:
    target = MemoryTarget("a")
    target.plant(SLOT, DATA)
    write_one(retrying(target, Retrier(Deadline(60), clock=NoWait()), "target", TARGET_CALLS), SLOT, DATA)
    assert target.calls == ["put", "find", "get", "get"]


# -- beside ----------------------------------------------------------------------------------------


def test_beside_a_damaged_place_a_repaired_copy_gets_a_slot_of_its_own() -> None:
    target = MemoryTarget("a")
    target.plant(SLOT, b"damaged")
    receipt = write_beside(target, SLOT, DATA)
    assert receipt.slot == f"{SLOT.epoch}-r1"
    assert target.get(SLOT) == b"damaged", "what was found is evidence"
    assert target.get(replace(SLOT, epoch=receipt.slot)) == DATA


def test_beside_takes_the_first_place_that_is_free_or_holds_it_already() -> None:
    target = MemoryTarget("a")
    target.plant(SLOT, b"damaged")
    target.plant(replace(SLOT, epoch=f"{SLOT.epoch}-r1"), b"damaged, too")
    assert write_beside(target, SLOT, DATA).slot == f"{SLOT.epoch}-r2"
    assert write_beside(target, SLOT, DATA).slot == f"{SLOT.epoch}-r2"
    assert len(target.places) == 3


def test_beside_gives_up_when_every_place_is_taken() -> None:
    target = MemoryTarget("a")
    for number in range(10):
        name = SLOT.epoch + (f"-r{number}" if number else "")
        target.plant(replace(SLOT, epoch=name), b"damaged")
    with pytest.raises(Conflict):
        write_beside(target, SLOT, DATA)
    assert len(target.places) == 10


def test_beside_is_not_needed_where_the_place_is_free() -> None:
    target = MemoryTarget("a")
    assert write_beside(target, SLOT, DATA).slot is None


def test_beside_works_at_a_real_target_too(tmp_path: Path) -> None:
    settings = DirectoryTargetConfig(kind="directory", path=str(tmp_path), controlled_by=("ops",))
    target = DirectoryBackend("disk", settings)
    target.put(SLOT, b"damaged")
    receipt = write_beside(target, SLOT, DATA)
    assert receipt.slot == f"{SLOT.epoch}-r1"
    assert [stored.slot.epoch for stored in target.find(SLOT.fingerprint)] == [SLOT.epoch, receipt.slot]
    assert target.get(Slot(SLOT.fingerprint, receipt.slot)) == DATA


# -- everywhere ------------------------------------------------------------------------------------


def everywhere(
    targets: dict[str, MemoryTarget], remember: Callable[[Receipt], None] | None = None
) -> tuple[WriteResult, list[Receipt]]:
    told: list[Receipt] = []
    return replicate(as_targets(targets), SLOT, DATA, confirmed={}, remember=remember or told.append), told


def test_every_receipt_is_told_as_it_comes() -> None:
    targets = named("a", "b", "c")
    placed, told = everywhere(targets)
    assert sorted(receipt.target for receipt in told) == ["a", "b", "c"]
    assert not placed.failures
    assert placed.code(3) is Code.OK


def test_a_failing_target_leaves_the_others_alone() -> None:
    targets = named("a", "b", "c")
    targets["b"].failures["put"] = denied("b")
    placed, told = everywhere(targets)
    assert sorted(receipt.target for receipt in told) == ["a", "c"]
    assert set(placed.failures) == {"b"}
    assert placed.code(2) is Code.DEGRADED
    assert placed.code(3) is Code.DENIED


def test_a_receipt_that_cannot_be_kept_is_the_runs_failure_and_not_the_targets() -> None:
    def full(receipt: Receipt) -> None:
        raise LocalFilesProblem("cannot write: no space left on device", hint="make room")

    targets = named("a", "b")
    with pytest.raises(LocalFilesProblem):
        everywhere(targets, remember=full)
    assert all(target.get(SLOT) == DATA for target in targets.values()), "what was written stays"


def receipt(target: str, domain: str) -> Receipt:
    return Receipt(target, "memory", domain, "there", "1", sha256(DATA))


def outcome(domains: str, *failures: OrgkeyError) -> WriteResult:
    receipts = {f"t{number}": receipt(f"t{number}", domain) for number, domain in enumerate(domains)}
    return WriteResult(receipts, {f"f{number}": error for number, error in enumerate(failures)})


WRONG, OLD = WrongShare("no", hint="no"), Stale("old", hint="old")
PROBLEM, TAKEN = IntegrityProblem("bad", hint="bad"), Conflict("taken", hint="taken")


@pytest.mark.parametrize(
    ("placed", "copies", "code"),
    [
        (outcome("xy"), 2, Code.OK),
        (outcome("xyz", unreachable()), 3, Code.DEGRADED),
        (outcome("xyz", unreachable()), 2, Code.DEGRADED),
        (outcome("xx", unreachable()), 2, Code.UNREACHABLE),
        (outcome("xx", unreachable()), 1, Code.DEGRADED),
        (outcome("x", unreachable()), 2, Code.UNREACHABLE),
        (outcome("x", denied()), 2, Code.DENIED),
        (outcome("x", unreachable(), denied()), 2, Code.DENIED),
        (outcome("", unreachable(), TAKEN), 1, Code.CONFLICT),
        (outcome("", PROBLEM, TAKEN, denied()), 1, Code.INTEGRITY),
        (outcome("", OLD, WRONG), 1, Code.WRONG_SHARE),
        (outcome("", unreachable()), 1, Code.UNREACHABLE),
    ],
)
def test_the_outcome_counts_failure_domains_and_names_the_cause(
    placed: WriteResult, copies: int, code: Code
) -> None:
    assert placed.code(copies) is code


def test_two_targets_in_one_domain_count_once() -> None:
    targets = named("a", "b", "c")
    targets["b"].domain = "a"
    targets["c"].failures["put"] = Denied("no", hint="no")
    placed, _ = everywhere(targets)
    assert placed.domains == {"a"}
    assert placed.code(2) is Code.DENIED
