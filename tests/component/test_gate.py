"""Every rule of the gate: held, broken, and what it says; the numbers behind it."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.archive import overview
from pipeline.archive.catalog import Copy
from pipeline.cli import list_command, status_text
from pipeline.cli.documents.stored import ListDocument
from pipeline.config.places import BackupPlace
from pipeline.config.sections import Policy
from pipeline.core.digest import sha256
from pipeline.core.errors import Code, first_of
from pipeline.evidence.ledger.drill_history import Drilled
from pipeline.monitoring import rules as gate
from pipeline.monitoring.rules import Rule
from pipeline.monitoring.status import Status, newest_of, status
from pipeline.posture.analysis import expose
from pipeline.sources.backups.message_header import MessageHeader
from pipeline.sources.backups.sources import BackupFile
from pipeline.storage.interface import Slot
from pipeline.workflows.backups.backup_map import Backup
from pipeline.workflows.backups.selection import Places
from pipeline.workflows.drill import DrillRequest, drill
from tests.support.inmemory import World, denied
from tests.support.ledger_entries import an_entry

NOW = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture
def drilled(world: World) -> World:
    """A complete epoch, drilled a moment ago."""
    world.store(world.mint())
    assert drill(world.context, DrillRequest()).code is Code.OK
    return world


def named(found: Status, name: str) -> list[Rule]:
    return [rule for rule in found.rules if rule.name == name]


def broken(found: Status, name: str) -> list[Rule]:
    return [rule for rule in named(found, name) if not rule.ok]


def test_every_copy_must_have_been_restored_lately(drilled: World) -> None:
    drilled.policy = "max_copy_drill_age_days = 8"
    found = status(drilled.context)
    assert [(rule.subject, rule.ok, rule.limit) for rule in named(found, "max_copy_drill_age_days")] == [
        ("a", True, 8.0),
        ("b", True, 8.0),
        ("c", True, 8.0),
    ]
    drilled.clock.shift = timedelta(days=9)
    assert drill(drilled.context, DrillRequest(targets=("a", "b"))).code is Code.OK
    found = status(drilled.context)
    assert found.code is Code.STALE
    (late,) = broken(found, "max_copy_drill_age_days")
    assert (late.subject, late.value, late.overdue) == ("c", 9.0, True)
    assert late.text == (
        "copy c was last restored 9.0 days ago, policy.max_copy_drill_age_days is 8; "
        "run `orgkey drill --from c`"
    )


def test_one_place_under_two_names_is_one_copy(world: World) -> None:
    first, twin, third = world.targets.values()
    twin.places = first.places
    first.storage = twin.storage = "one"
    third.storage = "another"
    world.copies = 3
    made = world.mint()
    written = world.context.archive("writer").publish(made)
    assert (set(written.receipts), written.code(3), written.code(2)) == (
        {"a", "c"}, Code.USAGE, Code.DEGRADED,
    )  # fmt: skip
    assert "b is the same place as target a" in written.failures["b"].message
    found = status(world.context)
    assert found.epoch is not None
    assert [(copy.ok, copy.domain) for copy in found.epoch.copies] == [(True, "a"), (True, "a"), (True, "c")]
    assert found.epoch.state == "written"
    (rule,) = broken(found, "copy")
    assert rule.text.startswith("b: target b is the same place as target a, under another name")
    (few,) = broken(found, "copies")
    assert few.text.startswith(
        "good copies stand in 2 failure domains, policy.copies asks for 3; add a target"
    )
    assert Code.STALE in overview.verdict(found.survey, 2)
    assert found.survey.record().epoch == made.epoch, "and nothing of this keeps it from being restored"
    facts = expose(world.context, [found.survey]).facts
    assert any("one place behind target a and target b controls target a and target b" in it for it in facts)


def test_a_copy_that_was_never_restored_is_named(world: World) -> None:
    world.policy = "max_copy_drill_age_days = 8\nmax_path_drill_age_days = 8"
    world.store(world.mint())
    assert drill(world.context, DrillRequest(targets=("a",))).code is Code.OK
    late = broken(status(world.context), "max_copy_drill_age_days")
    assert [rule.subject for rule in late] == ["b", "c"]
    assert all("never restored in a drill of this host" in rule.text for rule in late)
    assert broken(status(world.context), "max_path_drill_age_days") == []


def test_every_path_must_have_been_used_lately(drilled: World) -> None:
    drilled.policy = "max_path_drill_age_days = 8"
    drilled.clock.shift = timedelta(days=8, hours=1)
    (late,) = broken(status(drilled.context), "max_path_drill_age_days")
    assert (late.subject, late.overdue) == ("unattended", True)
    assert late.text.endswith("policy.max_path_drill_age_days is 8; run `orgkey drill --via unattended`")


def test_a_drill_of_an_older_epoch_proves_nothing_about_the_latest(drilled: World) -> None:
    drilled.policy = "max_copy_drill_age_days = 8"
    newer = drilled.store(drilled.mint(later=5))
    drilled.clock.shift = timedelta(seconds=10)
    assert drill(drilled.context, DrillRequest(epochs=(newer.epoch,), targets=("a",))).code is Code.OK
    found = status(drilled.context)
    assert found.epoch is not None
    assert found.epoch.name == newer.epoch
    assert [rule.subject for rule in broken(found, "max_copy_drill_age_days")] == ["b", "c"]


def test_a_drill_that_is_dated_in_the_future_does_not_hold_the_gate(world: World) -> None:
    world.store(world.mint())
    world.clock.shift = timedelta(days=300)
    assert drill(world.context, DrillRequest()).code is Code.OK
    world.clock.shift = timedelta()
    world.policy = "max_copy_drill_age_days = 8"
    late = broken(status(world.context), "max_copy_drill_age_days")
    assert len(late) == 3
    assert "in the future" in late[0].text


def test_a_failed_drill_breaks_the_gate_until_one_passes(drilled: World) -> None:
    drilled.clock.shift = timedelta(seconds=2)
    drilled.holders["aws"].failures["open"] = denied("holder aws")
    assert drill(drilled.context, DrillRequest(targets=("b",))).code is Code.DENIED
    drilled.holders["aws"].failures.clear()
    found = status(drilled.context)
    (failed,) = broken(found, "drill-failed")
    assert failed.text.startswith(f"the drill of b by unattended failed on {drilled.clock.now():%Y-%m-%d}: ")
    assert "holder aws refuses" in failed.text
    assert not failed.overdue, "time did not break it"
    assert found.code is Code.STALE
    drilled.clock.shift = timedelta(seconds=4)
    assert drill(drilled.context, DrillRequest(targets=("b",))).code is Code.OK
    assert status(drilled.context).code is Code.OK


def drilled_at(hours: int, path: str, *, passed: bool) -> Drilled:
    at = NOW + timedelta(hours=hours)
    problems = () if passed else ("authentic: damaged",)
    return Drilled(at, "E", "a", path, passed, 1.0, {}, problems, (), (), an_entry(hours + 10, at))


def test_only_a_passed_drill_heals_a_copy_that_was_too_bad_for_any_path() -> None:
    bad = drilled_at(1, "-", passed=False)
    assert len(gate.failures([bad], {"a"})) == 1
    assert len(gate.failures([bad, drilled_at(2, "p", passed=False)], {"a"})) == 2
    assert len(gate.failures([drilled_at(0, "p", passed=True), bad], {"a"})) == 1, "it passed before"
    assert gate.failures([bad, drilled_at(2, "p", passed=True)], {"a"}) == []
    assert len(gate.failures([bad, drilled_at(1, "p", passed=True)], {"a"})) == 1, "at the same moment"


def test_a_restore_that_was_slower_than_the_objective_breaks_the_gate(drilled: World) -> None:
    drilled.policy = "rto_seconds = 600"
    assert all(rule.ok for rule in named(status(drilled.context), "rto_seconds"))
    drilled.policy = "rto_seconds = 0.0001"
    slow = broken(status(drilled.context), "rto_seconds")
    assert [rule.subject for rule in slow] == ["a by unattended", "b by unattended", "c by unattended"]
    assert slow[0].value is not None
    assert slow[0].value > 0
    assert "policy.rto_seconds is 0.0001" in slow[0].text


def copy(target: str, until: datetime | None) -> Copy:
    made = World(Path("/nowhere")).mint()
    slot = Slot(made.fingerprint, made.epoch)
    return Copy(target, "s3", target, target, "1", sha256(b""), made, None, Code.OK, slot, retain_until=until)


def test_a_lock_that_ends_soon_or_is_missing_breaks_the_gate() -> None:
    copies = [
        copy("long", NOW + timedelta(days=400)),
        copy("just", NOW + timedelta(days=30)),
        copy("short", NOW + timedelta(days=29)),
        copy("unlocked", None),
        copy("disk", None),
    ]
    policy = Policy(min_retention_days=30)
    rules = gate.retention(policy, copies, frozenset({"long", "unlocked"}), NOW)
    assert [(rule.subject, rule.ok, rule.value) for rule in rules] == [
        ("long", True, 400.0),
        ("just", True, 30.0),
        ("short", False, 29.0),
        ("unlocked", False, 0.0),
    ]
    assert "29.0 days of retention are left, policy.min_retention_days is 30" in rules[2].text
    assert "no retention is set" in rules[3].text
    assert gate.retention(Policy(), copies, frozenset({"unlocked"}), NOW) == []


@pytest.mark.parametrize("policy", ["", "min_retention_days = 1"])
def test_a_copy_without_the_lock_that_its_target_asks_for_breaks_the_gate(world: World, policy: str) -> None:
    """Whatever the policy says: the target was configured to lock."""
    made = world.store(world.mint())
    world.policy = policy
    assert named(status(world.context), "lock") == []
    why = "GOVERNANCE until 2027-01-01T00:00:00Z is configured, the server says no retention"
    world.targets["b"].places[Slot(made.fingerprint, made.epoch)][0].unlocked = why
    judged = status(world.context)
    (rule,) = broken(judged, "lock")
    assert rule.text.startswith(f"b: not locked as configured: {why}; `orgkey retain")
    assert judged.code is Code.STALE
    surveys = world.context.catalogs()
    assert first_of(overview.verdict(surveys[0], 2)) is Code.STALE
    assert f"NOT LOCKED: {why}" in "\n".join(list_command.lines(world.context, surveys, {}))
    copies = ListDocument.about(surveys, {}).epochs[0].copies
    assert [item.unlocked for item in copies] == [None, why, None]
    assert surveys[0].epochs[0].copies[1].ok, "it restores all the same"


def test_false_records_beside_the_latest_epoch_break_the_gate_until_they_are_known(world: World) -> None:
    made = world.store(world.mint())
    assert named(status(world.context), "foreign") == []
    names = [f"20260101T000000Z-{number:08x}" for number in range(2)]
    for name in names:
        world.targets["b"].plant(Slot(made.fingerprint, name), b"hello")
    judged = status(world.context)
    (rule,) = broken(judged, "foreign")
    assert rule.text.startswith("b: 2 of the stored records are not authentic: `orgkey verify` names them")
    assert judged.epoch is not None
    assert judged.epoch.name == made.epoch
    world.policy = f"known_false = {names}"
    assert named(status(world.context), "foreign") == []
    assert Code.INTEGRITY in overview.verdict(world.context.catalogs()[0], 2), "verify still names them"


# -- backups -----------------------------------------------------------------------------------------


def arrived(path: Path, age: timedelta, code: Code = Code.OK) -> Backup:
    path.write_bytes(b"a backup")
    then = (NOW - age).timestamp()
    os.utime(path, (then, then))
    head = MessageHeader(("0" * 16,), "mdc", 0, b"")
    return Backup(BackupFile(path), head, (), None, code)


def test_only_what_is_a_backup_of_the_past_is_the_newest(tmp_path: Path) -> None:
    old = arrived(tmp_path / "old", timedelta(days=3))
    newer = arrived(tmp_path / "newer", timedelta(days=2), Code.STALE)
    garbage = arrived(tmp_path / "garbage", timedelta(days=1), Code.NOT_A_KEY)
    ahead = arrived(tmp_path / "ahead", -timedelta(days=400))
    elsewhere = tmp_path / "copies"
    elsewhere.mkdir()
    copy = arrived(elsewhere / "old", timedelta(days=9))
    places = Places({name: BackupPlace(location=str(tmp_path / name)) for name in ("old", "newer", "copies")})
    assert newest_of([old, newer, copy], places, NOW) == {
        "old": NOW - timedelta(days=3),
        "newer": NOW - timedelta(days=2),
        "copies": NOW - timedelta(days=9),
    }
    both = Places({"all": BackupPlace(location=str(tmp_path))})
    assert newest_of([newer, old, garbage, ahead], both, NOW) == {"all": NOW - timedelta(days=2)}
    assert newest_of([garbage, ahead], both, NOW) == {"all": None}


# -- the ledger --------------------------------------------------------------------------------------


def test_a_broken_ledger_has_a_code_of_its_own_and_is_told_once(drilled: World) -> None:
    drill(drilled.context, DrillRequest())
    first = min(drilled.context.ledger.own().folder.iterdir())
    first.write_bytes(first.read_bytes().replace(b'"passed":true', b'"passed":false', 1))
    found = status(drilled.context)
    assert found.code is Code.LEDGER_BROKEN
    (told,) = broken(found, "ledger")
    assert "the ledger breaks at entry 2" in told.text


def test_a_broken_ledger_is_seen_where_nothing_is_stored(world: World) -> None:
    world.enter("verify", {})
    (entry,) = world.context.ledger.own().folder.iterdir()
    entry.write_text("{}")
    assert status(world.context).code is Code.LEDGER_BROKEN


# -- the words ---------------------------------------------------------------------------------------


def test_every_broken_rule_is_one_sentence_with_its_setting_and_what_to_do(drilled: World) -> None:
    drilled.policy = (
        "max_age_days = 1\nmax_drill_age_days = 1\nmax_copy_drill_age_days = 1\n"
        "max_path_drill_age_days = 1\nrto_seconds = 0.0001\n"
    )
    drilled.clock.shift = timedelta(days=3)
    rules = [rule for rule in status(drilled.context).rules if not rule.ok]
    assert {rule.name for rule in rules} == {
        "max_age_days",
        "max_drill_age_days",
        "max_copy_drill_age_days",
        "max_path_drill_age_days",
        "rto_seconds",
    }
    for rule in rules:
        assert f"policy.{rule.name} is {rule.limit:g}" in rule.text, rule
        assert "`orgkey " in rule.text, rule
        assert "\n" not in rule.text
        assert not rule.text.endswith(".")


def test_the_summary_fits_one_screen(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    del world.targets["c"]
    world.policy = "max_copy_drill_age_days = 8\nmax_path_drill_age_days = 8\nrto_seconds = 60"
    world.store(world.mint())
    assert drill(world.context, DrillRequest()).code is Code.OK
    for columns in (80, 100):
        monkeypatch.setenv("COLUMNS", str(columns))
        lines = status_text.lines(status(world.context))
        assert len(lines) <= 24 - 2, "the prompt and the command need a line each"
        assert max(map(len, lines)) <= columns, lines
        assert lines[-1].startswith("gate: ok, all ")
    world.clock.shift = timedelta(days=9)
    monkeypatch.setenv("COLUMNS", "80")
    lines = status_text.lines(status(world.context))
    assert len(lines) <= 24, lines
    assert max(map(len, lines)) <= 80, lines
    assert "gate: BROKEN (exit code 40: stale: the gate or the plan is broken)" in lines
