"""The report is computed: each fact that changes, changes what its first page says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pipeline.core.errors import Code
from pipeline.evidence.ledger import entry as chain
from pipeline.monitoring import status
from pipeline.report import model, verdict
from pipeline.report.build import build
from pipeline.report.drill_facts import Cell, ProofState
from pipeline.report.formats import html
from pipeline.report.model import CopyFacts, PathFacts, Restorability
from pipeline.report.summary import Summary
from pipeline.workflows.drill import DrillRequest, drill
from tests.support.drilled import drilled, gaps, report
from tests.support.inmemory import MemoryMirror, World, denied, unreachable

POLICY = "max_drill_age_days = 14\nrto_seconds = 600\n"


@pytest.fixture
def told(world: World) -> World:
    """A complete epoch, drilled a moment ago."""
    return drilled(world, POLICY)


def test_a_proven_escrow_can_be_restored(told: World) -> None:
    found = report(told)
    assert (found.verdict.answer, found.verdict.gaps) == (Restorability.YES, ())
    assert found.verdict.where == ("a", "b", "c")
    assert found.verdict.paths == ("unattended",)
    assert "from 3 of 3 copies by 1 of 1 custody paths" in found.verdict.sentence
    assert {cell.state for cell in found.matrix} == {ProofState.PROVEN}
    assert [drilled.passed for drilled in found.drills] == [True] * 3
    assert found.verdict.rto_seconds is not None
    assert 0 < found.verdict.rto_seconds < 600
    assert all(rule.ok for rule in found.rules)
    used = set(model.cited(found, found.drills))
    assert used <= {item.id for item in found.evidence}


def test_nothing_stored_cannot_be_restored(world: World) -> None:
    found = report(world)
    assert found.verdict.answer is Restorability.NO
    assert "nothing authentic is stored" in found.verdict.sentence
    assert b"Nothing is stored." in html.render(found)


def test_stored_but_never_drilled_is_not_proven(world: World) -> None:
    world.store(world.mint())
    found = report(world)
    assert found.verdict.answer is Restorability.UNPROVEN
    assert found.verdict.proven_at is None
    assert {cell.state for cell in found.matrix} == {ProofState.NEVER}


def test_an_altered_copy_is_a_gap_and_all_of_them_the_end(told: World) -> None:
    slot = next(iter(told.targets["a"].places))
    told.targets["a"].damage(slot)
    found = report(told)
    assert found.verdict.answer is Restorability.GAPS
    assert found.verdict.where == ("b", "c")
    assert found.cell("a", "unattended") is not None
    assert found.matrix[0].state is ProofState.UNREADABLE
    for name in ("b", "c"):
        told.targets[name].damage(slot)
    found = report(told)
    assert found.verdict.answer is Restorability.NO
    assert "nothing authentic" in found.verdict.sentence or "no copy is good" in found.verdict.sentence


def test_a_silent_holder_closes_its_path(told: World) -> None:
    told.holders["vault"].failures["describe"] = unreachable("holder vault")
    found = report(told)
    assert found.verdict.answer is Restorability.NO
    assert "no custody path opens them" in found.verdict.sentence
    assert "path unattended: holder vault does not answer" in found.verdict.gaps


def test_an_overdue_drill_is_on_the_first_page(told: World) -> None:
    told.clock.shift = timedelta(days=13)
    assert report(told).verdict.answer is Restorability.YES
    told.clock.shift = timedelta(days=16)
    found = report(told)
    assert found.verdict.answer is Restorability.GAPS
    assert {cell.state for cell in found.matrix} == {ProofState.OVERDUE}
    assert "overdue" in found.verdict.sentence
    (missed,) = found.missed
    assert (missed.until, missed.days) == (None, 2.0)
    assert "the last drill is 16.0 days old, policy.max_drill_age_days is 14" in gaps(told)


@pytest.mark.parametrize(("ahead", "state"), [(3.0, ProofState.OVERDUE), (0.8, ProofState.PROVEN)])
def test_a_drill_that_is_dated_in_the_future_does_not_count_for_ever(
    world: World, ahead: float, state: ProofState
) -> None:
    world.policy = POLICY
    world.store(world.mint())
    world.clock.shift = timedelta(days=ahead)
    assert drill(world.context, DrillRequest()).code is Code.OK
    world.clock.shift = timedelta()
    assert {cell.state for cell in report(world).matrix} == {state}


def test_a_drill_that_is_dated_in_the_future_heals_no_failure_and_is_none_that_was_due(world: World) -> None:
    world.policy = POLICY
    world.store(world.mint())
    for days, failure in ((0, None), (900, None), (100, denied("holder aws"))):
        world.clock.shift = timedelta(days=days)
        world.holders["aws"].failures = {"open": failure} if failure else {}
        drill(world.context, DrillRequest())
    world.holders["aws"].failures.clear()
    found = report(world)
    assert {cell.state for cell in found.matrix} == {ProofState.FAILED}
    assert found.verdict.answer is Restorability.NO
    assert [item.until for item in found.missed] == [None]
    summary = Summary(found)
    assert len(summary.uncorrected) == len(found.matrix)


def test_a_failed_drill_is_on_the_first_page_until_one_passes(told: World) -> None:
    told.holders["aws"].failures["open"] = denied("holder aws")
    assert drill(told.context, DrillRequest()).code is Code.DENIED
    told.holders["aws"].failures.clear()
    found = report(told)
    assert found.verdict.answer is Restorability.NO
    assert {cell.state for cell in found.matrix} == {ProofState.FAILED}
    assert "the drill of a by unattended failed on " in gaps(told)
    assert ": recover: holder aws refuses; put that right" in gaps(told)
    assert any(change.failure and change.event == "drill-failed" for change in found.changes)
    told.clock.shift += timedelta(seconds=2)
    assert drill(told.context, DrillRequest()).code is Code.OK
    assert report(told).verdict.answer is Restorability.YES


def test_a_slow_drill_is_a_gap(told: World) -> None:
    told.policy = "rto_seconds = 0.0001\n"
    found = report(told)
    assert found.verdict.answer is Restorability.GAPS
    assert "policy.rto_seconds is 0.0001" in gaps(told)
    assert {item.within_objective for item in found.drills} == {False}


@pytest.mark.parametrize("how", ["changed", "removed", "cut"])
def test_a_ledger_that_was_touched_is_loud(told: World, how: str) -> None:
    for _ in range(2):  # the second certificate names the entry that the first drill made
        told.clock.shift += timedelta(seconds=2)
        assert drill(told.context, DrillRequest()).code is Code.OK
    assert report(told).ledger.anchored_to == 2
    folder = told.context.ledger.own().folder
    if how == "changed":
        path = folder / "000000001.json"
        path.chmod(0o600)
        path.write_bytes(path.read_bytes().replace(b'"drill"', b'"drilx"', 1))
    else:
        numbers = (2,) if how == "removed" else (2, 3)
        for number in numbers:
            (folder / f"{number:09d}.json").unlink()
    found = report(told)
    assert not found.ledger.ok
    assert found.verdict.answer is not Restorability.YES
    assert found.verdict.gaps[0].startswith("the ledger is broken: ")
    assert "entry 2" in found.verdict.gaps[0]
    assert b"BROKEN" in html.render(found)


def test_a_forged_certificate_anchors_nothing(told: World) -> None:
    told.clock.shift += timedelta(seconds=2)
    assert drill(told.context, DrillRequest()).code is Code.OK
    newest = max((told.context.root / "certificates").glob("*.json"))
    newest.chmod(0o600)
    newest.write_bytes(newest.read_bytes().replace(b'"result":"PASSED"', b'"result":"WARNED"'))
    assert f"certificate {newest.name}: " in gaps(told)


def test_a_year_with_missed_and_failed_drills(world: World) -> None:
    """Every two weeks; two in a row are left out, three fail, and the last is left out, too."""
    world.policy = POLICY
    world.store(world.mint())
    for number in range(26):
        world.clock.shift = timedelta(days=14 * number, seconds=number)
        if number in (6, 7, 25):
            continue
        failing = {"open": denied("holder aws")} if number in (10, 11, 18) else {}
        world.holders["aws"].failures = dict(failing)
        drill(world.context, DrillRequest())
    world.clock.shift = timedelta(days=364)
    found = report(world)
    assert len(found.drills) == 23 * 3
    assert len(found.failed) == 3 * 3
    # Fourteen days without one that passed: after the two left out, the two and the one that failed, and now.
    assert [item.until is None for item in found.missed] == [False, False, False, True]
    assert found.missed[0].days == pytest.approx(28, abs=0.2)
    assert found.verdict.answer is Restorability.GAPS
    page = html.render(found).decode()
    first = page[: page.index('aria-labelledby="not-covered"')]
    for said in (
        '<b class="word ok">20</b>passed',
        '<b class="word bad">3</b>failed',
        '<b class="word bad">4</b>missed',
        "Yes, with gaps",
        "the last drill is",
    ):
        assert said in first, said


def changes(world: World, *, since: datetime | None = None) -> list[tuple[str, bool]]:
    """The changes of a period, each with whether the last bundle has not seen it."""
    return [(change.event, change.new) for change in build(world.context, since=since).report.changes]


def test_a_report_takes_nothing_from_the_next_one(told: World) -> None:
    told.enter("kit", {"epoch": "E", "custodians": ["X"]})
    assert changes(told) == [("kit", False)]
    told.clock.shift += timedelta(seconds=2)
    told.enter("report", {"files": {}, "through": 2})
    assert changes(told) == [("kit", False)], "a page was printed"
    told.enter("report", {"files": {}, "through": 3, "bundle": True})
    assert changes(told) == [("kit", False)], "an auditor has a bundle"
    told.clock.shift += timedelta(seconds=2)
    told.enter("escrow-failed", {"code": 20, "name": "unreachable", "message": "no answer"})
    assert changes(told) == [("kit", False), ("escrow-failed", True)]
    page = html.render(report(told)).decode()
    assert page.count(" (new)</td>") == 1
    assert "came after the last bundle" in page
    assert changes(told, since=told.clock.now()) == [("escrow-failed", True)]


def test_what_another_host_entered_before_the_last_bundle_is_told_in_the_next(told: World) -> None:
    """It arrives behind that bundle, and is older."""
    told.clock.shift -= timedelta(hours=1)
    told.enter("restore-failed", {"code": 20, "message": "no answer"})
    told.clock.shift += timedelta(hours=1)
    told.enter("report", {"files": {}, "through": 1, "bundle": True})
    assert changes(told, since=told.clock.now()) == [("restore-failed", True)]


@pytest.mark.parametrize("through", [10**9, -1, "all", None, True, 1.5, [1]])
def test_a_forged_report_hides_no_failure(told: World, through: object) -> None:
    told.enter("restore-failed", {"code": 20, "message": "no answer"})
    told.enter("report", {"files": {}, "through": through, "bundle": True})
    assert [event for event, _ in changes(told)] == ["restore-failed", "report"]


def test_an_entry_of_another_form_is_told_and_hides_nothing_behind_it(told: World) -> None:
    told.enter("infra", {"odd": 1})
    told.enter("retain", {"code": 21, "failures": [{"target": "s3", "code": 21}]})
    told.enter("escrow", {"code": 24, "failures": {"b": 20}})
    told.enter("kit", {"custodians": ["X"]})
    found = report(told)
    assert found.ledger.ok
    odd, *others, last = found.changes
    assert (odd.failure, odd.text) == (True, "the entry is malformed")
    assert [change.text for change in others] == [
        "failed at s3 (21), exit code 21",
        "failed at b (20), exit code 24",
    ]
    assert last.event == "kit"


def test_a_mirror_that_contradicts_is_heard_beside_one_that_agrees(told: World) -> None:
    told.mirrors = {"a": MemoryMirror("a"), "b": MemoryMirror("b")}
    told.enter("kit", {"custodians": ["X"]})
    assert report(told).ledger.anchored_to == 2
    own = told.context.ledger.own()
    other = chain.write(own.at(1), told.fingerprint, "kit", {}, now=told.clock.now(), run="r")
    there = told.mirrors["a"].chains[own.host]
    there[2] = [other, own.read(2)]
    found = report(told)
    assert not found.ledger.ok
    assert "the mirror at a names another" in found.verdict.gaps[0]
    there[2] = [own.read(2), other]
    found = report(told)
    assert (found.ledger.ok, found.ledger.anchor) == (True, "the mirror at a"), "what was there first counts"


def test_a_host_whose_chain_no_mirror_has_confirmed_accuses_nobody(told: World) -> None:
    """Somebody else has written under its host-id."""
    strange = chain.write(chain.START, told.fingerprint, "kit", {}, now=told.clock.now(), run="r")
    told.enter("kit", {"custodians": ["X"]})
    mirror = MemoryMirror("a")
    mirror.chains[told.context.ledger.host] = {1: [strange], 2: [b"whatever"]}
    told.mirrors = {"a": mirror}
    found = report(told)
    assert found.ledger.ok
    assert "the mirror at a has another entry 2 of host" in gaps(told)
    assert "not known here" in gaps(told)
    assert build(told.context).code is Code.OK


def test_false_entries_beside_and_behind_do_not_hide_the_confirmed_one(told: World) -> None:
    told.mirrors = {"a": MemoryMirror("a")}
    told.enter("kit", {"custodians": ["X"]})
    told.mirrors["a"].failure = unreachable("a")
    told.enter("kit", {"custodians": ["Y"]})
    told.mirrors["a"].failure = None
    for number in (1, *range(3, 803)):
        told.mirrors["a"].chains[told.context.ledger.host].setdefault(number, []).append(b"{}")
    found = report(told)
    assert (found.ledger.ok, found.ledger.anchored_to, found.ledger.anchor) == (True, 2, "the mirror at a")
    assert status.status(told.context).code is Code.OK


def test_a_mirror_that_knows_more_is_a_gap(told: World) -> None:
    told.mirrors = {"a": MemoryMirror("a")}
    told.enter("kit", {"custodians": ["X"]})
    assert gaps(told) == ""
    told.mirrors["a"].chains[told.context.ledger.host][3] = [b"whatever"]
    assert "the mirror at a knows entry 3 of host" in gaps(told)


def test_a_job_that_never_ran_is_missed_from_the_first_escrow_on(world: World) -> None:
    world.policy = "max_drill_age_days = 7\n"
    world.store(world.mint())
    world.enter("escrow", {"epoch": "E"})
    world.clock.shift = timedelta(days=800)
    (missed,) = report(world).missed
    assert (missed.until, missed.days) == (None, 793.0)


@pytest.mark.parametrize(
    ("state", "closed", "answer", "said"),
    [
        (
            ProofState.PROVEN,
            ("unattended",),
            Restorability.UNPROVEN,
            "path unattended does not open them today, and nothing",
        ),
        (ProofState.FAILED, (), Restorability.UNPROVEN, "nothing has proven custody path people yet"),
        (ProofState.NEVER, (), Restorability.UNPROVEN, "no test restore has proven one of them"),
        (ProofState.FAILED, ("people",), Restorability.NO, "no custody path opens them"),
    ],
)
def test_the_sentence_tells_closed_failed_and_untried_paths_apart(
    state: ProofState, closed: tuple[str, ...], answer: Restorability, said: str
) -> None:
    at = datetime(2026, 1, 31, tzinfo=UTC)
    copies = [CopyFacts("a", "s3", "d", (), "x", None, True, None, None, None, None)]
    paths = [PathFacts("unattended", ("v",), False), PathFacts("people", ("2 of 3",), True)]
    cells = [
        Cell("a", "unattended", state, at if state is ProofState.PROVEN else None, at, 1.0, None),
        Cell("a", "people", ProofState.NEVER, None, None, None, None),
    ]
    found = verdict.judge(copies, paths, cells, verdict.Today(at, at, dict.fromkeys(closed, "silent")))
    assert found.answer is answer
    assert said in found.sentence


def test_a_copy_that_is_missing_is_told(told: World) -> None:
    slot = next(iter(told.targets["c"].places))
    del told.targets["c"].places[slot]
    assert "c: no copy of this epoch is there" in gaps(told)
    assert report(told).verdict.answer is Restorability.GAPS
