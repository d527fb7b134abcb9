"""The control mapping follows the facts: one fact flips the controls that rest on it, and no others."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from pipeline.report.controls.assess import assess, catalogue
from pipeline.report.drill_facts import ProofState
from pipeline.report.formats import csv, html
from pipeline.report.model import Control, Report, Restorability, RuleFacts, Support
from pipeline.report.summary import Summary, joined
from tests.support.sample_report import EPOCH, NOW, OLDER, bad, good, year

SAMPLE_CUSTODY = good().custody
assert SAMPLE_CUSTODY is not None
FULL, PARTIAL, NONE = Support.SUPPORTED, Support.PARTIAL, Support.NONE
PAGE = [
    "CP-9", "CP-9(1)", "CP-9(2)", "CP-9(3)", "CP-6", "CP-9(7)†", "CP-9(8)", "SC-13", "SC-28",
    "CP-4", "SC-12", "SC-12(1)", "AU-9(3)", "AU-10", "AC-3(2)†", "AC-5", "§8.2.2†", "§8.3.1†",
    "3.6.1.2†", "3.6.1.3†", "3.6.1.4†", "3.7.1†", "3.7.2†", "3.7.3†", "3.7.4†", "3.7.5†", "3.7.6†",
    "3.7.7†", "3.7.8†", "12.3.3†", "A.8.13†", "A.8.24†", "A.5.30†", "A.5.33†", "A1.2†", "A1.3†",
    "CC6.1†", "164.308(a)(7)(ii)(A)†", "164.308(a)(7)(ii)(B)†", "164.308(a)(7)(ii)(D)†", "Art.11†",
    "Art.12†", "Art.7†", "4.2.2†", "4.2.3†", "4.2.6†", "9.2(c)†",
]  # fmt: skip


def support(report: Report) -> dict[str, Support]:
    return {control.id: control.support for control in assess(report)}


def by_id(report: Report, name: str) -> Control:
    return next(control for control in assess(report) if control.id == name)


def flipped(report: Report) -> dict[str, Support]:
    """The controls that stand otherwise than in the good report."""
    before = support(good())
    return {name: now for name, now in support(report).items() if now is not before[name]}


def test_every_control_is_there_once_and_marked_where_it_was_read_second_hand() -> None:
    found = [control.id.replace(" ", "") + ("†" if control.check else "") for control in assess(good())]
    assert sorted(found) == sorted(PAGE)


@pytest.mark.parametrize("sample", [good, bad, year])
def test_words_are_whole_sentences_that_never_claim_compliance(sample: Callable[[], Report]) -> None:
    report = sample()
    ids = {item.id for item in report.evidence} | {"L101"}
    for control in assess(report):
        assert re.fullmatch(r"[^a-z ].*[^.]\.", control.says), control
        assert control.asks
        assert not re.search(r"complian|complies|satisf", f"{control.asks} {control.says}", re.IGNORECASE)
        assert set(control.evidence) <= ids
        assert len(set(control.evidence)) == len(control.evidence)


def test_some_apply_only_to_some() -> None:
    when = {control.catalogue: control.applicability for control in assess(good())}
    assert when["PCI DSS 4.0.1"] == "only if the key protects account data"
    assert when["HIPAA Security Rule"] == "only if the key protects electronic protected health information"
    assert when["NIST SP 800-53 Rev. 5"] == ""
    assert "financial" in by_id(good(), "Art. 11").applicability


def test_a_good_report_supports_what_it_measured_and_no_more() -> None:
    found = support(good())
    assert found["CP-9(1)"] is FULL
    assert found["CP-9(3)"] is FULL
    assert found["AC-5"] is FULL
    assert found["A1.3"] is PARTIAL  # one pair of copy and path was never restored
    assert found["CP-9(7)"] is PARTIAL  # Vault's copy is not locked
    assert found["3.7.8"] is PARTIAL  # a check-in is not a written acknowledgement
    assert NONE not in found.values()
    says = by_id(good(), "CP-9(1)").says
    assert "0 test restores missed, 0 failed, 22 passed" in says
    assert "every 7 days, the next one is due 2026-06-08" in says
    assert "3 of 4 pairs" in by_id(good(), "CP-9(2)").says
    assert by_id(good(), "CP-9").evidence == ("R1", "L99")


def test_a_bad_report_supports_only_what_still_holds() -> None:
    found = support(bad())
    for name in ("CP-9", "CP-9(1)", "CP-9(2)", "CP-9(3)", "SC-12(1)", "A.5.30", "Art. 11", "3.7.8"):
        assert found[name] is NONE, name
    assert found["AU-9(3)"] is PARTIAL
    assert found["AC-3(2)"] is FULL  # the parties are what they were
    assert "vault-eu: the server does not answer" in by_id(bad(), "CP-9").says
    assert "41 entries are not yet mirrored" in by_id(bad(), "AU-9(3)").says


def test_a_year_with_gaps_names_missed_and_failed_before_passed() -> None:
    found = support(year())
    assert found["CP-9(1)"] is PARTIAL
    assert found["CP-4"] is PARTIAL
    assert found["CP-9(3)"] is FULL
    assert "3 test restores missed (7.0 days overdue now), 3 failed, 45 passed" in by_id(year(), "CP-4").says
    assert "3 of 3 failures were followed by a passed" in by_id(year(), "CP-4").says


def test_the_catalogue_names_what_the_summary_has_and_uses_all_of_it() -> None:
    """A name that nothing knows would be an internal error on the day of the audit."""
    summary, rows = Summary(good()), catalogue()
    subjects = rows["subjects"].values()
    assert {name for row in subjects for name in (*row["none"], *row["partly"])} == set(summary.conditions)
    assert {kind for row in subjects for kind in row["evidence"]} == set(summary.evidence)
    said = {name for row in subjects for text in row["says"] for name in re.findall(r"{([^}]*)}", text)}
    assert said == set(summary.sentences)
    used = {name for group in rows["catalogues"] for row in group["controls"] for name in row["subjects"]}
    assert used == set(rows["subjects"])
    ids = {row["id"] for group in rows["catalogues"] for row in group["controls"]}
    assert {row["control"] for row in rows["objectives"]} <= ids


# -- single facts ----------------------------------------------------------------------------------


def _one_bad_copy(report: Report) -> Report:
    vault, bucket = report.copies
    cells = tuple(
        replace(cell, state=ProofState.UNREADABLE) if cell.copy == "vault-eu" else cell
        for cell in report.matrix
    )
    return replace(
        report, copies=(replace(vault, ok=False, problem="the digest differs"), bucket), matrix=cells
    )


def test_a_bad_copy_flips_what_rests_on_copies_and_tests() -> None:
    found = flipped(_one_bad_copy(good()))
    for name in ("CP-9", "CP-9(1)", "CP-9(2)", "CP-9(3)", "CP-9(8)", "SC-12(1)", "3.7.7", "A.8.13"):
        assert found[name] is PARTIAL, name
    assert found["164.308(a)(7)(ii)(A)"] is PARTIAL
    assert {"AC-3(2)", "AC-5", "AU-9(3)", "AU-10", "SC-12"}.isdisjoint(found)


def test_an_overdue_test_restore_flips_what_asks_for_tests() -> None:
    cells = tuple(
        replace(cell, state=ProofState.OVERDUE) if cell.state is ProofState.PROVEN else cell
        for cell in good().matrix
    )
    found = flipped(replace(good(), matrix=cells))
    for name in ("CP-4", "CP-9(1)", "CP-9(2)", "A.8.13", "SC-12(1)", "Art. 11", "164.308(a)(7)(ii)(D)"):
        assert found[name] is PARTIAL, name
    assert {"CP-9", "CP-9(3)", "CP-9(8)", "AC-5", "AU-9(3)"}.isdisjoint(found)


def test_no_frequency_flips_the_frequency_alone() -> None:
    found = flipped(replace(good(), drill_interval_days=None))
    assert found == {"CP-9(1)": PARTIAL, "A.8.13": PARTIAL}
    assert "sets no frequency" in by_id(replace(good(), drill_interval_days=None), "CP-9(1)").says


def test_never_tested_is_no_evidence_of_tests() -> None:
    cells = tuple(replace(cell, state=ProofState.NEVER, proven_at=None) for cell in good().matrix)
    found = flipped(replace(good(), matrix=cells, drills=()))
    for name in ("CP-4", "CP-9(1)", "CP-9(2)", "A.8.13", "A1.3", "SC-12(1)", "Art. 11", "Art. 12"):
        assert found[name] is NONE, name
    assert {"CP-9", "CP-9(3)", "CP-9(8)"}.isdisjoint(found)


def test_one_failure_domain_is_no_evidence_of_copies_elsewhere() -> None:
    near = tuple(replace(copy, domain="dc-frankfurt") for copy in good().copies)
    assert flipped(replace(good(), copies=near)) == {"CP-6": NONE, "CP-9(3)": NONE, "4.2.2": NONE}


@pytest.mark.parametrize(
    ("known", "flips", "told"),
    [
        ({"backups": (), "rules": (RuleFacts("backups", False, "no backup has arrived"),)},
         {"CP-9": "0 of 0 known backups of the server are for an escrowed key: no backup has arrived"},
         ("A1.2", "§ 8.3.1")),
        ({"custodians": ()},
         {"3.7.2": "every share is sealed", "3.7.8": "custodians' shares stand is not known"}, ("3.7.2",)),
        ({"key": replace(good().key, former=(("AB" * 20, "not known: it could not be asked"),))},
         {"SC-12": "what is stored is not known of ABAB"}, ("§ 8.3.1", "9.2(c)")),
        ({"custody": replace(SAMPLE_CUSTODY, unknown=("how vault is unsealed",))},
         {"CP-6": "2 failure domains", "SC-12(1)": "2 of 2 custody paths"}, ("3.6.1.4", "4.2.2")),
        ({"backups": (replace(good().backups[0], epoch=None, unknown=True),)},
         {"CP-9": "0 of 1 known backups of the server are for an escrowed key (not known: s3://"}, ("A1.2",)),
    ],
)  # fmt: skip
def test_what_is_not_known_supports_nothing(
    known: dict[str, Any], flips: dict[str, str], told: tuple[str, ...]
) -> None:
    report = replace(good(), **known)
    for name, words in flips.items():
        found = by_id(report, name)
        assert (found.support, words.lower() in found.says.lower()) == (PARTIAL, True), found
    assert {support(report)[name] for name in told} == {PARTIAL}


@pytest.mark.parametrize(("epoch", "path", "corrected"), [
    (OLDER, "unattended", False), (EPOCH, "unattended", True), (EPOCH, "custodians", False),
])  # fmt: skip
def test_a_failure_is_corrected_by_the_same_copy_and_path_of_no_older_epoch(
    epoch: str, path: str, corrected: bool
) -> None:
    report, first = good(), good().drills[0]
    failed = replace(first, at=NOW - timedelta(hours=1), passed=False, problems=("sign: bad",))
    passed = replace(first, at=NOW, epoch=epoch, path=path)
    found = by_id(replace(report, drills=(*report.drills, failed, passed)), "CP-4")
    assert f"{int(corrected)} of 1 failures were followed" in found.says
    assert found.support is (FULL if corrected else PARTIAL)
    too_bad = replace(failed, path="-")
    found = by_id(replace(report, drills=(*report.drills, too_bad, passed)), "CP-4")
    assert found.support is (FULL if epoch == EPOCH else PARTIAL)


def test_a_key_that_never_expires_has_no_unknown_end() -> None:
    key = replace(good().key, expires=None, renewal="never expires")
    assert "it never expires" in by_id(replace(good(), key=key), "3.7.4").says


def test_sentences_begin_with_one_capital_letter() -> None:
    assert joined("", "abc def", "", "GHI") == "Abc def; GHI."
    for control in (*assess(good()), *assess(bad())):
        assert control.says[0] == control.says[0].upper()
        assert control.says[1] == control.says[1].lower() or control.says[:2].isupper()


def test_who_can_destroy_all_copies_is_told() -> None:
    free = tuple(
        replace(copy, retain_until=None, controlled_by=("ops", copy.target)) for copy in good().copies
    )
    says = by_id(replace(good(), copies=free), "CP-9(7)").says
    assert "all copies can be deleted by ops alone" in says
    assert "no party controls all copies" not in says
    says = by_id(good(), "CP-9(7)").says
    assert "no party controls all copies and can delete them" in says
    assert "can be deleted by" not in says
    none = tuple(replace(copy, ok=False) for copy in good().copies)
    assert "no copy is good" in by_id(replace(good(), copies=none), "CP-9(7)").says


def test_what_is_still_open_is_told_only_where_something_is() -> None:
    assert "still open" not in by_id(year(), "CP-4").says
    assert "still open: " in by_id(bad(), "CP-4").says


def test_a_single_party_that_reconstructs_flips_dual_control() -> None:
    custody = good().custody
    assert custody is not None
    by_party = replace(good(), custody=replace(custody, alone=("vault-admins",)))
    by_host = replace(good(), custody=replace(custody, hosts=("host escrow-1",)))
    names = {"AC-3(2)", "AC-5", "3.6.1.3", "3.7.6", "CC6.1"}
    assert flipped(by_party) == dict.fromkeys(names, NONE)
    assert flipped(by_host) == dict.fromkeys(names, NONE)
    assert "alone: no party of the plan; but host escrow-1 does" in by_id(by_host, "AC-5").says
    for page in (html.render(by_host).decode(), csv.claims(by_host).decode()):
        assert "no party of the plan; but host escrow-1 does" in page


def test_an_unknown_posture_is_no_evidence_of_dual_control() -> None:
    found = flipped(replace(good(), custody=None))
    assert found["AC-5"] is NONE
    assert found["SC-12(1)"] is PARTIAL


def test_a_loss_that_is_fatal_alone_flips_copies_elsewhere_and_lost_holders() -> None:
    custody = good().custody
    assert custody is not None
    found = flipped(replace(good(), custody=replace(custody, fatal_alone=("aws-admins",))))
    assert found == dict.fromkeys(("CP-6", "CP-9(3)", "SC-12(1)", "Art. 7", "4.2.2", "9.2(c)"), PARTIAL)


def test_a_holder_that_every_proven_path_needs_is_named() -> None:
    cells = tuple(
        replace(cell, state=ProofState.NEVER) if cell.path == "custodians" else cell for cell in good().matrix
    )
    report = replace(good(), matrix=cells)
    assert support(report)["SC-12(1)"] is PARTIAL
    assert "every proven path needs holder aws, holder vault" in by_id(report, "SC-12(1)").says


def test_a_broken_ledger_flips_what_rests_on_it() -> None:
    broken = replace(good(), ledger=replace(good().ledger, ok=False, problem="entry 7"))
    # Test restores are read from it: one that failed may stand behind the break.
    on_tests = ("CP-4", "CP-9(1)", "CP-9(2)", "SC-12(1)", "A.8.13", "164.308(a)(7)(ii)(D)", "Art. 11")
    more = dict.fromkeys((*on_tests, "Art. 7", "4.2.6", "9.2(c)"), PARTIAL)
    assert flipped(broken) == {"AU-9(3)": NONE, "AU-10": NONE, "A.5.33": NONE} | more
    assert "22 passed, as far as the broken ledger tells" in by_id(broken, "CP-4").says
    behind = replace(good(), ledger=replace(good().ledger, anchored_to=99))
    assert flipped(behind) == {"AU-9(3)": PARTIAL, "A.5.33": PARTIAL}


def test_a_replaced_live_key_flips_what_is_about_the_servers_key() -> None:
    report = replace(good(), key=replace(good().key, live="replaced", live_reason="another key"))
    found = flipped(report)
    assert found["CP-9"] is PARTIAL
    assert found["SC-12"] is PARTIAL
    assert found["3.7.7"] is NONE
    assert "CP-9(1)" not in found


def test_copies_that_one_party_can_delete_are_no_evidence_against_destruction() -> None:
    same = tuple(
        replace(copy, controlled_by=("admins",), lock_mode=None, retain_until=None) for copy in good().copies
    )
    report = replace(good(), copies=same)
    assert support(report)["CP-9(7)"] is NONE
    assert "deleted by admins alone" in by_id(report, "CP-9(7)").says
    locked = tuple(
        replace(copy, lock_mode="COMPLIANCE", retain_until=NOW + timedelta(days=9)) for copy in same
    )
    assert support(replace(good(), copies=locked))["CP-9(7)"] is FULL


def test_a_custodian_who_did_not_check_in_flips_shares_alone() -> None:
    first, *others = good().custodians
    found = flipped(replace(good(), custodians=(replace(first, overdue=True), *others)))
    assert found == {"3.7.2": PARTIAL, "3.7.8": NONE}


def test_an_objective_that_was_missed_flips_readiness() -> None:
    report = replace(good(), verdict=replace(good().verdict, rto_seconds=5000.0))
    assert flipped(report) == {"A.5.30": PARTIAL, "164.308(a)(7)(ii)(B)": PARTIAL}
    none = replace(good(), verdict=replace(good().verdict, answer=Restorability.NO))
    assert flipped(none) == {"A.5.30": NONE, "164.308(a)(7)(ii)(B)": NONE}


def test_a_failure_that_nothing_followed_stays_open() -> None:
    last = good().drills[-1]
    failed = replace(last, at=last.at + timedelta(hours=1), passed=False, problems=("recover: denied",))
    report = replace(good(), drills=(*good().drills, failed))
    assert support(report)["CP-4"] is PARTIAL
    assert "still open: recover: denied" in by_id(report, "CP-4").says


def test_nothing_stored_supports_nothing_that_rests_on_copies() -> None:
    report = replace(good(), epoch=None, copies=(), paths=(), matrix=(), drills=(), evidence=(), custody=None)
    found = support(report)
    for name in ("CP-9", "CP-9(1)", "CP-9(7)", "CP-9(8)", "SC-12", "SC-12(1)", "AC-5", "3.6.1.4", "Art. 7"):
        assert found[name] is NONE, name
