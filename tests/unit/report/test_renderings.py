"""HTML and PDF of reports that need no server: whole, harmless, the same bytes each time."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from xml.etree import ElementTree

import pytest
from pypdf import PdfReader

from pipeline.report import model
from pipeline.report.formats import chart, csv, html, oscal, pdf
from pipeline.report.formats.page import NEWEST, words
from pipeline.report.ledger_facts import HostLedger
from pipeline.report.model import Control, Report, Support
from pipeline.report.texts import harmless
from tests.support import sample_report as samples

SAMPLES: dict[str, Callable[[], Report]] = {
    "good": samples.good,
    "bad": samples.bad,
    "year": samples.year,
}
HOSTILE = "<script>alert(1)</script>\"'&\u202e\x1b[31m\nend"
CONTROL = Control(
    "CP-9(1)",
    "NIST SP 800-53 Rev. 5",
    "tests of backups",
    Support.PARTIAL,
    "12 read-backs",
    "always",
    True,
    ("L1",),
)


def text_of(data: bytes) -> str:
    return "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(data)).pages)


@pytest.mark.parametrize("name", SAMPLES)
def test_the_same_report_gives_the_same_bytes(name: str) -> None:
    assert html.render(SAMPLES[name]()) == html.render(SAMPLES[name]())
    assert pdf.render(SAMPLES[name]()) == pdf.render(SAMPLES[name]())


@pytest.mark.parametrize("name", SAMPLES)
def test_the_verdict_and_the_counts_come_first(name: str) -> None:
    report = SAMPLES[name]()
    page = html.render(report).decode()
    first = page[: page.index('aria-labelledby="not-covered"')]
    answer = str(report.verdict.answer)
    for said in (
        answer[0].upper() + answer[1:],
        report.verdict.sentence,
        (report.verdict.gaps and "overdue") or "",
    ):
        assert said in first
    counts = re.findall(r'<b class="word [a-z]*">(\d+)</b>(\w+)', first)
    runs: dict[object, bool] = {}
    for drill in report.drills:
        runs[drill.evidence] = runs.get(drill.evidence, True) and drill.passed
    assert counts == [
        (str(list(runs.values()).count(True)), "passed"),
        (str(list(runs.values()).count(False)), "failed"),
        (str(len(report.missed)), "missed"),
    ]
    cover = PdfReader(io.BytesIO(pdf.render(report))).pages[0].extract_text()
    assert report.verdict.sentence.split(":")[0][:40] in cover.replace("\n", " ")
    for number, said in counts:
        assert re.search(rf"{number}\s+{said}", cover), (number, said)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_section_and_every_row_is_there(name: str) -> None:
    report = replace(SAMPLES[name](), controls=(CONTROL,))
    chains = tuple(HostLedger(host, 7, "0" * 64, 0, None) for host in ("here", "elsewhere"))
    signed = tuple(replace(it, signed_by="5" * 40) for it in report.backups)
    report = replace(report, ledger=replace(report.ledger, hosts=chains), backups=signed)
    page = html.render(report).decode()
    anchors = re.findall(r'<li><a href="#([a-z-]+)">', page)
    assert len(anchors) == 12
    for anchor in anchors:
        assert f'id="{anchor}"' in page
    for item in (*report.not_covered, *(rule.text for rule in report.rules), *report.verdict.gaps):
        assert item in page or item.replace("'", "&#39;") in page
    assert "CP-9(1)†" in page
    assert "Applies always." in page
    paper = text_of(pdf.render(report)).replace("\n", " ").replace("\u200b", "")
    assert "CP-9(1)†" in paper
    assert report.key.fingerprint[-8:] in paper.replace(" ", "")
    for text in (page, paper):
        assert "host elsewhere: 7 entries" in text
        assert ("5" * 40 in text.replace(" ", "")) == any(it.verified_at for it in signed)


@pytest.mark.parametrize("name", SAMPLES)
def test_each_evidence_that_is_named_is_listed(name: str) -> None:
    page = html.render(SAMPLES[name]()).decode()
    named = set(re.findall(r'href="#ev-(\w+)"', page))
    listed = re.findall(r'id="ev-(\w+)"', page)
    assert len(listed) == len(set(listed))
    known = {item.id for item in SAMPLES[name]().evidence}
    assert named & known <= set(listed)


def test_no_report_calls_anything_compliant() -> None:
    for made in SAMPLES.values():
        report = replace(made(), controls=(CONTROL,))
        assert b"ompliant" not in html.render(report)
        assert "ompliant" not in text_of(pdf.render(report))


def test_foreign_text_is_shown_and_does_nothing() -> None:
    good = samples.good()
    report = replace(
        good,
        key=replace(good.key, user_ids=(HOSTILE,)),
        copies=tuple(replace(copy, location=HOSTILE, problem=HOSTILE) for copy in good.copies),
        verdict=replace(good.verdict, gaps=(HOSTILE,)),
        custodians=tuple(replace(item, name=HOSTILE) for item in good.custodians),
        drills=tuple(
            replace(drill, copy=HOSTILE, passed=False, problems=(HOSTILE,)) for drill in good.drills
        ),
    )
    page = html.render(report).decode()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert not re.search("[\u202e\x1b]", page)
    paper = pdf.render(report)
    assert "\u202e" not in text_of(paper)
    ElementTree.fromstring(chart.draw(harmless(report)))


def test_a_page_needs_nothing_from_outside() -> None:
    for made in SAMPLES.values():
        page = html.render(made()).decode()
        assert "<script" not in page
        assert not re.findall(r'(?:src|href)="(?!#|data:)[^"]*"', page)
        assert "url(" not in page
        assert "default-src 'none'" in page


def test_a_broken_ledger_is_loud_on_the_first_page() -> None:
    good = samples.good()
    report = replace(good, ledger=replace(good.ledger, ok=False, problem="entry 7 does not fit entry 6"))
    page = html.render(report).decode()
    first = page[: page.index('aria-labelledby="not-covered"')]
    assert 'class="alert"' in first
    assert "unbroken" not in page
    cover = PdfReader(io.BytesIO(pdf.render(report))).pages[0].extract_text().replace("\n", " ")
    for said in (first, cover):
        assert "The ledger is broken" in said
        assert "entry 7 does not fit entry 6" in said
        assert "do not rely on" in said
    assert 'class="alert"' not in html.render(good).decode()


def test_what_the_ledger_is_anchored_to_is_said_in_full() -> None:
    said = "anchored to entry 60 by a certificate; later entries are unauthenticated; 41 not mirrored yet"
    assert said in html.render(samples.bad()).decode()
    assert said in text_of(pdf.render(samples.bad())).replace("\n", " ")
    alone = replace(samples.good(), ledger=replace(samples.good().ledger, anchored_to=0, anchor=None))
    for page in (html.render(alone).decode(), text_of(pdf.render(alone)).replace("\n", " ")):
        assert "anchored to nothing: it is this host's word alone" in page


@pytest.mark.parametrize(
    ("report", "said"),
    [
        (samples.good(), ("no differences", "https://vault.example.com:8200", "2026-06-01 05:00")),
        (
            samples.bad(),
            ("some of which give more than they should", "sys/policies/acl/orgkey-writer differs"),
        ),
        (replace(samples.good(), vault=None), ("Never compared with what it should be",)),
    ],
)
def test_vaults_side_is_told_in_every_rendering(report: Report, said: tuple[str, ...]) -> None:
    page = html.render(report).decode()
    section = re.sub(r"<[^>]+>", "", page[page.index('id="vault"') : page.index('id="key"')])
    paper = " ".join(text_of(pdf.render(report)).split())
    for line in said:
        assert line in section
        assert line in paper
    claims = csv.claims(report).decode()
    result = json.loads(oscal.render(report))["assessment-results"]["results"][0]
    titles = [item["title"] for item in result["observations"]]
    assert ("as it should be" in claims) == (report.vault is not None)
    assert any(title.startswith("Vault's policies") for title in titles) == (report.vault is not None)
    if report.vault and report.vault.differences:
        assert "sys/policies/acl/orgkey-writer differs,gives more" in claims


def test_the_answer_and_every_copy_name_their_evidence() -> None:
    page = html.render(samples.good()).decode()
    assert 'Evidence: <a class="ref" href="#ev-R1">R1</a> <a class="ref" href="#ev-L100">L100</a>' in page
    copies = page[page.index('id="copies"') : page.index('id="drills"')]
    assert copies.count('href="#ev-R1"') == 2
    assert 'Evidence: <a class="ref" href="#ev-P1">' in page
    assert "Evidence of the answer: R1 L100" in text_of(pdf.render(samples.good()))


def test_no_link_leads_nowhere() -> None:
    page = html.render(samples.bad()).decode()
    assert "L101" in page
    assert set(re.findall(r'href="#([\w-]+)"', page)) <= set(re.findall(r'id="([\w-]+)"', page))


def test_digests_can_be_copied_out_of_the_pages() -> None:
    report = samples.good()
    assert report.epoch
    paper = text_of(pdf.render(report))
    assert "\u200b" not in paper
    assert report.epoch.record_sha256 in paper
    joined = paper.replace("\n", "")
    for item in words(report)["shown_evidence"]:
        assert item.sha256 in paper
    for copy in report.copies:
        assert copy.location in joined


def test_the_pages_are_made_for_screen_readers() -> None:
    paper = PdfReader(io.BytesIO(pdf.render(samples.year())))
    root: Any = paper.trailer["/Root"]
    assert root["/Lang"] == "en"
    assert "/StructTreeRoot" in root
    assert b"<pdfuaid:part>1</pdfuaid:part>" in root["/Metadata"].get_data()
    assert paper.metadata is not None
    assert paper.metadata.title == "Escrow report, Org Key D8376100: yes, with gaps"
    assert paper.metadata.creation_date == samples.NOW
    total = len(paper.pages)
    for number, page in enumerate(paper.pages, 1):
        said = page.extract_text()
        assert f"page {number} of {total}" in said
        assert "9D799B1DD8376100" in said
        assert "2026-06-01 08:00 UTC" in said


def test_when_a_catalogue_applies_is_said_once_where_it_is_the_same() -> None:
    one, two = CONTROL, replace(CONTROL, id="CP-4")
    page = html.render(replace(samples.good(), controls=(one, two))).decode()
    assert page.count("Applies always") == 1
    page = html.render(replace(samples.good(), controls=(one, replace(two, applicability="never")))).decode()
    assert page.count("Applies always") == page.count("Applies never") == 1


def test_what_is_missing_from_a_report_is_no_error() -> None:
    good = samples.good()
    assert good.custody
    bare = replace(
        good, epoch=None, copies=(), paths=(), matrix=(), drills=(), backups=(), custody=None, custodians=(),
        changes=(), rules=(), not_covered=(), evidence=(), previous=None, drill_interval_days=None,
        verdict=replace(
            good.verdict, where=(), paths=(), proven_at=None, rto_seconds=None, rto_objective=None
        ),
        key=replace(good.key, user_ids=(), created=None, expires=None, capabilities=(), renewal=None),
    )  # fmt: skip
    for report in (bare, replace(good, matrix=good.matrix[:-1], custody=replace(good.custody, picture=""))):
        page = html.render(report).decode()
        assert "<img" not in page
        assert pdf.render(report).startswith(b"%PDF")
    assert "Nothing is stored." in html.render(bare).decode()
    assert "not computed" in text_of(pdf.render(replace(good, matrix=good.matrix[:-1])))


def test_test_restores_are_counted_as_people_count_them() -> None:
    good = samples.good()
    assert (len(good.drills), good.runs) == (43, (22, 0))
    page = html.render(good).decode()
    table = page[page.index("Table of test restores") : page.index('id="backups"')]
    assert table.count("<tr>") == 1 + 22
    assert table.count("vault-eu, s3-us by unattended") == 21
    assert chart.describe(good).startswith(
        "22 test restores from 2025-06-01 to 2026-06-01: 22 passed, 0 failed."
    )


def test_a_run_fails_with_one_of_its_copies_and_says_which() -> None:
    good = samples.good()
    one, other = good.drills[-2:]
    failed = replace(other, passed=False, seconds=None, problems=("recover: denied",))
    report = replace(good, drills=(one, failed))
    (run,) = report.by_run
    assert (report.runs, run.passed) == ((0, 1), False)
    assert run.problems == (f"{other.copy} by unattended: recover: denied",)
    assert run.tried == ((f"{one.copy}, {other.copy} by unattended", one.epoch),)


@pytest.mark.parametrize(("runs", "drawn"), [(1, False), (2, False), (3, True)])
def test_a_chart_is_drawn_where_it_says_more_than_the_table(runs: int, drawn: bool) -> None:
    good = samples.good()
    page = html.render(replace(good, drills=good.drills[-2 * runs :])).decode()
    assert ('class="chart' in page) == drawn


def test_more_test_restores_than_a_page_takes() -> None:
    good = samples.good()
    failed = replace(good.drills[0], passed=False, seconds=None, problems=("recover: no",))
    begin = good.since + timedelta(minutes=30)
    many = [failed, *(replace(good.drills[1], at=begin + timedelta(hours=n)) for n in range(10_000))]
    report = replace(good, drills=tuple(many))
    page = html.render(report).decode()
    assert f"The newest {NEWEST} and every failed one, of 10001" in page
    assert page.count("recover: no") == 1
    assert len(page) < 3_000_000


def test_the_document_has_what_the_pages_have() -> None:
    told = model.document(samples.bad())
    assert told["schema"] == "orgkey.report/1"
    assert told["verdict"]["answer"] == "no"
    assert told["generated"] == "2026-06-01T08:00:00Z"
    assert told["matrix"][0]["state"] == "unreadable"
    assert model.render(samples.bad()).endswith(b"}\n")


def test_the_head_says_whose_key_it_is() -> None:
    report = samples.good()
    assert "<h1>acme.example Organization Key &lt;keys@acme.example&gt;</h1>" in html.render(report).decode()
    assert "acme.example Organization Key" in text_of(pdf.render(report))[:300]
    nameless = replace(report, key=replace(report.key, user_ids=()))
    assert f"<h1>Org Key {report.key.fingerprint[-8:]}</h1>" in html.render(nameless).decode()
    assert f"Org Key {report.key.fingerprint[-8:]}" in text_of(pdf.render(nameless))[:300]


def test_commands_are_set_as_code() -> None:
    """A lone backtick is nobody's command."""
    report = replace(samples.good(), not_covered=("Never compared (`orgkey <infra> plan`).", "a ` alone"))
    page, said = html.render(report).decode(), text_of(pdf.render(report))
    assert "<li>Never compared (<code>orgkey &lt;infra&gt; plan</code>).</li>" in page
    assert "<li>a ` alone</li>" in page
    assert "Never compared (orgkey <infra> plan)." in said
    assert "a ` alone" in said
