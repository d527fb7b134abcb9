"""What a catalog chooses, and what it says where there is nothing to choose."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from pipeline.archive.catalog import Catalog, Copy, CopyState, Epoch, EpochState, not_read
from pipeline.core.digest import sha256
from pipeline.core.errors import Code, IntegrityProblem, OrgkeyError, Unreachable, UsageProblem
from pipeline.record.verify import Record
from pipeline.storage.interface import Receipt, Slot
from pipeline.storage.names import epoch_of
from tests.support.inmemory import denied, unreachable

KEY = "A" * 40
NAMES = tuple(f"2026010{day}T000000Z-0a1b2c3d" for day in range(1, 6))
UNTIL = datetime(2027, 1, 1, tzinfo=UTC)


def copy(target: str = "a", code: Code = Code.OK, **more: Any) -> Copy:
    """A copy without a record; it is missing where nothing else is said."""
    told: dict[str, Any] = {
        "kind": "s3", "domain": f"domain {target}", "location": f"place of {target}", "version": "7",
        "sha256": None, "record": None, "problem": None, "slot": Slot(KEY, NAMES[0]),
    }  # fmt: skip
    return Copy(target=target, code=code, **(told | more))


def missing(target: str = "a") -> Copy:
    return copy(target, Code.DEGRADED, problem="nothing is there")


def false(target: str = "a") -> Copy:
    return copy(target, Code.INTEGRITY, problem="it is forged")


def silent(target: str = "a", code: Code = Code.UNREACHABLE, **more: Any) -> Copy:
    return copy(target, code, problem=f"{target} is silent", unread=True, **more)


def epoch(number: int, *copies: Copy, state: EpochState = EpochState.WRITTEN) -> Epoch:
    return Epoch(NAMES[number], KEY, copies, state)


@pytest.fixture(scope="session")
def records(genuine: Record) -> tuple[Record, ...]:
    """One for each name."""
    days = (replace(genuine.manifest, created=datetime(2026, 1, day, tzinfo=UTC)) for day in range(1, 6))
    return tuple(replace(genuine, manifest=replace(manifest, record_id="0a1b2c3d" * 4)) for manifest in days)


@pytest.mark.parametrize(("suffix", "named"), [("", None), ("-r1", f"{NAMES[2]}-r1")])
def test_a_receipt_is_what_the_write_of_the_copy_would_have_confirmed(
    records: tuple[Record, ...], suffix: str, named: str | None
) -> None:
    slot = Slot(KEY, NAMES[2] + suffix)
    good = copy(record=records[2], slot=slot, retain_until=UNTIL, sha256=sha256(b"as read"))
    digest = records[2].sha256
    assert good.receipt() == Receipt("a", "s3", "domain a", "place of a", "7", digest, UNTIL, named)
    assert epoch_of(slot) == NAMES[2]


@pytest.mark.parametrize(
    "name", ["latest", f"x{NAMES[0]}", f"{NAMES[0]}-r0", f"{NAMES[0]}-r100", f"{NAMES[0]}\n"]
)
def test_a_name_that_is_not_an_epochs_stands_for_itself(name: str) -> None:
    assert epoch_of(Slot(KEY, name)) == name


@pytest.mark.parametrize(
    ("found", "standing"),
    [
        (false(), CopyState.BAD),
        (copy(code=Code.USAGE, sha256=sha256(b"read"), problem="it is of a newer schema"), CopyState.BAD),
        (silent(code=Code.USAGE), CopyState.UNREACHABLE),
        (missing(), CopyState.MISSING),
        (silent(), CopyState.UNREACHABLE),
        (copy(code=Code.INTEGRITY, unread=True), CopyState.BAD),
    ],
)
def test_a_copy_without_a_record_is_bad_missing_or_not_known(found: Copy, standing: CopyState) -> None:
    assert found.standing is standing
    assert not found.ok


def test_a_good_copy_is_good_even_where_a_false_version_lies_beside_it(records: tuple[Record, ...]) -> None:
    assert copy(code=Code.INTEGRITY, record=records[0]).standing is CopyState.GOOD


def test_an_epoch_is_not_known_where_no_copy_is_good_and_one_was_not_read(
    records: tuple[Record, ...],
) -> None:
    assert epoch(0, missing(), silent("b")).unread
    assert not epoch(0, missing(), false("b")).unread
    assert not epoch(0, copy(record=records[0]), silent("b")).unread


def test_unread_epochs_count_where_they_are_newer_than_every_authentic_one(
    records: tuple[Record, ...],
) -> None:
    older, newer = epoch(0, silent()), epoch(2, silent())
    read = epoch(1, copy(record=records[1]))
    assert Catalog(KEY, (older, read, newer)).unread() == (newer,)
    assert Catalog(KEY, (older, newer)).unread() == (older, newer)
    assert Catalog(KEY, (older, read)).unread() == ()
    assert Catalog(KEY, (read, epoch(2, false()))).unread() == ()


def test_the_newest_and_the_latest_are_told_apart(records: tuple[Record, ...]) -> None:
    states = (EpochState.SUPERSEDED, EpochState.PROVEN, EpochState.COMPLETE, EpochState.WRITTEN)
    epochs = tuple(
        epoch(number, copy(record=records[number]), state=state) for number, state in enumerate(states)
    )
    whole = Catalog(KEY, (*epochs, epoch(4, false(), state=EpochState.PROVEN)))
    assert (whole.newest(), whole.newest_record()) == (epochs[3], records[3])
    assert (whole.latest(), whole.record(), whole.record(NAMES[0])) == (epochs[1], records[1], records[0])
    assert Catalog(KEY, epochs[2:]).latest() == epochs[2]
    assert Catalog(KEY, epochs[:1]).latest() == epochs[0]
    assert Catalog(KEY, epochs[3:]).latest() == epochs[3]
    assert whole.records() == records[:4]
    assert whole.records(other_than=records[1]) == (records[0], *records[2:4])
    assert Catalog(KEY, ()).newest_record() is None


def test_everything_that_is_wrong_has_its_code() -> None:
    found = Catalog(KEY, (epoch(0, missing(), false("b")),), {"c": denied("c")}, {"d": 3, "e": 1})
    assert found.codes() == [Code.DENIED, Code.DEGRADED, Code.INTEGRITY, Code.DEGRADED, Code.DEGRADED]


GONE = {"c": unreachable("c")}


@pytest.mark.parametrize(
    ("epochs", "gone", "wanted", "kind", "message", "hint"),
    [
        ((), {}, (), UsageProblem, f"no epoch is stored for {KEY}", "`orgkey escrow` makes the first"),
        ((), {}, NAMES[:2], UsageProblem, f"no epoch {NAMES[0]}, {NAMES[1]} is", "shows what is"),
        ((epoch(0, false()),), {}, NAMES[1:2], UsageProblem, f"no epoch {NAMES[1]}", "shows what is"),
        ((epoch(0, silent()),), {}, NAMES[1:2], UsageProblem, f"no epoch {NAMES[1]} is", "`orgkey list`"),
        ((epoch(0, silent()),), GONE, NAMES[1:2], Unreachable, "c does not answer", "look at its network"),
        ((epoch(0, silent()), epoch(1, silent("b"))), GONE, (), Unreachable, f"epoch {NAMES[1]} is", ""),
        ((epoch(0, false()),), GONE, (), Unreachable, "c does not answer", "look at its network"),
        ((epoch(0, false()), epoch(1, false("b"))), {}, (), IntegrityProblem, "; a, place of a: it", ""),
        ((epoch(0, missing()), epoch(1, missing())), {}, (), IntegrityProblem, f"epoch {NAMES[1]}", ""),
    ],
)  # fmt: skip
def test_where_nothing_can_be_chosen_the_cause_is_told(
    epochs: tuple[Epoch, ...],
    gone: dict[str, OrgkeyError],
    wanted: Collection[str],
    kind: type[OrgkeyError],
    message: str,
    hint: str,
) -> None:
    with pytest.raises(kind) as caught:
        Catalog(KEY, epochs, gone).choose(wanted)
    assert message in caught.value.message
    assert hint in caught.value.hint
    first = "`orgkey escrow` makes the first epoch" in caught.value.hint
    assert first == (not epochs and not wanted), "only where there is none"


def test_several_silent_targets_are_told_in_one_error_each_word_once() -> None:
    gone = {"a": unreachable("a"), "b": denied("b"), "c": unreachable("c")}
    with pytest.raises(OrgkeyError) as caught:
        Catalog(KEY, (), gone).choose(None)
    assert caught.value.code is Code.DENIED
    assert caught.value.message == "a does not answer; b refuses; c does not answer"
    assert caught.value.hint == "look at its network; look at its policy"


def test_an_epoch_that_was_not_read_is_told_by_its_worst_cause_and_whom_to_ask() -> None:
    several = epoch(0, missing(), silent("b"), silent("c", Code.DENIED, hint="look at c"), false("d"))
    told = not_read(several)
    assert told.code is Code.DENIED
    assert told.message == (
        f"epoch {NAMES[0]} is listed, but could not be read at b and c: "
        "b: b is silent; c: c is silent; d: it is forged"
    )
    assert told.hint == "look at c"
    assert "run the same command again" in not_read(epoch(0, silent())).hint


def test_an_epoch_that_is_damaged_everywhere_is_told_with_what_brings_it_back() -> None:
    deleted = replace(missing("b"), undo="undelete 7")
    told = not_read(epoch(0, false(), deleted, copy("c")))
    assert isinstance(told, IntegrityProblem)
    assert told.message.endswith("authentic and whole: a: it is forged; b: nothing is there")
    assert told.hint.startswith("an administrator can bring it back: `undelete 7`; try another")


def test_what_is_newer_than_the_chosen_epoch_is_told(records: tuple[Record, ...]) -> None:
    chosen = epoch(1, copy(record=records[1]))
    newer = epoch(3, copy("b", record=records[3]), missing(), copy("c", record=records[3]))
    found = Catalog(KEY, (epoch(4, silent()), epoch(0, silent()), chosen, epoch(2, false()), newer))
    lost, written, listed = found.passed_over(chosen.name)
    assert lost.startswith(f"no copy of epoch {NAMES[2]} is authentic and whole: a: it is forged; it may be")
    assert found.passed_over(chosen.name, known_false=[NAMES[2]]) == [written, listed]
    assert written == f"epoch {NAMES[3]} is newer, written at b, c: take it with --epoch"
    assert listed.startswith(f"epoch {NAMES[4]} is listed")
    assert listed.endswith(f"it may be newer than {NAMES[1]}")


def test_false_records_of_newer_names_are_told_in_one_line(records: tuple[Record, ...]) -> None:
    false_ones = tuple(epoch(number, false()) for number in (1, 2, 3))
    (line,) = Catalog(KEY, (epoch(0, copy(record=records[0])), *false_ones)).passed_over(NAMES[0])
    assert line.startswith(f"no copy of epoch {NAMES[3]} is authentic and whole")
    assert ", and of 2 more none is; it may be newer" in line
