"""The gate's rules at their limits: each row fails when a comparison is turned, or a measure is another."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pipeline.archive.catalog import Catalog, Copy, Epoch, EpochState
from pipeline.config.sections import Policy
from pipeline.core.errors import Code
from pipeline.custody.shares.manifest_section import PathEntry, ShareEntry
from pipeline.custody.shares.paths import PathNeed
from pipeline.evidence.ledger.backup_history import BackupHistory, RecordedReading
from pipeline.evidence.ledger.drill_history import Copied, Drilled, Witnessed
from pipeline.evidence.ledger.events import BackupRead
from pipeline.monitoring import backup_rules, rules
from pipeline.monitoring.rules import DAY, Rule
from pipeline.record.verify import Record
from pipeline.sources.backups.sources import BackupSource
from pipeline.storage.interface import Slot
from pipeline.workflows import drill
from pipeline.workflows.backups.backup_map import Backup
from pipeline.workflows.backups.selection import Places
from tests.support.ledger_entries import an_entry

KEY = "A" * 40
NAME = "20260131T080000Z-0a1b2c3d"
NOW = datetime(2026, 5, 1, tzinfo=UTC)


def copy(target: str, code: Code = Code.OK, **more: Any) -> Copy:
    told: dict[str, Any] = {
        "kind": "s3", "domain": target, "location": target, "version": "1", "sha256": None, "record": None,
        "problem": None, "slot": Slot(KEY, NAME),
    }  # fmt: skip
    return Copy(target=target, code=code, **(told | more))


def epoch(*copies: Copy, name: str = NAME, state: EpochState = EpochState.PROVEN) -> Epoch:
    return Epoch(name, KEY, copies, state)


def broken(found: list[Rule]) -> set[str]:
    return {rule.name for rule in found if not rule.ok}


# -- copies ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("good", "unread", "asked", "told"),
    [
        ("ab", "", 2, "good copies stand in 2 failure domains, policy.copies asks for 2"),
        ("a", "", 1, "good copies stand in 1 failure domain, policy.copies asks for 1"),
        ("a", "", 2, "good copies stand in 1 failure domain, policy.copies asks for 2; run `orgkey repair`"),
        ("", "a", 2, "good copies stand in 0 failure domains, policy.copies asks for 2; run `orgkey repair`"),
        ("a", "b", 2, None),
        ("a", "a", 2, "good copies stand in 1 failure domain, policy.copies asks for 2; run `orgkey repair`"),
        ("ab", "c", 2, "good copies stand in 2 failure domains, policy.copies asks for 2"),
    ],
)
def test_copies_count_by_their_domains_and_what_was_not_read_for_neither_side(
    genuine: Record, good: str, unread: str, asked: int, told: str | None
) -> None:
    copies = [copy(f"good-{domain}", domain=domain, record=genuine) for domain in good]
    copies += [copy(f"unread-{domain}", Code.DENIED, domain=domain, unread=True) for domain in unread]
    first, *rest = rules.copies(Policy(copies=asked), epoch(*copies))
    assert (first.name, first.ok) == ("copy", True)
    assert first.text == f"{len(good)} of {len(copies)} copies are good"
    assert [(rule.name, rule.text, rule.ok, rule.value, rule.limit) for rule in rest] == (
        [("copies", told, "repair" not in told, len(set(good)), asked)] if told else []
    )


def test_each_copy_that_is_wrong_is_named_with_what_to_do(genuine: Record) -> None:
    found = [
        copy("a", Code.DEGRADED, problem="it is missing", hint="bring it back"),
        copy("b", Code.INTEGRITY, problem="a false version lies above it", record=genuine),
        copy("c", Code.UNREACHABLE, problem="it is silent", unread=True),
    ]
    wrong = [rule for rule in rules.copies(Policy(copies=1), epoch(*found)) if rule.name == "copy"]
    assert [(rule.ok, rule.text) for rule in wrong] == [
        (False, "a: it is missing; bring it back"),
        (False, "b: a false version lies above it"),
    ]


# -- ages --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "drill_age", "state", "late"),
    [
        (10 * DAY, 5 * DAY, EpochState.PROVEN, set()),
        (10 * DAY + 1, 5 * DAY, EpochState.SUPERSEDED, {"max_age_days"}),
        (10 * DAY, 5 * DAY + 1, EpochState.PROVEN, {"max_drill_age_days"}),
        (-DAY, 0.0, EpochState.PROVEN, set()),
        (-DAY - 1, 0.0, EpochState.PROVEN, {"clock"}),
        (0.0, -DAY - 1, EpochState.PROVEN, {"clock"}),
        (0.0, None, EpochState.PROVEN, {"drill"}),
        (-DAY - 1, None, EpochState.PROVEN, {"drill", "clock"}),
        (0.0, 0.0, EpochState.COMPLETE, {"drill"}),
    ],
)
def test_an_age_may_reach_its_limit_and_not_pass_it(
    age: float, drill_age: float | None, state: EpochState, late: set[str]
) -> None:
    policy = Policy(max_age_days=10, max_drill_age_days=5)
    found = rules.ages(policy, epoch(state=state), age, drill_age)
    assert broken(found) == late
    assert {rule.name for rule in found} - {"clock"} == (
        {"drill", "max_age_days"} if "drill" in late else {"drill", "max_drill_age_days", "max_age_days"}
    )
    assert [rule.text for rule in found if "drill" in late & {rule.name}] == (
        ["this host does not know of a drill that proved the latest epoch; run `orgkey drill`"]
        if "drill" in late
        else []
    )
    assert broken(rules.ages(Policy(), epoch(state=state), age, drill_age)) == late & {"drill", "clock"}


def test_an_age_is_told_in_days_with_its_limit_and_what_to_do() -> None:
    policy = Policy(max_age_days=1, max_drill_age_days=5)
    _, drill, escrow = rules.ages(policy, epoch(), 1.26 * DAY, 0.26 * DAY)
    assert (drill.value, drill.limit, escrow.value, escrow.limit) == (0.3, 5.0, 1.3, 1.0)
    assert (drill.subject, escrow.subject) == ("", "")
    assert drill.text == "the last drill is 0.3 days old, policy.max_drill_age_days is 5"
    assert escrow.text.startswith(
        "the escrow is 1.3 days old, policy.max_age_days is 1; run `orgkey custody rotate`"
    )


@pytest.mark.parametrize(("hours", "ok", "value"), [(48, True, 2.0), (49, False, 2.0), (-9, True, 0.0)])
def test_the_newest_backup_may_be_as_old_as_the_limit(hours: int, ok: bool, value: float) -> None:
    newest = {"daily": NOW - timedelta(hours=hours), "weekly": NOW, "elsewhere": None}
    rule, weekly, unknown = backup_rules.backups(Policy(max_backup_age_days=2), newest, NOW)
    assert (rule.name, rule.ok, rule.value, rule.limit) == ("max_backup_age_days", ok, value, 2.0)
    assert (rule.subject, rule.overdue) == ("daily", not ok)
    assert rule.text.startswith(
        f"the newest backup in daily is {value} days old, policy.max_backup_age_days is 2"
    )
    assert (weekly.ok, weekly.subject) == (True, "weekly")
    assert (unknown.ok, unknown.value, unknown.subject) == (False, None, "elsewhere")
    assert unknown.text == (
        "the age of no backup in elsewhere is known, policy.max_backup_age_days is 2; "
        "look at the server's backup job and at the way to backups.elsewhere"
    )
    assert backup_rules.backups(Policy(), newest, NOW) == []


@pytest.mark.parametrize(
    ("written", "read", "ok"),
    [(1, None, True), (3, None, False), (3, 1, True), (-0.5, None, True), (-9, None, False), (3, -9, False)],
)
def test_a_date_in_the_future_does_not_make_a_backup_read(
    written: float, read: float | None, ok: bool
) -> None:
    there = SimpleNamespace(location="/b", state="1", name="b", modified=NOW - timedelta(days=written))
    backup = Backup(cast("BackupSource", there), None, (), None, Code.OK)
    history = BackupHistory()
    if read is not None:
        made = BackupRead(source="b", location="/b", state="1", ok=True, sha256="0" * 64)
        history.add(
            made, RecordedReading(NOW - timedelta(days=read), an_entry(1, NOW, "backups-verify"), made)
        )
    policy = Policy(max_backup_verify_age_days=2)
    found = backup_rules.verified_backups(policy, [backup], Places({}), history, NOW)
    assert [rule.ok for rule in found if rule.name == "max_backup_verify_age_days"] == [ok]


# -- proofs ------------------------------------------------------------------------------------------


def of_paths(genuine: Record, *attended: str, machines: str = "") -> Record:
    """A record of these paths, each with a share that a person holds, or with a machine's."""
    entries = [
        PathEntry(name, 1, (PathNeed("h", 1, 1),), (ShareEntry("h", 1, "h", "m.x", "", "", checks),))
        for names, checks in ((attended, ("0" * 64,)), (machines.split(), ()))
        for name in names
    ]
    custody = replace(genuine.manifest.custody, paths=tuple(entries))
    return replace(genuine, manifest=replace(genuine.manifest, custody=custody))


@pytest.mark.parametrize(
    ("attended", "machines", "path", "command"),
    [
        ((), "unattended", None, "orgkey drill"),
        ((), "unattended", "unattended", "orgkey drill"),
        (("people",), "unattended", None, "orgkey drill"),
        (("people",), "unattended", "unattended", "orgkey drill"),
        (("people",), "unattended", "people", "orgkey drill --via people"),
        (("people", "safe"), "", None, "orgkey drill --via people"),
        (("people", "safe"), "", "safe", "orgkey drill --via safe"),
        (("people", "safe"), "", "-", "orgkey drill --via people"),
    ],
)
def test_what_only_people_can_prove_is_a_ceremony(
    genuine: Record, attended: tuple[str, ...], machines: str, path: str | None, command: str
) -> None:
    assert drill.command(of_paths(genuine, *attended, machines=machines), path) == command
    assert drill.command(None, path) == "orgkey drill"


def drilled(days: float, *, copy: str = "a", path: str = "p", passed: bool = True, **more: Any) -> Drilled:
    at = NOW - timedelta(days=days)
    problems = () if passed else ("authentic: damaged", "opened: no")
    seconds = more.pop("seconds", 1.0)
    entry = an_entry(1, at)
    return Drilled(at, NAME, copy, path, passed, seconds, {}, problems, (), (), entry, **more)


@pytest.mark.parametrize(
    ("days", "ok", "said"),
    [
        (8, True, "was last restored 8.0 days ago, policy."),
        (8.1, False, "was last restored 8.1 days ago, policy."),
        (-1, True, "was last restored -1.0 days ago, policy."),
        (-1.1, False, "is dated 1.1 days in the future, policy."),
        (None, False, "of the latest epoch was never restored in a drill of this host, policy."),
    ],
)
def test_a_copy_and_a_path_may_have_been_restored_so_long_ago(
    genuine: Record, days: float | None, ok: bool, said: str
) -> None:
    policy = Policy(max_copy_drill_age_days=8, max_path_drill_age_days=8)
    record = of_paths(genuine, machines="p")
    drills = [] if days is None else [drilled(days)]
    no_failure, by_copy, by_path = rules.proofs(policy, epoch(copy("a")), record, drills, TARGETS, NOW)
    assert (no_failure.name, no_failure.ok) == ("drill-failed", True)
    for rule, subject, option in ((by_copy, "a", "--from a"), (by_path, "p", "--via p")):
        value = days if days is None else round(days, 1)
        assert (rule.ok, rule.subject, rule.value, rule.limit) == (ok, subject, value, 8.0)
        assert said in rule.text
        assert rule.text.endswith(f"is 8; run `orgkey drill {option}`") != ok
    assert len(rules.proofs(Policy(), epoch(copy("a")), record, drills, TARGETS, NOW)) == 1


def test_a_restore_that_is_dated_in_the_future_heals_no_failure_and_is_healed_by_the_next(
    genuine: Record,
) -> None:
    policy = Policy(max_copy_drill_age_days=8, max_path_drill_age_days=8)
    record = of_paths(genuine, machines="p")
    for drills, healed in (
        ([drilled(1, passed=False), drilled(-900)], {"drill-failed", *_AGES}),
        ([drilled(2), drilled(1, passed=False), drilled(-900)], {"drill-failed"}),
        ([drilled(1, passed=False), drilled(0), drilled(-900)], set()),
    ):
        assert broken(rules.proofs(policy, epoch(copy("a")), record, drills, TARGETS, NOW)) == healed


TARGETS = {"0": None, "a": None, "b": None}
_AGES = ("max_copy_drill_age_days", "max_path_drill_age_days")


def test_of_several_restores_the_newest_counts_and_none_of_what_was_replaced(genuine: Record) -> None:
    policy = Policy(max_copy_drill_age_days=8, max_path_drill_age_days=8)
    drills = [drilled(9, path="q"), drilled(2), drilled(5, path="q"), replace(drilled(4), epoch="another")]
    _, by_copy, p, q = rules.proofs(
        policy, epoch(copy("a")), of_paths(genuine, machines="p q"), drills, TARGETS, NOW
    )
    assert [(rule.subject, rule.value) for rule in (by_copy, p, q)] == [("a", 2.0), ("p", 2.0), ("q", 5.0)]
    replaced = [drilled(2, replaced=True)]
    _, by_copy, p = rules.proofs(
        policy, epoch(copy("a")), of_paths(genuine, machines="p"), replaced, TARGETS, NOW
    )
    assert (by_copy.value, p.value) == (None, 2.0), "the path was walked, and the copy is another now"


def test_a_copy_was_replaced_by_the_order_of_the_chain_and_not_by_a_clock() -> None:
    """A clock that was set back between the two must not have the new copy count as restored."""
    at = NOW - timedelta(days=1)
    drill = replace(drilled(0.5), entry=an_entry(4, NOW))
    for number, anew in ((5, True), (3, False)):
        assert Copied(at, NAME, "a", an_entry(number, at)).replaced(drill) == anew
    other = replace(drill, entry=replace(an_entry(4, NOW), host="1" * 16, own=False))
    repair = Copied(at, NAME, "a", an_entry(5, at))
    assert not repair.replaced(other)
    signed = Witnessed("r", "0", at - timedelta(days=1), b"")
    assert repair.replaced(replace(other, witnessed=signed)), "entered again, it is not newer"


def test_a_restore_may_take_as_long_as_the_objective(genuine: Record) -> None:
    drills = [
        drilled(1, seconds=2.5),
        drilled(1, path="q", seconds=2.50049),
        drilled(1, copy="0", seconds=None),
        drilled(1, copy="removed", seconds=99.0),
    ]
    found = rules.proofs(Policy(rto_seconds=2.5), epoch(copy("a")), of_paths(genuine), drills, TARGETS, NOW)[
        1:
    ]
    assert [(rule.name, rule.subject, rule.ok, rule.value, rule.limit) for rule in found] == [
        ("rto_seconds", "a by p", True, 2.5, 2.5),
        ("rto_seconds", "a by q", False, 2.5, 2.5),
    ]
    assert found[1].text.startswith(
        "the last restore of a by q took 2.5 s, policy.rto_seconds is 2.5; `orgkey"
    )


def test_a_failure_is_told_with_its_copy_path_day_and_what_to_run(genuine: Record) -> None:
    record = of_paths(genuine, "people", machines="p")
    found = [
        drilled(1, path="people", passed=False),
        drilled(1, path="-", passed=False),
        drilled(1, copy="removed", path="-", passed=False),
        drilled(2, copy="b"),
    ]
    assert rules.failures(found, TARGETS, record) == [
        "the drill of a by people failed on 2026-04-30: authentic: damaged; opened: no; "
        "put that right, then run `orgkey drill --via people`",
        "the drill of a failed on 2026-04-30: authentic: damaged; opened: no; "
        "put that right, then run `orgkey drill`",
    ]


# -- what lies beside, and locks -----------------------------------------------------------------------


def test_false_records_are_counted_at_each_target_but_for_the_latest_and_the_known() -> None:
    latest, other, known = (epoch(name=f"2026010{day}T000000Z-0a1b2c3d") for day in (3, 2, 1))
    bad = (copy("a", Code.INTEGRITY), copy("b", Code.INTEGRITY), copy("c", Code.DEGRADED))
    latest, other, known = (replace(one, copies=bad) for one in (latest, other, known))
    third = replace(other, name="20260104T000000Z-0a1b2c3d", copies=bad[:1])
    policy = Policy(known_false=(known.name,))
    catalog = Catalog(KEY, (known, other, latest, third), left_out={"d": 7})
    found = rules.foreign(policy, catalog, latest)
    assert {(rule.name, rule.ok) for rule in found} == {("foreign", False)}
    assert [rule.text.partition(": `")[0].partition(": find")[0] for rule in found] == [
        "a: 2 of the stored records are not authentic",
        "b: 1 of the stored records is not authentic",
        "d lists 7 more epochs than there was time to read",
    ]
    assert rules.foreign(policy, Catalog(KEY, (known, latest)), latest) == []


def test_an_age_without_a_limit_is_named_where_it_concerns_anybody(genuine: Record) -> None:
    named = {rule.name for rule in rules.unlimited(Policy(), of_paths(genuine, machines="p"), backups=False)}
    assert named == {"max_drill_age_days"}
    found = rules.unlimited(Policy(), of_paths(genuine, "people", machines="p"), backups=True)
    assert [(rule.name, rule.ok, rule.warned) for rule in found] == [
        (name, True, True)
        for name in (
            "max_drill_age_days", "max_path_drill_age_days", "max_check_in_age_days", "max_backup_age_days",
            "max_backup_verify_age_days", "max_newest_verify_age_days",
        )
    ]  # fmt: skip
    assert found[0].text == "no limit for the age of a drill: set policy.max_drill_age_days"
    assert rules.unlimited(Policy(max_drill_age_days=1), of_paths(genuine), backups=False) == []


def test_a_lock_is_asked_for_by_the_target_or_missing_at_the_copy(genuine: Record) -> None:
    good, bare = copy("a", record=genuine), copy("b", record=genuine, unlocked="no retention")
    lost = copy("c", Code.DEGRADED, unlocked="no retention")
    assert rules.locks([good, lost], frozenset()) == []
    assert rules.locks([lost], frozenset("c")) == []
    assert [(rule.name, rule.ok) for rule in rules.locks([good], frozenset("a"))] == [("lock", True)]
    (rule,) = rules.locks([good, bare, lost], frozenset())
    assert rule.text.startswith("b: not locked as configured: no retention; `orgkey retain --until DATE`")
    policy = Policy(min_retention_days=30)
    kept = replace(good, retain_until=NOW + timedelta(days=30))
    found = rules.retention(policy, [kept, bare, lost], frozenset("abc"), NOW)
    assert [(rule.subject, rule.ok, rule.value, rule.limit) for rule in found] == [
        ("a", True, 30.0, 30.0),
        ("b", False, 0.0, 30.0),
    ]
    assert [rule.subject for rule in rules.retention(policy, [kept, good], frozenset(), NOW)] == ["a"]
