"""The report on real servers: computed from what they say at this moment."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.commandline import Desk

if TYPE_CHECKING:
    from tests.conftest import Place
    from tests.support.local_stack import Stack

POLICY = "rto_seconds = 600\n"


@pytest.fixture
def desk(breakable_stack: Stack, fresh_place: Callable[[Stack], Place], tmp_path: Path) -> Desk:
    """A proven escrow on a stack that may be broken."""
    made = Desk(fresh_place(breakable_stack), tmp_path, more=POLICY)
    made.escrow()
    return made


def verdict(desk: Desk) -> dict[str, Any]:
    found: dict[str, Any] = desk.ask("report")["verdict"]
    return found


def test_each_fact_changes_the_verdict(desk: Desk) -> None:
    fine = verdict(desk)
    assert (fine["answer"], fine["where"], fine["paths"]) == ("yes", ["vault", "s3"], ["unattended"])
    assert fine["gaps"] == []

    desk.stack.stop_member("vault")
    down = verdict(desk)
    assert down["answer"] == "no"
    assert down["where"] == ["s3"]
    assert any("vault cannot be reached" in gap for gap in down["gaps"])
    desk.stack.start_member("vault")
    assert verdict(desk) == fine

    desk.stack.kms("root").disable_key(KeyId=desk.stack.state.kms_key)
    assert verdict(desk)["answer"] == "no"
    desk.stack.kms("root").enable_key(KeyId=desk.stack.state.kms_key)
    assert verdict(desk) == fine

    epoch = desk.ask("list")["epochs"][0]["epoch"]
    good = desk.at_s3.client.get_object(
        Bucket=desk.at_s3.bucket, Key=f"{desk.place.s3_prefix}/{desk.fingerprint}/{epoch}.tar"
    )["Body"].read()
    desk.plant(epoch, good[:700] + bytes([good[700] ^ 1]) + good[701:], "vault")
    altered = verdict(desk)
    assert altered["answer"] != "yes"
    assert any(gap.startswith("vault: ") for gap in altered["gaps"])


def test_an_overdue_drill_changes_the_verdict(place: Place, tmp_path: Path) -> None:
    desk = Desk(place, tmp_path)
    desk.edit("max_drill_age_days = 8", "max_drill_age_days = 0.0000001")
    desk.escrow()
    told = desk.ask("report")
    assert told["verdict"]["answer"] == "yes, with gaps"
    assert {cell["state"] for cell in told["matrix"]} == {"overdue"}


def test_files_are_written_once_and_entered_in_the_ledger(place: Place, tmp_path: Path) -> None:
    desk = Desk(place, tmp_path, more=POLICY)
    desk.escrow()
    for ending, start in (("html", b"<!doctype html>"), ("pdf", b"%PDF-"), ("json", b"{")):
        path = tmp_path / f"report.{ending}"
        told = desk.ask("report", "--out", str(path))
        data = path.read_bytes()
        assert data.startswith(start)
        assert told["files"] == {path.name: hashlib.sha256(data).hexdigest()}
        assert path.stat().st_mode & 0o777 == 0o644
        assert desk.run("report", "--out", str(path), expect=3).error[0].endswith("exists already")
    for form in ("csv", "oscal"):
        desk.ask("report", "--format", form, "--out", str(tmp_path / f"report.{form}.out"))
    assert (tmp_path / "report.csv.out").read_bytes().startswith(b"section,")
    assert "assessment-results" in json.loads((tmp_path / "report.oscal.out").read_bytes())
    told = desk.ask("report", "--bundle", str(tmp_path / "bundle.zip"))
    with zipfile.ZipFile(tmp_path / "bundle.zip") as archive:
        (sums,) = (name for name in archive.namelist() if name.endswith("SHA256SUMS"))
        assert told["files"] == {"bundle.zip": hashlib.sha256(archive.read(sums)).hexdigest()}
        assert {"report.html", "VERIFY.txt", "public.asc"} <= {Path(name).name for name in archive.namelist()}
    assert desk.run("report", "--bundle", str(tmp_path / "bundle.zip"), expect=3).error
    entries = sorted((desk.state / desk.fingerprint / "ledger").glob("*/*.json"))
    newest = json.loads(entries[-1].read_bytes())
    assert newest["event"] == "report"
    assert newest["details"]["files"] == told["files"]
    assert desk.ask("report")["previous"] == newest["at"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--out", "report.doc"), "is not that of a format"),
        (("--format", "html"), "needs --out"),
        (("--since", "soon"), "is not a date"),
    ],
)
def test_usage(place: Place, tmp_path: Path, words: tuple[str, ...], told: str) -> None:
    assert told in Desk(place, tmp_path).run("report", *words, expect=2).error[0]


def test_before_the_first_escrow_it_says_no(place: Place, tmp_path: Path) -> None:
    desk = Desk(place, tmp_path)
    run = desk.run("report", "--out", str(tmp_path / "r.html"), expect=0)
    assert "verdict    NO: The Org Key cannot be restored: nothing authentic is stored for it." in run.out
    assert desk.ask("report", expect=0)["copies"] == []


def test_a_broken_ledger_is_41_and_still_a_report(place: Place, tmp_path: Path) -> None:
    desk = Desk(place, tmp_path, more=POLICY)
    desk.escrow()
    (first,) = (desk.state / desk.fingerprint / "ledger").glob("*/000000001.json")
    first.chmod(0o600)
    first.write_bytes(first.read_bytes().replace(b'"run":"', b'"run":"0', 1))
    told = desk.ask("report", "--out", str(tmp_path / "r.html"), expect=41)
    assert told["ledger"]["ok"] is False
    assert "breaks at entry 2" in told["ledger"]["problem"]
    assert b"BROKEN" in (tmp_path / "r.html").read_bytes()
