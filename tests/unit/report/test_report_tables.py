"""The report as CSV, read back by Python's reader as a spreadsheet would."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace

import pytest

from pipeline.report.controls.assess import assess
from pipeline.report.formats.csv import claims, harmless, tables
from pipeline.report.model import Report, render
from tests.support.sample_report import bad, digest, good, year


def whole(report: Report) -> Report:
    return replace(report, controls=assess(report))


def rows(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


def test_every_table_is_a_file_with_a_header() -> None:
    files = tables(whole(good()))
    assert sorted(files) == [
        "backups.csv", "changes.csv", "claims.csv", "controls.csv", "copies.csv", "custodians.csv",
        "drills.csv", "evidence.csv", "matrix.csv", "missed.csv", "paths.csv", "rules.csv",
    ]  # fmt: skip
    assert len(rows(files["drills.csv"])) == len(good().drills)
    assert len(rows(files["controls.csv"])) == len(assess(good()))
    assert files["missed.csv"] == b"due,until,days\r\n"
    for data in files.values():
        assert data.endswith(b"\r\n")
        assert b"\n" not in data.replace(b"\r\n", b"")


def test_cells_are_read_back_as_they_were() -> None:
    (vault, bucket) = rows(tables(good())["copies.csv"])
    assert vault["domain"] == "dc-frankfurt"
    assert vault["ok"] == "true"
    assert vault["retain_until"] == ""
    assert bucket["retain_until"] == "2028-08-09T08:00:00Z"
    assert bucket["sha256"] == digest("record")
    first = rows(tables(good())["drills.csv"])[0]
    assert first["stages"] == "fetch: 0.02; recover: 0.11; prove: 0.29; total: 0.42"
    assert first["implementations"] == "gnupg; pgpy; sequoia"


def test_nothing_in_a_file_steers_what_shows_it() -> None:
    (backup,) = good().backups
    report = replace(good(), backups=(replace(backup, name="a\x1b[31m\u202e\x9b31m\nb.pgp"),))
    for data in (*tables(report).values(), render(report)):
        assert all(char.isprintable() or char in "\r\n" for char in data.decode())
    assert json.loads(render(report))["backups"][0]["name"] == "a\x1b[31m\u202e\x9b31m\nb.pgp"
    assert rows(tables(report)["backups.csv"])[0]["name"] == r"a\x1b[31m\u202e\x9b31m\nb.pgp"


def test_claims_name_their_evidence_and_its_digest() -> None:
    found = rows(claims(whole(good())))
    assert set(found[0]) == {"section", "subject", "what", "value", "state", "at", "evidence", "sha256"}
    verdict = found[0]
    assert verdict["state"] == "yes"
    assert verdict["evidence"] == "R1; L100"
    assert verdict["sha256"] == f"{digest('record')}; {digest('L100')}"
    assert {row["section"] for row in found} == {
        "verdict", "key", "ledger", "epoch", "copies", "backups", "matrix", "drills", "custodians", "custody",
        "vault", "gate", "changes", "controls", "not covered",
    }  # fmt: skip
    for row in found:
        assert bool(row["evidence"]) == bool(row["sha256"])


def test_missed_and_failed_test_restores_are_claims_like_passed_ones() -> None:
    states = [row["state"] for row in rows(claims(year())) if row["section"] == "drills"]
    assert states.count("failed") == 3
    assert states.count("missed") == 2
    assert states.count("overdue") == 1
    assert [row["state"] for row in rows(claims(bad())) if row["section"] == "copies"] == ["not good"] * 2


def test_the_same_report_gives_the_same_bytes() -> None:
    assert tables(whole(year())) == tables(whole(year()))


HOSTILE = (
    "=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "a; =1", "a;=cmd|' /C x'!A0", 'a","=1', "\n=1",
)  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_foreign_text_never_becomes_a_formula(text: str) -> None:
    backup = replace(good().backups[0], name=text, problem=text)
    for data in (tables(replace(good(), backups=(backup,)))["backups.csv"], claims(bad())):
        for row in csv.reader(io.StringIO(data.decode(), newline="")):
            for cell in row:
                for part in re.split(r"[;,\n] *", cell):
                    assert not part.startswith(("=", "+", "-", "@", "\t", "\r")), cell
    undone = re.sub(r"(^|[;,\t\r\n] *)'(?=[=+@\t\r-])", r"\1", harmless(text))
    assert undone == text


def test_harmless_text_stays_as_it_is() -> None:
    for text in ("", "a - b", "keys@acme.example", "2026-06-01T08:00:00Z", "1=1", "x: -"):
        assert harmless(text) == text
