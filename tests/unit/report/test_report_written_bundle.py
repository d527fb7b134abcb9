"""Bundles as files: whole or absent, never over something, the same bytes for the same report."""

from __future__ import annotations

import os
import stat
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.core.errors import Code, LocalFilesProblem
from pipeline.evidence.ledger.store import Ledger
from pipeline.report import bundle, verify_page
from pipeline.report.bundle import Parts
from tests.support.bundles import STEM
from tests.support.sample_report import NOW, good


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    ledger = Ledger(tmp_path / "state", good().key.fingerprint)
    for number in range(3):
        ledger.append("drill", {"number": number}, now=NOW, run="run")
    certificates = tmp_path / "state" / "certificates"
    certificates.mkdir()
    for ending in (".json", ".json.asc", ".json.sig", ".witness.pem"):
        (certificates / f"{STEM}{ending}").write_bytes(ending.encode())
    (certificates / ".half.json.0123456789ab.orgkey-tmp").write_bytes(b"half")
    return Parts(
        tmp_path / "state" / "ledger", certificates, b"public", {"report.json": b"{}", "csv/x.csv": b"x\r\n"}
    )


def test_the_same_report_gives_the_same_zip(parts: Parts, tmp_path: Path) -> None:
    bundle.write(tmp_path / "one.zip", good(), parts)
    bundle.write(tmp_path / "other.ZIP", good(), parts)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "other.ZIP").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        for entry in archive.infolist():
            assert entry.date_time == (2026, 6, 1, 8, 0, 0)
            assert stat.filemode(entry.external_attr >> 16) == "-rw-r--r--"


def test_others_may_read_what_is_to_be_handed_to_them(parts: Parts, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        bundle.write(tmp_path / "one", good(), parts)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "one").stat().st_mode) == 0o755
    for file in (tmp_path / "one").rglob("*"):
        assert stat.S_IMODE(file.stat().st_mode) == (0o755 if file.is_dir() else 0o644)


@pytest.mark.parametrize("name", ["one", "one.zip"])
def test_nothing_is_overwritten(parts: Parts, tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(LocalFilesProblem, match="exists already") as caught:
        bundle.write(tmp_path / name, good(), parts)
    assert caught.value.code is Code.LOCAL_FILES
    assert list((tmp_path / name).iterdir()) == []
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(LocalFilesProblem, match="exists already"):
        bundle.write(tmp_path / "dangling", good(), parts)


@pytest.mark.parametrize("name", ["one", "one.zip"])
def test_a_failure_leaves_nothing(parts: Parts, tmp_path: Path, name: str) -> None:
    entry = next(parts.ledger.glob("*/000000003.json"))
    entry.unlink()
    entry.symlink_to("/proc/self/mem")  # a file that cannot be read
    place = tmp_path / "out"
    place.mkdir()
    with pytest.raises(LocalFilesProblem, match="cannot read"):
        bundle.write(place / name, good(), parts)
    assert list(place.iterdir()) == []
    with pytest.raises(LocalFilesProblem, match="cannot write"):
        bundle.write(tmp_path / "missing" / name, good(), replace(parts, ledger=tmp_path / "none"))


@pytest.mark.parametrize(
    "name",
    [
        "SHA256SUMS",
        "VERIFY.txt",
        "verify.html",
        "public.asc",
        "ledger/x.json",
        "../x",
        "/x",
        "a/b/c",
        ".x",
        "a b",
        "",
    ],
)
def test_renderings_take_no_name_that_is_not_theirs(parts: Parts, tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not a name for a rendering"):
        bundle.write(tmp_path / "one", good(), replace(parts, renderings={name: b""}))
    assert not (tmp_path / "one").exists()


def test_the_page_leaves_out_what_there_is_nothing_for_and_says_so() -> None:
    full = verify_page.render(
        good(), ["public.asc", "certificates/x.json", "ledger/000000001.json", "report.json"]
    ).decode()
    assert "openssl pkeyutl" in full
    assert "names the head of its host's chain" in full
    assert "openssl ts" not in full
    stamped = verify_page.render(good(), ["public.asc", "certificates/x.json", "certificates/x.json.tsr"])
    assert b"openssl ts -verify" in stamped
    assert b"This bundle has no ledger." in stamped
    assert b"names the head of its host's chain" in stamped, "a ledger that was taken out whole is missed"
    unsigned = verify_page.render(good(), ["public.asc", "ledger/000000001.json"]).decode()
    assert "no drill certificate" in unsigned
    assert "gpg --batch" not in unsigned
    assert "Without a\ncertificate" in unsigned
    keyless = verify_page.render(good(), ["certificates/x.json"]).decode()
    assert "no public key" in keyless
    assert "gpg --batch" not in keyless


def test_foreign_words_are_no_commands_on_the_page() -> None:
    verdict = replace(good().verdict, sentence="Yes.\n    rm -rf /\n\x1b[2J")
    page = verify_page.render(replace(good(), verdict=verdict, host="x\n    reboot"), []).decode()
    assert not [line for line in page.splitlines() if line.startswith(("    rm -rf /", "    reboot"))]
    assert "\x1b" not in page


def test_lines_of_the_page_are_ascii_and_short() -> None:
    page = verify_page.render(good(), ["public.asc", "certificates/x.json.tsr", "ledger/1.json"])
    assert page.isascii()
    for line in page.decode().splitlines():
        assert len(line) <= 120
