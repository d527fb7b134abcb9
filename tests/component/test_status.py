from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.archive.catalog import EpochState
from pipeline.cli import nagios, status_text
from pipeline.cli.documents.stored import StatusDocument
from pipeline.cli.nagios import PluginState
from pipeline.core.clock import stamp
from pipeline.core.errors import Code
from pipeline.monitoring.status import Status, status
from pipeline.record.verify import Record
from pipeline.workflows.drill import DrillRequest, drill, drill_former
from tests.support.inmemory import (
    ASSETS,
    ATTACKER,
    ORG,
    MemoryMirror,
    World,
    denied,
    slot_of,
    unlocked,
    unreachable,
)


@pytest.fixture
def proven(world: World) -> Record:
    """A complete epoch that this host has just proven."""
    made = world.store(world.mint())
    world.context.journal.begin(made.epoch, None).mark_proven(
        {"record_sha256": made.sha256.hex, "at": stamp(world.clock.now())}
    )
    return made


def broken(world: World) -> str:
    found = status(world.context)
    assert found.code is not Code.OK
    return " | ".join(found.broken)


def test_a_fresh_proven_escrow_is_well(world: World, proven: Record) -> None:
    found = status(world.context)
    assert (found.code, found.broken, found.live.state) == (Code.OK, (), "unknown")
    assert found.epoch is not None
    assert found.epoch.name == proven.epoch
    assert found.age_seconds is not None
    assert 0 <= found.age_seconds < 120
    assert found.last_drill_age_seconds is not None
    assert 0 <= found.last_drill_age_seconds < 120


def test_a_former_key_s_failed_drill_breaks_the_gate_until_one_passes(world: World, proven: Record) -> None:
    key = unlocked(ATTACKER).fingerprint
    world.key = f'former = ["{key}"]'
    world.store(world.mint(key=ATTACKER))
    its = world.context.of(key)
    assert drill(its, DrillRequest()).code is Code.OK
    assert status(world.context).code is Code.OK
    world.holders["aws"].failures["open"] = denied("holder aws")
    drill(world.context.of(key), DrillRequest())
    assert f"former key {key}: the drill of a by unattended failed on " in broken(world)
    assert f"then run `orgkey drill --fingerprint {key}`" in broken(world)
    world.holders["aws"].failures.clear()
    world.clock.shift += timedelta(seconds=2)
    assert drill(world.context.of(key), DrillRequest()).code is Code.OK
    assert status(world.context).code is Code.OK
    (its.ledger.own().folder / "000000001.json").unlink()
    assert status(world.context).code is Code.LEDGER_BROKEN


def test_a_former_key_that_only_people_open_is_proven_in_a_ceremony(world: World, proven: Record) -> None:
    key = unlocked(ATTACKER).fingerprint
    world.key = f'former = ["{key}"]'
    for holder in world.holders.values():
        holder.unattended = False
    world.store(world.mint(key=ATTACKER))
    assert f"run `orgkey drill --fingerprint {key} --via unattended`" in broken(world)
    (former,) = drill_former(world.context, DrillRequest())
    assert former.problem is not None
    assert former.problem.endswith(f"name one with --via; it has unattended (--fingerprint {key})")


def test_a_former_key_s_drill_from_the_future_breaks_the_gate(world: World, proven: Record) -> None:
    key = unlocked(ATTACKER).fingerprint
    world.key = f'former = ["{key}"]'
    world.policy = "max_drill_age_days = 30"
    made = world.store(world.mint(key=ATTACKER))
    entry = world.context.of(key).journal.begin(made.epoch, None)
    for hours, said in ((20, False), (48, True)):
        at = world.clock.now() + timedelta(hours=hours)
        entry.mark_proven({"record_sha256": made.sha256.hex, "at": stamp(at)})
        told = f"former key {key}: its last drill is dated 2.0 days in the future"
        assert any(told in text for text in status(world.context).broken) == said


def test_nothing_stored_is_stale(world: World) -> None:
    found = status(world.context)
    assert (found.epoch, found.age_seconds, found.last_drill_age_seconds) == (None, None, None)
    assert found.code is Code.STALE
    assert "nothing authentic" in found.broken[0]


def test_an_escrow_that_was_never_drilled_is_stale(world: World) -> None:
    world.store(world.mint())
    assert "orgkey drill" in broken(world)
    assert status(world.context).code is Code.STALE


AGES: list[tuple[str, str]] = [
    ("max_age_days = 30", "the escrow is 31.0 days old"),
    ("max_drill_age_days = 30", "the last drill is 31.0 days old"),
]


@pytest.mark.parametrize(("rule", "told"), AGES)
def test_an_old_escrow_or_drill_breaks_the_gate(world: World, proven: Record, rule: str, told: str) -> None:
    world.policy = rule
    world.clock.shift = timedelta(days=29)
    assert status(world.context).code is Code.OK
    world.clock.shift = timedelta(days=31)
    assert told in broken(world)
    assert status(world.context).code is Code.STALE
    world.policy = ""
    assert status(world.context).code is Code.OK, "no rule, no gate"


def test_a_missing_copy_is_named(world: World, proven: Record) -> None:
    del world.targets["c"].places[slot_of(proven)]
    assert "c: no copy of this epoch" in broken(world)
    assert status(world.context).code is Code.STALE


def test_a_damaged_copy_is_an_integrity_problem(world: World, proven: Record) -> None:
    world.targets["c"].damage(slot_of(proven))
    found = status(world.context)
    assert found.code is Code.INTEGRITY
    assert any(line.startswith("c: ") for line in found.broken)


@pytest.mark.parametrize("file", ["proven.json", "receipts/a.json"])
def test_a_damaged_journal_is_named_and_hides_no_epoch_that_vanished(
    world: World, proven: Record, file: str
) -> None:
    (entry,) = world.context.journal.entries()
    entry.add_receipt(world.context.archive("driller").catalog().epochs[0].copies[0].receipt())
    (entry.path / file).write_bytes(b'{"at": "yesterday"}')
    found = status(world.context)
    assert (found.code, found.epoch and found.epoch.state) == (Code.LOCAL_FILES, EpochState.COMPLETE)
    assert any(str(entry.path / file) in line and "move it away" in line for line in found.broken)
    kept = {name: dict(target.places) for name, target in world.targets.items()}
    for target in world.targets.values():
        target.places.clear()
    assert f"epoch {proven.epoch} was known to this host, and no target has" in broken(world)
    for name, target in world.targets.items():
        target.places.update(kept[name])
    assert drill(world.context, DrillRequest()).code is Code.OK
    assert status(world.context).code is (Code.OK if file == "proven.json" else Code.LOCAL_FILES)


def test_a_newer_epoch_that_another_host_tells_of_and_no_target_shows_is_warned_of(
    world: World, make_world: Callable[[str], World]
) -> None:
    world.store(world.mint())
    drill(world.context, DrillRequest())
    other = make_world("other")
    other.mirrors = world.mirrors = {"a": MemoryMirror("a")}
    other.targets, other.holders = world.targets, world.holders
    newer = world.store(world.mint(later=5))
    drill(other.context, DrillRequest())
    world.context.replicator.sync(now=world.clock.now(), run="r", whole=False)
    found = status(world.context)
    assert not [text for text in found.warned if "was it taken away" in text]
    for target in world.targets.values():
        del target.places[slot_of(newer)]
    found = status(world.context)
    assert found.code is Code.OK, "nothing proves it"
    (told,) = [text for text in found.warned if "was it taken away" in text]
    assert f"of epoch {newer.epoch}, which is newer" in told


def test_too_few_failure_domains_break_the_gate(world: World, proven: Record) -> None:
    for name in "bc":
        del world.targets[name].places[slot_of(proven)]
    assert "1 failure domain, policy.copies asks for 2" in broken(world)


@pytest.mark.parametrize(
    ("error", "code"), [(unreachable("b"), Code.UNREACHABLE), (denied("b"), Code.DENIED)]
)
def test_a_target_that_cannot_be_asked_is_named(
    world: World, proven: Record, error: object, code: Code
) -> None:
    world.targets["b"].failures["find"] = error  # type: ignore[assignment]  # both are OrgkeyErrors
    found = status(world.context)
    assert found.code is code
    how = "reached" if code is Code.UNREACHABLE else "asked"
    assert len([line for line in found.broken if line.startswith(f"target b cannot be {how}: ")]) == 1


def test_another_custody_plan_breaks_the_gate(world: World, proven: Record) -> None:
    world.holders["aws"].where = "another account"
    assert "another custody plan" in broken(world)


def test_a_holder_that_cannot_be_asked_is_told(world: World, proven: Record) -> None:
    world.holders["aws"].failures["describe"] = unreachable("holder aws")
    assert "a holder cannot be asked: holder aws does not answer; look at its network" in broken(world)
    found = status(world.context)
    assert "plan" not in {rule.name for rule in found.rules}, "it is not known"
    assert StatusDocument.about(found, found.code).epochs[0].plan is None


def test_when_a_copy_was_restored_is_not_known_where_the_ledger_is_broken(world: World) -> None:
    world.store(world.mint())
    assert any(line.endswith("never on this host") for line in status_text.lines(status(world.context)))
    drill(world.context, DrillRequest())
    drill(world.context, DrillRequest())
    (world.context.ledger.own().folder / "000000001.json").unlink()
    shown = "\n".join(status_text.lines(status(world.context)))
    assert "never on this host" not in shown
    assert shown.count("not known") == 4


def test_what_a_silent_target_may_have_is_neither_there_nor_gone(world: World, proven: Record) -> None:
    world.key = f'former = ["{unlocked(ATTACKER).fingerprint}"]'
    assert "           NOT STORED" in status_text.lines(status(world.context))
    for target in world.targets.values():
        target.failures["find"] = unreachable(target.name)
    found = status(world.context)
    assert "vanished" not in {rule.name for rule in found.rules}
    assert "           UNKNOWN" in status_text.lines(found)


def test_a_drill_that_is_dated_in_the_future_heals_nothing_and_is_not_the_last(world: World) -> None:
    key = unlocked(ATTACKER).fingerprint
    world.key = f'former = ["{key}"]'
    for name in (ORG, ATTACKER):
        world.store(world.mint(key=name))
        for days, failure in ((0, None), (900, None), (1, denied("holder aws"))):
            world.clock.shift = timedelta(days=days)
            world.holders["aws"].failures = {"open": failure} if failure else {}
            drill(world.context.of(unlocked(name).fingerprint), DrillRequest())
        world.holders["aws"].failures.clear()
    found = status(world.context)
    assert f"former key {key}: the drill of a by unattended failed on " in " | ".join(found.broken)
    assert {item.at < world.clock.now() for item in found.proven.values()} == {True}


# -- the live key ------------------------------------------------------------------------------------


@pytest.fixture
def live(tmp_path: Path, world: World) -> Callable[[bytes], Status]:
    def look(data: bytes) -> Status:
        path = tmp_path / "live.asc"
        path.write_bytes(data)
        world.key = f'live = "{path}"'
        return status(world.context)

    return look


def test_the_live_key_is_the_escrowed_one(
    world: World, proven: Record, live: Callable[[bytes], Status]
) -> None:
    found = live(unlocked().public)
    assert (found.live.state, found.code) == ("same", Code.OK)


def test_another_live_key_breaks_the_gate(
    world: World, proven: Record, live: Callable[[bytes], Status]
) -> None:
    found = live(unlocked(ATTACKER).public)
    assert (found.live.state, found.code) == ("replaced", Code.STALE)
    assert any("another key" in line for line in found.broken)


@pytest.mark.parametrize("data", [b"", b"hello", (ASSETS / "ed25519-two-block.asc").read_bytes()[:300]])
def test_a_live_key_that_cannot_be_read_is_unknown_and_breaks_the_gate(
    world: World, proven: Record, live: Callable[[bytes], Status], data: bytes
) -> None:
    found = live(data)
    assert (found.live.state, found.code) == ("unknown", Code.STALE)
    assert found.live.reason


def test_a_live_key_that_is_not_there_is_unknown_and_told(world: World, proven: Record) -> None:
    world.key = 'live = "/nowhere/live.asc"'
    assert status(world.context).live.state == "unknown"
    assert any("/nowhere/live.asc" in line for line in world.lines)


def test_a_live_key_in_a_pipe_is_not_waited_for(world: World, proven: Record, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    world.key = f'live = "{tmp_path}/pipe"'
    found = status(world.context)
    assert (found.live.state, "not a regular file" in str(found.live.reason)) == ("unknown", True)


def test_a_key_that_renewed_itself_since_makes_the_escrow_stale(tmp_path: Path) -> None:
    class Renewed(World):
        @property
        def fingerprint(self) -> str:
            return unlocked("renewed").fingerprint

    from pipeline.openpgp.key import rewrap
    from pipeline.record import create
    from tests.support.inmemory import EXPORT_PASSPHRASE

    world = Renewed(tmp_path / "state")
    old = rewrap.unlock((ASSETS / "expired-two-block.asc").read_bytes(), EXPORT_PASSPHRASE)
    context = world.context
    made = world.store(
        create.create_record(old, world.plan(), now=context.clock.now(), deadline=context.deadline)
    )
    context.journal.begin(made.epoch, None).mark_proven(
        {"record_sha256": made.sha256.hex, "at": stamp(context.clock.now())}
    )
    path = tmp_path / "live.asc"
    path.write_bytes(unlocked("renewed").public)
    world.key = f'live = "{path}"'
    found = status(world.context)
    assert (found.live.state, found.code) == ("renewed", Code.STALE)
    assert any("`orgkey refresh` stores them" in line for line in found.broken)


def test_a_monitor_is_told_of_what_is_broken_though_a_target_is_silent(world: World, proven: Record) -> None:
    world.targets["a"].failures["find"] = unreachable("target a")
    silent = status(world.context)
    assert PluginState.of(nagios.judged(silent, silent.code)) is PluginState.UNKNOWN
    world.policy = "max_age_days = 0.000001\n"
    world.clock.shift += timedelta(hours=1)
    late = status(world.context)
    assert PluginState.of(late.code) is PluginState.UNKNOWN
    assert PluginState.of(nagios.judged(late, late.code)) is PluginState.CRITICAL


def test_a_monitor_is_told_of_another_live_key_and_of_nothing_stored_though_somebody_is_silent(
    world: World, live: Callable[[bytes], Status]
) -> None:
    world.holders["aws"].failures["describe"] = unreachable("holder aws")
    empty = status(world.context)
    assert empty.code is Code.UNREACHABLE
    assert PluginState.of(nagios.judged(empty, empty.code)) is PluginState.CRITICAL
    world.holders["aws"].failures.clear()
    world.store(world.mint())
    drill(world.context, DrillRequest())
    world.targets["a"].failures["find"] = unreachable("target a")
    for data, state in (
        (b"nothing", PluginState.UNKNOWN),
        (unlocked(ATTACKER).public, PluginState.CRITICAL),
    ):
        found = live(data)
        assert PluginState.of(nagios.judged(found, found.code)) is state
