from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.archive import journal
from pipeline.core.errors import (
    Code,
    Conflict,
    DeadlinePassed,
    Denied,
    IntegrityProblem,
    LocalFilesProblem,
    Locked,
    NotPinned,
    OrgkeyError,
    Stale,
    Unreachable,
    UsageProblem,
    WrongPassphrase,
)
from pipeline.core.secret import Secret
from pipeline.evidence.ledger.events import EscrowEvent, RotateEvent
from pipeline.openpgp.key import rewrap
from pipeline.storage.interface import Slot
from pipeline.unseal.unseal import recover_passphrase
from pipeline.workflows.escrow import EscrowOptions, escrow, rehearse
from pipeline.workflows.inbox_state import InboxOutcome, InboxState
from pipeline.workflows.publish import PublishedEpoch
from pipeline.workflows.restore import FoundRecord, RestoreRequest, restore
from pipeline.workflows.rotate import RotationRequest, rotate
from tests.support.inmemory import (
    ATTACKER,
    EXPORT_PASSPHRASE,
    MemoryEstate,
    MemoryHolder,
    MemoryTarget,
    World,
    attackers,
    denied,
    export,
    named,
    slot_of,
    unlocked,
    unreachable,
)
from tests.support.openpgp_writer import PASSPHRASE


def run(world: World, *, with_drill: bool = False, data: bytes | None = None, **more: Any) -> PublishedEpoch:
    return escrow(
        world.context, export() if data is None else data, more.pop("passphrase", EXPORT_PASSPHRASE),
        EscrowOptions(with_drill=with_drill, **more),
    )  # fmt: skip


def stored(world: World) -> dict[str, set[str]]:
    """What lies at each target, by epoch."""
    return {name: {slot.epoch for slot in target.places} for name, target in world.targets.items()}


def last(world: World) -> dict[str, Any]:
    return dict(world.context.ledger.entries()[-1].document)


def failed(world: World, kind: type[OrgkeyError], **more: Any) -> OrgkeyError:
    with pytest.raises(kind) as caught:
        run(world, **more)
    assert last(world)["event"] == "escrow-failed"
    assert last(world)["details"]["code"] == int(caught.value.code)
    assert last(world)["details"]["name"] == caught.value.code.label
    return caught.value


# -- the good case -----------------------------------------------------------------------------------


def test_an_export_becomes_identical_copies_that_are_proven(world: World) -> None:
    done = run(world, with_drill=True)
    assert (done.code, done.proven, done.resumed, done.already) == (Code.OK, True, False, False)
    assert {target.get(slot_of(done.record)) for target in world.targets.values()} == {done.record.data}
    assert done.drill is not None
    assert done.drill.passed
    assert {result.copy for result in done.drill.results} == {"a", "b", "c"}
    assert world.events() == ["drill", "escrow"]
    assert last(world)["details"] == {
        "epoch": done.record.epoch, "record_sha256": done.record.sha256.hex, "accepted": [], "code": 0,
        "plan": done.record.manifest.plan,
        "copies": {
            name: {"location": receipt.location, "version": "1"}
            for name, receipt in done.written.receipts.items()
        },
        "failures": {}, "resumed": False, "already": False, "proven": True,
        "accepted_custody_change": False, "custodians": [],
    }  # fmt: skip


def test_the_closing_drill_logs_in_as_the_driller(world: World) -> None:
    run(world, with_drill=True)
    assert world.roles[0] == "writer"
    assert world.roles[-1] == "driller"


def test_after_the_proof_the_sealed_record_is_gone_from_this_host(world: World) -> None:
    done = run(world, with_drill=True)
    entry = world.context.journal.entry(done.record.epoch)
    assert entry is not None
    assert entry.record_bytes() is None
    assert set(entry.receipts()) == {"a", "b", "c"}


def test_what_was_escrowed_is_what_was_exported(world: World, tmp_path: Path) -> None:
    done = run(world)
    out = tmp_path / "key.asc"
    restore(
        FoundRecord(done.record, "a"), RestoreRequest(out), MemoryEstate(world), lambda: Secret("mine"),
        world.context.deadline,
    )  # fmt: skip
    assert rewrap.unlock(out.read_bytes(), Secret("mine")).key_state == unlocked().key_state


def test_nothing_secret_stays_in_the_state_directory_or_is_said(world: World) -> None:
    done = run(world)
    raw = recover_passphrase(done.record, "unattended", dict(world.holders)).reveal()
    kept = b"\n".join(path.read_bytes() for path in world.root.rglob("*") if path.is_file())
    for needle in (raw, raw.hex().encode(), PASSPHRASE):
        assert needle not in kept
        assert needle not in "\n".join(world.lines).encode()


# -- again -----------------------------------------------------------------------------------------


def test_the_same_key_again_is_already_there(world: World) -> None:
    first = run(world, with_drill=True)
    for holder in world.holders.values():
        holder.calls.clear()
    again = run(world, with_drill=True)
    assert (again.already, again.resumed, again.proven, again.code) == (True, False, True, Code.OK)
    assert again.record == first.record
    assert again.drill is None, "it was proven before"
    assert all("seal" not in holder.calls for holder in world.holders.values())
    assert len({epoch for epochs in stored(world).values() for epoch in epochs}) == 1


def test_with_lost_state_it_is_still_found_at_the_targets(world: World) -> None:
    first = run(world)
    shutil.rmtree(world.root)
    again = run(world)
    assert (again.already, again.record) == (True, first.record)
    assert set(again.written.receipts) == {"a", "b", "c"}
    assert {receipt.version for receipt in again.written.receipts.values()} == {"1"}


def test_a_missing_copy_is_written_by_the_next_run(world: World) -> None:
    first = run(world)
    shutil.rmtree(world.root)
    del world.targets["c"].places[slot_of(first.record)]
    again = run(world)
    assert (again.already, again.code) == (True, Code.OK)
    assert world.targets["c"].get(slot_of(first.record)) == first.record.data


def test_a_damaged_copy_is_repaired_beside_by_the_next_run(world: World) -> None:
    first = run(world, with_drill=True)
    world.targets["c"].damage(slot_of(first.record))
    again = run(world)
    assert (again.already, again.code) == (True, Code.OK)
    assert again.written.receipts["c"].slot == f"{first.record.epoch}-r1"


def test_a_new_target_gets_the_same_bytes(world: World) -> None:
    first = run(world)
    world.targets["d"] = MemoryTarget("d")
    again = run(world)
    assert again.record == first.record
    assert world.targets["d"].get(slot_of(first.record)) == first.record.data


def test_the_same_key_under_other_salts_is_the_same_key(world: World) -> None:
    first = run(world)
    other = Secret("other words")
    rewrapped = unlocked().protect(other, s2k_count_octet=0x60)
    again = run(world, data=rewrapped, passphrase=other)
    assert (again.resumed or again.already, again.record.epoch) == (True, first.record.epoch)


def test_a_key_with_newer_signatures_becomes_a_new_epoch_that_names_the_former(tmp_path: Path) -> None:
    from tests.support import inmemory

    class Renewed(World):
        @property
        def fingerprint(self) -> str:
            return unlocked("renewed").fingerprint

    world = Renewed(tmp_path / "state")
    old = (inmemory.ASSETS / "expired-two-block.asc").read_bytes()
    first = run(world, data=old, accept=frozenset({"expired"}))
    assert last(world)["details"]["accepted"] == ["expired"]
    second = run(world, data=export("renewed"))
    assert second.record.epoch != first.record.epoch
    previous = second.record.manifest.previous
    assert previous is not None
    assert (previous.epoch, previous.sha256) == (first.record.epoch, first.record.sha256.hex)


# -- interrupted -----------------------------------------------------------------------------------


class Killed(BaseException):
    """As a SIGKILL: nothing after it runs."""


def killed(*args: object, **more: object) -> None:
    raise Killed


def killed_after(world: World, puts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run until some copies are written and remembered, then die."""
    real = journal.JournalEntry.add_receipt
    told: list[str] = []

    def add(self: journal.JournalEntry, receipt: Any) -> None:
        if len(told) == puts:
            raise Killed
        told.append(receipt.target)
        real(self, receipt)

    with monkeypatch.context() as patch:
        patch.setattr(journal.JournalEntry, "add_receipt", add)
        with pytest.raises(Killed):
            run(world)


@pytest.mark.parametrize("puts", [0, 1, 2])
def test_an_interrupted_run_is_finished_with_the_same_bytes(
    world: World, puts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_after(world, puts, monkeypatch)
    (entry,) = world.context.journal.entries()
    sealed = entry.record_bytes()
    done = run(world)
    assert (done.resumed, done.already, done.code) == (True, False, Code.OK)
    assert done.record.data == sealed
    assert stored(world) == {name: {done.record.epoch} for name in "abc"}


@pytest.mark.parametrize("after", [run, lambda world: rotate(world.context, RotationRequest("it was time"))])
def test_a_rotation_that_was_killed_before_its_entry_has_one(
    world: World, after: Callable[[World], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(world, with_drill=True).record.epoch
    world.clock.shift = timedelta(seconds=5)
    with monkeypatch.context() as patch:
        patch.setattr(RotateEvent, "__init__", killed)
        with pytest.raises(Killed):
            rotate(world.context, RotationRequest("it was time"))
    world.clock.shift = timedelta(seconds=10)
    newest = world.context.journal.entries()[-1].epoch
    assert newest != first
    after(world)
    (entry,) = (item for item in world.context.ledger.entries() if item.details.get("epoch") == newest
                and item.event == "rotate")  # fmt: skip
    assert (entry.details["supersedes"], entry.details["reason"][:9]) == (first, "not known")


def test_copies_of_an_interrupted_run_count_by_the_domains_of_today(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_after(world, 2, monkeypatch)
    world.targets["b"].domain = "a"
    world.targets["c"].failures["put"] = unreachable("c")
    done = run(world)
    assert (set(done.written.receipts), done.code) == ({"a", "b"}, Code.UNREACHABLE)


def test_a_run_killed_before_the_journal_starts_anew(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(journal.Journal, "begin", killed)
        with pytest.raises(Killed):
            run(world)
    assert stored(world) == {"a": set(), "b": set(), "c": set()}
    done = run(world)
    assert (done.resumed, done.code) == (False, Code.OK)


def test_an_interrupted_run_of_another_plan_is_not_resumed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_after(world, 0, monkeypatch)
    (entry,) = world.context.journal.entries()
    for target in world.targets.values():
        target.places.clear()
    world.holders["aws"] = MemoryHolder("aws")
    world.holders["aws"].where = "elsewhere"
    assert entry.epoch in failed(world, Stale).message, "it is nowhere but in the journal"
    done = run(world, accept_custody_change=True)
    assert not done.resumed
    assert done.record.epoch != entry.epoch


@pytest.mark.parametrize("elsewhere", [False, True])
def test_what_was_left_before_a_newer_epoch_is_not_taken_up_again(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, elsewhere: bool
) -> None:
    """It would be told as stored and proven, and the newer one, of another plan, would stay the latest."""
    killed_after(world, 0, monkeypatch)
    (left,) = world.context.journal.entries()
    for target in world.targets.values():
        target.places.clear()
    world.holders["aws"].where = "elsewhere"
    world.clock.shift = timedelta(seconds=5)
    host = replace(world, root=tmp_path / "another host") if elsewhere else world
    newer = run(host, accept_custody_change=True, with_drill=True)
    assert (newer.code, newer.proven) == (Code.OK, True)
    world.holders["aws"].where = "memory:aws"
    assert newer.record.epoch in failed(world, Stale).message
    assert left.epoch < newer.record.epoch


def test_a_clock_that_was_set_back_does_not_make_a_rotation_the_older_epoch(world: World) -> None:
    world.clock.shift = timedelta(minutes=10)
    first = run(world, with_drill=True)
    world.clock.shift = timedelta()
    done = rotate(world.context, RotationRequest("it was time"))
    assert done.stored.code is Code.OK
    assert done.stored.record.manifest.created == first.record.manifest.created + timedelta(seconds=1)
    assert world.context.archive("driller").catalog().record() == done.stored.record


def test_a_damaged_sealed_record_in_the_journal_is_a_local_problem(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_after(world, 1, monkeypatch)
    (entry,) = world.context.journal.entries()
    (entry.path / "record.tar").write_bytes(b"half")
    problem = failed(world, LocalFilesProblem)
    assert "rebuilt from the targets" in problem.hint


# -- another plan ----------------------------------------------------------------------------------


def test_a_changed_plan_is_stale_and_names_the_command(world: World) -> None:
    run(world, with_drill=True)
    world.holders["aws"].where = "another account"
    before = stored(world)
    problem = failed(world, Stale)
    assert problem.code is Code.STALE
    assert "custody rotate" in problem.hint
    assert stored(world) == before


def a_new_prefix(world: World) -> None:
    world.targets = named(*world.targets)


def no_listing(world: World) -> None:
    for target in world.targets.values():
        target.failures["find"] = denied(target.name)


def a_lost_ledger(world: World) -> None:
    """The journal still knows it."""
    a_new_prefix(world)
    shutil.rmtree(world.context.ledger.directory)


def a_lost_journal(world: World) -> None:
    a_new_prefix(world)
    shutil.rmtree(world.root / world.fingerprint / "journal")


@pytest.mark.parametrize("with_drill", [True, False])
@pytest.mark.parametrize("hidden", [a_new_prefix, no_listing, a_lost_ledger, a_lost_journal])
def test_a_changed_plan_is_refused_also_where_the_last_epoch_cannot_be_read(
    hidden: Callable[[World], None], with_drill: bool, world: World
) -> None:
    first = run(world, with_drill=with_drill)
    hidden(world)
    world.holders["aws"].where = "a stranger's account"
    before = stored(world)
    with pytest.raises(OrgkeyError) as caught:
        run(world)
    assert caught.value.code in ({Code.STALE} if hidden is not no_listing else {Code.STALE, Code.DENIED})
    assert stored(world) == before, "no share of a stranger was stored anywhere"
    if hidden is not no_listing:
        assert first.record.epoch in caught.value.message
        done = run(world, accept_custody_change=True)
        assert done.record.epoch != first.record.epoch


def test_who_insists_on_a_new_epoch_still_names_a_plan_that_cannot_be_compared(world: World) -> None:
    """On a host that knows nothing, over records that nobody can read."""
    run(world)
    shutil.rmtree(world.root / world.fingerprint)
    world.clock.shift = timedelta(seconds=5)
    for target in world.targets.values():
        target.failures["get"] = denied(target.name)
    assert failed(world, Denied).code is Code.DENIED
    assert "--accept-custody-change" in failed(world, Stale, new_epoch=True).hint


def test_the_same_plan_goes_on_at_another_place(world: World) -> None:
    first = run(world, with_drill=True)
    world.clock.shift = timedelta(seconds=5)
    a_new_prefix(world)
    assert run(world).record.epoch != first.record.epoch


def test_what_was_known_without_its_plan_is_not_taken_for_nothing(world: World) -> None:
    """As a ledger of version 0.1 tells of an epoch."""
    world.enter("escrow", {"epoch": "20260101T000000Z-00000000", "code": 0})
    problem = failed(world, Stale)
    assert "20260101T000000Z-00000000" in problem.message
    assert "--accept-custody-change" in problem.hint
    for odd in ({}, {"epoch": 7}, {"epoch": "x"}, {"epoch": None, "plan": 3}):
        other = World(world.root / f"other-{len(str(odd))}")
        other.enter("escrow", odd)
        assert run(other).record


def test_a_plan_is_compared_with_the_newest_epoch_also_of_a_former_key(world: World) -> None:
    former = "AB" * 20
    world.key = f'former = ["{former}"]'
    other = world.context.of(former)
    other.record_event(EscrowEvent(epoch="20260101T000000Z-00000000", plan="0" * 64))
    assert "20260101T000000Z-00000000" in failed(world, Stale).message


def test_one_party_that_could_do_it_alone_is_refused_before_anything(world: World) -> None:
    class OneParty(World):
        @property
        def config(self) -> Any:
            from pipeline import config

            text = CONFIG_ONE.format(fingerprint=self.fingerprint, policy=self.policy)
            return config.parse(text.encode(), Path("one.toml"))

    one = OneParty(world.root)
    with pytest.raises(UsageProblem, match=r"one party alone.*acme"):
        run(one)
    assert stored(one) == {"a": set(), "b": set(), "c": set()}
    assert one.events() == ["escrow-failed"], "a refusal is entered, and nothing else is left"
    assert one.context.journal.entries() == []
    one.policy = "accept_single_party = true"
    assert run(one).code is Code.OK


CONFIG_ONE = """
[key]
fingerprint = "{fingerprint}"
[target.a]
kind = "directory"
path = "/nowhere"
controlled_by = ["acme"]
[holder.vault]
kind = "vault-transit"
address = "https://vault.example.com"
controlled_by = ["acme"]
[holder.aws]
kind = "aws-kms"
key_id = "alias/none"
controlled_by = ["acme", "other"]
[path.unattended]
needs = ["vault", "aws"]
[policy]
copies = 1
{policy}
"""


# -- targets that fail -----------------------------------------------------------------------------


def test_enough_copies_are_degraded_and_proven(world: World) -> None:
    world.targets["b"].failures["put"] = unreachable("b")
    done = run(world, with_drill=True)
    assert (done.code, done.proven) == (Code.DEGRADED, True)
    assert set(done.written.failures) == {"b"}
    assert last(world)["details"]["failures"] == {"b": 20}
    assert last(world)["details"]["code"] == 24
    del world.targets["b"].failures["put"]
    again = run(world)
    assert again.code is Code.OK
    assert world.targets["b"].get(slot_of(done.record)) == done.record.data


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (unreachable(), Code.UNREACHABLE),
        (denied(), Code.DENIED),
        (DeadlinePassed("too late", hint="again"), Code.DEADLINE),
    ],
)
def test_too_few_copies_end_with_the_cause_and_nothing_proven(
    world: World, error: OrgkeyError, code: Code
) -> None:
    world.targets["b"].failures["put"] = error
    world.targets["c"].failures["put"] = error
    done = run(world, with_drill=True)
    assert (done.code, done.proven, done.drill) == (code, False, None)
    assert last(world)["details"]["proven"] is False
    assert last(world)["details"]["code"] == int(code)
    entry = world.context.journal.entry(done.record.epoch)
    assert entry is not None
    assert entry.record_bytes() == done.record.data, "the next run resumes it"
    for name in "bc":
        world.targets[name].failures.clear()
    again = run(world)
    assert (again.resumed, again.code, again.record) == (True, Code.OK, done.record)


def test_copies_count_by_failure_domain(world: World) -> None:
    world.targets["b"].domain = "a"
    world.targets["c"].failures["put"] = unreachable("c")
    done = run(world, with_drill=True)
    assert (done.code, done.proven) == (Code.UNREACHABLE, False)


def test_a_target_that_returns_other_bytes_does_not_count(world: World) -> None:
    world.targets["b"].garble = world.targets["c"].garble = True
    done = run(world, with_drill=True)
    assert (done.code, done.proven) == (Code.INTEGRITY, False)
    assert isinstance(done.written.failures["b"], IntegrityProblem)


def test_a_place_that_holds_something_else_is_a_conflict(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = MemoryTarget.put

    def taken(self: MemoryTarget, slot: Slot, data: bytes) -> Any:
        if self.name in "bc" and slot not in self.places:
            self.plant(slot, b"somebody was here first")
        return real(self, slot, data)

    monkeypatch.setattr(MemoryTarget, "put", taken)
    done = run(world)
    assert done.code is Code.CONFLICT
    assert isinstance(done.written.failures["b"], Conflict)
    assert world.targets["b"].get(slot_of(done.record)) == b"somebody was here first"


def test_a_lost_answer_is_found_by_the_next_run(world: World) -> None:
    for target in world.targets.values():
        target.lost_answers = 1
    done = run(world)
    assert done.code is Code.UNREACHABLE
    again = run(world)
    assert (again.resumed, again.code) == (True, Code.OK)
    assert all(len(target.places) == 1 for target in world.targets.values())


def test_targets_that_cannot_be_listed_are_left_for_the_writing_to_report(world: World) -> None:
    world.targets["b"].failures |= {"find": unreachable("b"), "put": unreachable("b")}
    assert run(world).code is Code.DEGRADED


# -- holders that fail -----------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["describe", "seal", "open"])
@pytest.mark.parametrize("error", [unreachable("holder aws"), denied("holder aws")])
def test_a_holder_that_fails_stops_it_before_any_target_is_written(
    world: World, call: str, error: OrgkeyError
) -> None:
    world.holders["aws"].failures[call] = error
    problem = failed(world, type(error))
    assert isinstance(problem, Unreachable | Denied)
    assert stored(world) == {"a": set(), "b": set(), "c": set()}
    assert world.context.journal.entries() == []


def test_a_holder_that_is_down_in_the_closing_drill_leaves_it_unproven(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = MemoryHolder.open
    opened: list[str] = []

    def tires(self: MemoryHolder, *given: Any) -> Secret:
        opened.append(self.name)
        if len(opened) > 2:
            raise unreachable(f"holder {self.name}")
        return real(self, *given)

    monkeypatch.setattr(MemoryHolder, "open", tires)
    done = run(world, with_drill=True)
    assert (done.code, done.proven) == (Code.UNREACHABLE, False)
    assert world.events() == ["drill-failed", "escrow"]


# -- the export ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "phrase", "kind"),
    [
        (export(), Secret("not this one"), WrongPassphrase),
        (export(ATTACKER), EXPORT_PASSPHRASE, NotPinned),
        (b"", EXPORT_PASSPHRASE, OrgkeyError),
        (b"hello", EXPORT_PASSPHRASE, OrgkeyError),
        (export()[: len(export()) // 2], EXPORT_PASSPHRASE, OrgkeyError),
    ],
)
def test_bad_input_is_refused_loses_nothing_and_is_remembered(
    world: World, data: bytes, phrase: Secret, kind: type[OrgkeyError]
) -> None:
    problem = failed(world, kind, data=data, passphrase=phrase)
    assert phrase.text() not in json.dumps([item.document for item in world.context.ledger.entries()])
    assert problem.hint
    assert stored(world) == {"a": set(), "b": set(), "c": set()}


def test_a_refusal_does_not_touch_what_is_stored(world: World) -> None:
    run(world, with_drill=True)
    before = {name: dict(target.places) for name, target in world.targets.items()}
    failed(world, WrongPassphrase, passphrase=Secret("not this one"))
    assert {name: dict(target.places) for name, target in world.targets.items()} == before


# -- the attacker, the host -------------------------------------------------------------------------


def test_an_attackers_record_is_neither_taken_for_ours_nor_followed(world: World) -> None:
    made = world.mint()
    for target in world.targets.values():
        target.plant(
            Slot(made.fingerprint, f"20990101T000000Z-{made.manifest.record_id[:8]}"), attackers(made)
        )
    done = run(world)
    assert (done.already, done.code) == (False, Code.OK)
    assert done.record.manifest.previous is None


def test_another_run_on_this_key_is_kept_out(world: World) -> None:
    with journal.lock(world.context.root), pytest.raises(Locked):
        run(world)
    assert stored(world) == {"a": set(), "b": set(), "c": set()}


@pytest.mark.parametrize("later", [-5, 5], ids=["the-own-one-is-newer", "the-other-one-is-newer"])
def test_two_hosts_make_two_complete_epochs_that_are_both_valid(
    world: World, make_world: Callable[[str], World], later: int
) -> None:
    other = make_world("other")
    other.holders = world.holders
    other.clock.shift = timedelta(seconds=later)
    one, two = run(world), run(other)
    for name, target in other.targets.items():
        world.targets[name].places.update(target.places)
    assert one.record.epoch != two.record.epoch
    world.clock.shift = timedelta(seconds=10)
    again = run(world, with_drill=True)
    newer = max(one.record.epoch, two.record.epoch)
    assert (again.code, again.already, again.record.epoch) == (Code.OK, True, newer)


@pytest.mark.parametrize("when", ["journal", "receipt", "ledger"])
def test_a_full_disk_is_code_3_and_the_next_run_ends_well(
    world: World, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync
    from pipeline.core import files

    place = {"journal": "record.tar", "receipt": "receipts", "ledger": "ledger"}[when]

    def full(path: Path, data: bytes, *, mode: int, replace: bool) -> None:
        if place in str(path):
            raise LocalFilesProblem(f"cannot write {path}: No space left on device", hint="make room")
        written(path, data, mode=mode, replace=replace)

    written = files._write
    with monkeypatch.context() as patch:
        patch.setattr(files, "_write", full)
        with pytest.raises(LocalFilesProblem) as caught:
            run(world)
        assert caught.value.code is Code.LOCAL_FILES
    assert real is os.fsync
    done = run(world, with_drill=True)
    assert (done.code, done.proven) == (Code.OK, True)
    assert len({epoch for epochs in stored(world).values() for epoch in epochs}) == 1


def test_a_ledger_that_cannot_be_written_does_not_hide_why_the_escrow_failed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.context.journal.begin("20000101T000000Z-00000000", None)
    (world.context.root / "ledger").write_text("in the way")
    with pytest.raises(WrongPassphrase):
        run(world, passphrase=Secret("not this one"))
    assert any("ledger" in line for line in world.lines)


# -- a rehearsal -----------------------------------------------------------------------------------


def rehearsed(world: World) -> tuple[str, str | None]:
    done = rehearse(world.context, export(), EXPORT_PASSPHRASE)
    return done.action, done.epoch


def test_a_rehearsal_tells_what_would_be_done_and_changes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert rehearsed(world) == ("make a new epoch", None)
    assert not world.root.exists()
    assert all(target.places == {} for target in world.targets.values())
    assert all("seal" not in holder.calls for holder in world.holders.values())
    killed_after(world, 1, monkeypatch)
    action, epoch = rehearsed(world)
    assert action.startswith("resume")
    done = run(world, with_drill=True)
    assert epoch == done.record.epoch
    before = sorted(world.root.rglob("*"))
    action, epoch = rehearsed(world)
    assert action.startswith("check the stored epoch")
    assert epoch == done.record.epoch
    assert sorted(world.root.rglob("*")) == before


def test_a_rehearsal_refuses_what_the_escrow_would(world: World) -> None:
    run(world)
    world.holders["aws"].where = "another account"
    shutil.rmtree(world.root)
    with pytest.raises(Stale):
        rehearsed(world)
    with pytest.raises(WrongPassphrase):
        rehearse(world.context, export(), Secret("not this one"))
    assert not world.root.exists()


# -- one export, round after round -------------------------------------------------------------------


@pytest.fixture
def inbox(world: World, tmp_path: Path) -> World:
    """A world whose exports come by an inbox."""
    (tmp_path / "passphrase").write_text("one")
    world.policy += (
        f'[source]\nkind = "inbox"\npath = {json.dumps(str(tmp_path))}\n'
        f"passphrase_file = {json.dumps(str(tmp_path / 'passphrase'))}\n"
    )
    return world


def round_of(
    world: World, data: bytes | None = None, passphrase: Secret = EXPORT_PASSPHRASE
) -> InboxOutcome | None:
    """A round of a process of its own; what kept it from trying."""
    inbox_state = InboxState(world.context, data or export())
    if held := inbox_state.held():
        return held
    with suppress(OrgkeyError):
        escrow(inbox_state.scope(), data or export(), passphrase)
    return None


def test_a_wrong_passphrase_is_entered_once_and_tried_again_when_something_changed(
    inbox: World, tmp_path: Path
) -> None:
    wrong = Secret("wrong")
    assert round_of(inbox, passphrase=wrong) is None
    for _ in range(3):
        held = round_of(inbox, passphrase=wrong)
        assert held is not None
        assert (held.code, held.epoch) == (Code.WRONG_PASSPHRASE, None)
        assert "passphrase" in held.message
    assert inbox.events() == ["escrow-failed"]
    for change in (
        lambda: (tmp_path / "passphrase").write_text("another"),
        lambda: setattr(inbox, "copies", 1),
    ):
        change()
        assert round_of(inbox, passphrase=wrong) is None, "tried again"
        assert round_of(inbox, passphrase=wrong) is not None
    assert inbox.events() == ["escrow-failed"] * 2, "the passphrase's file alone makes no other outcome"
    assert round_of(inbox, export(ATTACKER)) is None, "another export is another story"
    assert inbox.events() == ["escrow-failed"] * 3
    (tmp_path / "passphrase").write_text("the right one, at last")
    assert round_of(inbox) is None
    assert inbox.events()[-1] == "escrow"


def test_a_passphrase_that_a_command_gives_may_be_another_next_time(world: World, tmp_path: Path) -> None:
    world.policy += (
        f'[source]\nkind = "inbox"\npath = {json.dumps(str(tmp_path))}\npassphrase_command = ["x"]\n'
    )
    for _ in range(3):
        assert round_of(world, passphrase=Secret("wrong")) is None
    assert world.events() == ["escrow-failed"]


def test_what_servers_are_to_blame_for_is_tried_each_round_and_entered_when_it_changes(inbox: World) -> None:
    def fail(what: OrgkeyError) -> None:
        for target in inbox.targets.values():
            target.failures = {"find": what, "put": what}

    for port in (40001, 40002):  # a message may differ by what says nothing
        fail(Unreachable(f"nothing came from port {port}", hint="look", again=False))
        assert round_of(inbox) is None
    before = inbox.events()
    assert before == ["escrow-failed"], "nothing is minted over a history that was not read"
    fail(denied())
    for _ in range(2):
        assert round_of(inbox) is None
    assert inbox.events() == ["escrow-failed"] * 2
    for target in inbox.targets.values():
        target.failures.clear()
    assert round_of(inbox) is None
    assert last(inbox)["details"]["proven"] is True


def test_a_record_that_only_people_can_prove_waits_for_them(inbox: World) -> None:
    for holder in inbox.holders.values():
        holder.unattended = False
    assert round_of(inbox) is None
    assert (inbox.events(), last(inbox)["details"]["code"]) == (["escrow"], int(Code.DEGRADED))
    asked = [len(target.calls) for target in inbox.targets.values()]
    for _ in range(3):
        held = round_of(inbox)
        assert held is not None
        assert (held.code, held.epoch) == (Code.DEGRADED, last(inbox)["details"]["epoch"])
    assert [len(target.calls) for target in inbox.targets.values()] == asked
    entry = inbox.context.journal.entry(last(inbox)["details"]["epoch"])
    assert entry is not None
    entry.mark_proven({"paths": ["custodians"]})  # as their ceremony does
    assert round_of(inbox) is None
    assert inbox.events() == ["escrow", "escrow"]
    assert last(inbox)["details"]["proven"] is True


def test_a_record_that_misses_a_copy_does_not_wait(inbox: World) -> None:
    for holder in inbox.holders.values():
        holder.unattended = False
    inbox.targets["c"].failures["put"] = unreachable()
    for _ in range(3):
        assert round_of(inbox) is None
    assert inbox.events() == ["escrow"]


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"schema": "orgkey.arrival/1"}', b"\xff"])
def test_a_damaged_memory_of_rounds_is_no_memory(inbox: World, content: bytes) -> None:
    assert round_of(inbox, passphrase=Secret("wrong")) is None
    (inbox.context.root / "arrival.json").write_bytes(content)
    assert round_of(inbox, passphrase=Secret("wrong")) is None
    assert inbox.events() == ["escrow-failed"] * 2


def test_an_export_that_was_put_aside_is_forgotten(inbox: World) -> None:
    for _ in range(2):
        assert round_of(inbox) is None
        InboxState(inbox.context, export()).forget()
    assert inbox.events().count("escrow") == 2


# -- what is stored already, and was not read -------------------------------------------------------


@pytest.mark.parametrize("error", [unreachable("it"), denied("it")])
def test_nothing_is_minted_over_an_epoch_that_is_listed_and_was_not_read(
    world: World, make_world: Callable[[str], World], error: OrgkeyError
) -> None:
    made = run(world).record
    other = make_world("other")
    other.targets, other.holders = world.targets, world.holders
    for target in world.targets.values():
        target.failures["get"] = error
    with pytest.raises(OrgkeyError, match=f"epoch {made.epoch} is listed, but could not be read") as caught:
        run(other)
    assert caught.value.code is error.code
    assert "--new-epoch" in caught.value.hint
    assert set.union(*stored(world).values()) == {made.epoch}
    with pytest.raises(OrgkeyError, match="could not be read"):
        rehearse(other.context, export(), EXPORT_PASSPHRASE)
    world.targets["b"].failures.clear()
    assert run(other).already, "one copy that is read is enough to know it"


def test_nothing_is_minted_while_too_many_targets_cannot_be_listed(world: World) -> None:
    """An epoch that counts is at two of the three: it shows while one alone is silent."""
    world.targets["a"].failures["find"] = unreachable("a")
    world.targets["b"].failures["find"] = unreachable("b")
    with pytest.raises(Unreachable, match="what is stored already is not known: a does not answer"):
        run(world)
    assert not any(stored(world).values())
    assert world.context.journal.entries() == []
    with pytest.raises(Stale, match="the custody plan cannot be compared"):
        run(world, new_epoch=True)
    done = run(world, new_epoch=True, accept_custody_change=True)
    assert set(done.written.receipts) == {"a", "b", "c"}


def test_one_silent_target_does_not_keep_an_escrow_away(world: World) -> None:
    world.targets["a"].failures = {"find": unreachable("a"), "put": unreachable("a")}
    assert run(world).code is Code.DEGRADED


@pytest.mark.parametrize(
    ("silent", "said"),
    [
        ("abc", "NOT ESCROWED: 0 of 3 copies are stored: "),
        ("ab", "INCOMPLETE: 1 of 3 copies are stored: "),
        ("a", "escrowed, 2 of 3 copies are stored: "),
        ("", "escrowed: "),
    ],
)
def test_nothing_that_is_not_stored_is_called_escrowed(world: World, silent: str, said: str) -> None:
    from pipeline.cli.documents.escrow import EscrowDocument
    from pipeline.cli.escrow_command import lines

    for name in silent:
        world.targets[name].failures["put"] = unreachable(name)
    done = run(world)
    shown = lines(done)
    assert shown[0].startswith(said)
    assert not any("stored, not proven" in line for line in shown)
    assert [line for line in shown if line.endswith(": look at its network")] == [
        f"{name}: look at its network" for name in silent
    ]
    failed = [item for item in EscrowDocument.about(done).copies if not item.verified]
    assert all(item.error and item.error.hint for item in failed)


def test_a_record_that_one_target_does_not_take_is_written_nowhere(world: World) -> None:
    """A large photo on the key: noticed before another target locks its copy for years."""
    world.targets["b"].largest = 1000
    with pytest.raises(UsageProblem, match=r"bytes, and the target b takes 1,000"):
        run(world)
    assert not any("put" in target.calls for target in world.targets.values())
    assert world.context.journal.entries() == []
    world.targets["b"].largest = 1 << 20
    assert run(world).code is Code.OK
