"""Entries of other hosts are told; what decides proves itself, and what is malformed is skipped and named."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import Code
from pipeline.custody.holders.interface import Binding
from pipeline.custody.shares import commitments, witness
from pipeline.custody.shares.recover import open_share
from pipeline.evidence.ledger import drill_history as history
from pipeline.evidence.ledger.drill_history import Witnessed
from pipeline.evidence.ledger.entry import sense
from pipeline.evidence.ledger.witnessed import sign
from pipeline.monitoring.status import status
from pipeline.report.build import build
from pipeline.report.drill_facts import ProofState
from pipeline.report.formats import csv, html, oscal
from pipeline.unseal.unseal import recover_passphrase
from pipeline.workflows import checkin
from pipeline.workflows.checkin import Seat
from pipeline.workflows.drill import DrillRequest, drill
from tests.support.drilled import drilled
from tests.support.inmemory import MemoryMirror, World, denied

POLICY = "max_drill_age_days = 400\nmax_copy_drill_age_days = 8\n"


@pytest.fixture
def told(world: World) -> World:
    """A complete epoch, drilled a moment ago; the ledger has one entry."""
    return drilled(world, POLICY)


def details(world: World) -> dict[str, Any]:
    """What the first entry says, to forge others from."""
    return copy.deepcopy(dict(world.context.ledger.entries()[0].details))


def stale(world: World) -> bool:
    return any(" restored " in text for text in status(world.context).broken)


def test_a_drill_that_nobody_made_keeps_no_gate_green(told: World) -> None:
    told.clock.shift = timedelta(days=9)
    assert stale(told)
    forged = details(told)
    del forged["witnessed"]
    told.enter("drill", forged)
    assert stale(told), "without a signature"
    told.enter("drill", details(told))
    assert stale(told), "an old one, written again with a new time"
    forged = details(told)
    forged["witnessed"][0]["at"] = "2099-01-01T00:00:00Z"
    told.enter("drill", forged)
    assert stale(told), "another time than was signed"
    found = build(told.context).report
    assert {cell.state for cell in found.matrix} == {ProofState.OVERDUE}
    assert found.runs == (1, 0)
    assert any("do not count: 6" in text for text in status(told.context).warned)
    told.clock.shift += timedelta(seconds=2)
    assert drill(told.context, DrillRequest()).code is Code.OK
    assert not stale(told)


def test_another_host_s_drill_counts_by_its_witness(told: World, make_world: Callable[[str], World]) -> None:
    other = make_world("other")
    other.targets, other.holders, other.mirrors = told.targets, told.holders, {"a": MemoryMirror("a")}
    other.clock = told.clock
    told.mirrors = other.mirrors
    told.clock.shift = timedelta(days=9)
    assert drill(other.context, DrillRequest()).code is Code.OK
    assert stale(told)
    told.context.replicator.sync(now=told.clock.now(), run="r", whole=False)
    assert not stale(told)


def test_the_witness_of_another_epoch_vouches_for_none(told: World) -> None:
    """Who could open an older epoch has its witness's key: of the newer one that says nothing."""
    former = told.context.archive("driller").catalog().record()
    raw = recover_passphrase(
        former, "unattended", told.context.backends("driller").openers(former.manifest.custody)
    )
    latest = told.store(told.mint(later=60))
    assert drill(told.context, DrillRequest(epochs={latest.epoch})).code is Code.OK
    told.clock.shift = timedelta(days=9)
    assert stale(told)
    for digest in (latest.sha256.hex, "0" * 64):
        forged = details(told)
        for result in forged["results"]:
            result |= {"epoch": latest.epoch, "record_sha256": digest}
        now = told.clock.now()
        signed = sign(forged["results"], former, raw, now)
        made = Witnessed.of(signed["record_id"], digest, signed["at"], forged["results"])
        signature = witness.sign(raw, made.record_id, made.statement).hex()
        forged["witnessed"] = [signed | {"record_sha256": digest, "signature": signature}]
        told.enter("drill", forged)
        assert stale(told)


def test_a_false_pass_heals_no_failure(told: World) -> None:
    told.holders["aws"].failures["open"] = denied("holder aws")
    told.clock.shift = timedelta(seconds=2)
    drill(told.context, DrillRequest())
    told.holders["aws"].failures.clear()
    told.clock.shift = timedelta(seconds=4)
    forged = details(told)
    told.enter("drill", forged)
    del forged["witnessed"]
    told.enter("drill", forged)
    assert any("the drill of a by unattended failed" in text for text in status(told.context).broken)


# -- check-ins ----------------------------------------------------------------------------------------


@pytest.fixture
def seated(world: World) -> tuple[Seat, Callable[[int], str]]:
    """A machine's share with check codes, as a person's has them; and what answers a challenge."""
    made = world.store(world.mint())
    path = made.manifest.custody.paths[0]
    share = path.shares_of("vault")[0]
    seat = Seat(made, path, share, "openpgp", "Bob")
    words = open_share(
        path, share, made.members, world.holders["vault"], Binding(made.fingerprint, made.manifest.record_id)
    )
    checks = commitments.code_hashes(share.salt, seat.place, words)
    object.__setattr__(share, "checks", checks)
    return seat, lambda number: commitments.code(seat.place, number, words).text()


def check_in(seat: Seat, number: object, code: object) -> dict[str, object]:
    return {
        "epoch": seat.record.epoch, "record_id": seat.record.manifest.record_id, "path": seat.path.name,
        "holder": seat.share.holder, "index": seat.share.index, "custodian": seat.share.label,
        "number": number, "code": code,
    }  # fmt: skip


def test_a_check_in_counts_by_the_code_that_it_reveals(
    world: World, seated: tuple[Seat, Callable[[int], str]]
) -> None:
    seat, answer = seated
    for number, code in ((3, answer(4)), (3, ""), (3, "AAAA-AAAA-AAAA-AAAA"), (64, ""), (-61, answer(3))):
        world.enter("check-in", check_in(seat, number, code))
    assert checkin.accepted(world.context, [seat]) == {}
    world.enter("check-in", check_in(seat, 3, answer(3)))
    first = world.clock.now()
    world.clock.shift = timedelta(days=100)
    world.enter("check-in", check_in(seat, 3, answer(3)))
    (found,) = checkin.accepted(world.context, [seat]).values()
    assert list(found) == [3]
    assert abs(found[3].at - first) < timedelta(minutes=1), "written again, it is not newer"


def test_a_check_in_that_a_wrong_clock_dated_is_overdue_and_told(
    world: World, seated: tuple[Seat, Callable[[int], str]]
) -> None:
    seat, answer = seated
    world.policy = "max_check_in_age_days = 30\n"
    world.clock.shift = timedelta(days=3)
    world.enter("check-in", check_in(seat, 3, answer(3)))
    (there,) = checkin.standings(world.context, seat.record)
    world.clock.shift = timedelta()
    (here,) = checkin.standings(world.context, seat.record)
    assert (there.overdue, here.overdue) == (False, True)


# -- what is malformed -------------------------------------------------------------------------------


MALFORMED: list[tuple[str, dict[str, Any]]] = [
    ("check-in", {}),
    ("check-in", {"record_id": 1, "path": [], "holder": None, "index": "x", "number": {}, "custodian": 1}),
    ("check-in", {"record_id": "r", "path": "p", "holder": "h", "index": 1, "number": "3", "custodian": "c"}),
    ("drill", {}),
    ("drill", {"results": 3}),
    ("drill", {"results": [{}]}),
    ("drill-failed", {"results": [None]}),
    ("drill", {"results": {"a": 1}, "witnessed": [{"record_sha256": []}]}),
    ("drill", {"results": [], "witnessed": 7}),
    ("escrow", {"copies": 3, "epoch": 4}),
    ("escrow", {"copies": ["a"]}),
    ("rotate", {"copies": {"a": {}}, "epoch": ["E"]}),
    ("report", {"through": {}, "files": 1}),
    ("backups-verify", {"backups": [1]}),
    ("backups-verify", {}),
    ("infra", {"action": 3}),
]


@pytest.mark.parametrize(("event", "said"), MALFORMED)
def test_what_is_malformed_is_skipped_and_named(told: World, event: str, said: dict[str, Any]) -> None:
    told.enter(event, said)
    found = status(told.context)
    assert (found.code, found.broken) == (Code.OK, ())
    page = build(told.context).report
    assert page.ledger.ok
    assert any("L2" in change.evidence for change in page.changes) or event in ("drill", "escrow")
    if event in ("check-in", "drill", "drill-failed", "rotate") and said != {"results": [], "witnessed": 7}:
        assert any("ledger entry 2 says something else" in text for text in found.warned)


def test_a_signature_beside_results_that_name_no_record_ends_nothing(told: World) -> None:
    forged = details(told)
    del forged["results"][0]["record_sha256"]
    told.enter("drill", forged)
    found = status(told.context)
    assert (found.code, found.broken) == (Code.OK, ())
    assert any("do not count: 3" in text for text in found.warned)


@pytest.mark.parametrize("field", ["at", "passed", "proofs", "seconds", "epoch", "copy", "path"])
@pytest.mark.parametrize("value", [None, "x", 7, [], {"a": 1}, {"a": {"ok": "yes", "by": 3}}])
def test_no_field_of_a_result_breaks_the_reader(told: World, field: str, value: object) -> None:
    entry = told.context.ledger.entries()[0]
    entry.details["results"][0][field] = value
    found = history.read([entry])
    assert len(found.drills) in (0, 3)
    assert sense(entry.document)


def test_what_this_host_knows_last_is_not_what_others_tell(told: World) -> None:
    (entry,) = told.context.ledger.entries()
    newer = "20990101T000000Z-00000000"
    forged = details(told)
    for result in forged["results"]:
        result["epoch"] = newer
    others = [
        replace(entry, own=False, host="f" * 16, details=forged),
        replace(
            entry, own=False, host="f" * 16, event="escrow", details={"epoch": newer, "copies": {"z": {}}}
        ),
    ]
    assert history.read([entry, *others]).known == history.read([entry]).known
    assert history.read(others).known is None


# -- order of time ------------------------------------------------------------------------------------


def test_a_failed_drill_that_arrives_late_is_not_the_last_one(told: World) -> None:
    """A chain's order is not that of time where a clock was wrong."""
    late = details(told)
    for result in late["results"]:
        result |= {"passed": False, "proofs": {"recover": {"ok": False, "by": [], "problem": "denied"}}}
    told.clock.shift = -timedelta(days=2)
    told.enter("drill-failed", late)
    told.clock.shift = timedelta(seconds=5)
    assert [entry.event for entry in told.context.ledger.own().each()] == ["drill", "drill-failed"]
    assert status(told.context).broken == ()
    found = build(told.context).report
    assert {cell.state for cell in found.matrix} == {ProofState.PROVEN}
    assert [one.passed for one in found.drills][-1]


# -- backups -----------------------------------------------------------------------------------------


def verified(world: World, ok: bool, at: timedelta) -> None:
    world.clock.shift = at
    item = {"source": "full.gpg", "ok": ok, "problem": None if ok else "it was altered"}
    world.enter("backups-verify", {"code": 0 if ok else 23, "backups": [item]})


def test_a_backup_that_failed_later_is_not_read_to_its_end(told: World, tmp_path: Path) -> None:
    from pipeline.evidence.ledger.backup_history import BackupHistory, RecordedReading
    from pipeline.evidence.ledger.drill_history import History
    from pipeline.report.backup_facts import BackupFacts
    from pipeline.report.past import read

    def tried() -> RecordedReading:
        past = read(told.context.ledger).history
        assert isinstance(past, History)
        found = BackupHistory.of(past.backups, ()).last("full.gpg")
        assert found is not None
        return found

    verified(told, True, timedelta(seconds=2))
    assert tried().read.ok
    verified(told, False, timedelta(seconds=4))
    verified(told, True, timedelta(seconds=3))  # by a clock that went back
    at, read_then = tried().at, tried().read
    assert (read_then.ok, read_then.problem) == (False, "it was altered")
    from dataclasses import replace

    facts = BackupFacts("full.gpg", 1, (), "E", True, None, None, ("L2",), at, read_then.problem)
    found = replace(build(told.context).report, backups=(facts,))
    for page in (html.render(found), csv.claims(found), oscal.render(found)):
        assert b"FAILED" in page
        assert b"it was altered" in page
        assert b"read to its end 20" not in page
