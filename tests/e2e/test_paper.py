"""Shares on paper: printed once, stored nowhere, and good for a restore."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.test_custody_rotate import record_at
from tests.support.commandline import Desk

if TYPE_CHECKING:
    from tests.conftest import Place

KEEPERS = ("safe-berlin", "notary-paris", "board")


@pytest.fixture
def printer(tmp_path: Path) -> Path:
    """A printer that keeps its pages in a tray, and the words of its command line."""
    (tmp_path / "tray").mkdir()
    script = tmp_path / "printer"
    script.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/arguments\nenv >> {tmp_path}/environment\n'
        f'cat > "{tmp_path}/tray/$$.pdf"\n'
    )
    script.chmod(0o755)
    return script


@pytest.fixture
def desk(place: Place, tmp_path: Path, printer: Path) -> Desk:
    tables = (
        f'\n[holder.safe]\nkind = "paper"\nkept_by = {json.dumps(KEEPERS)}\n'
        f'print_command = ["{printer}", "--tray", "2"]\n'
        '[path.paper]\nneeds = [{ holder = "safe", threshold = 2 }]\n'
    )
    return Desk(place, tmp_path, disk=True, more=tables)


def printed(folder: Path) -> dict[str, str]:
    """The words on each sheet, by keeper."""
    from pypdf import PdfReader

    found = {}
    for path in (folder / "tray").glob("*.pdf"):
        (page,) = PdfReader(io.BytesIO(path.read_bytes())).pages
        text = " ".join(page.extract_text().split())
        keeper = re.search(r"Kept by (\S+)\. Open only", text)
        assert keeper is not None
        numbered = dict(re.findall(r"\b(\d{1,2})\. ([a-z]+)", text))
        found[keeper[1]] = " ".join(numbered[str(number)] for number in range(1, 34))
    return found


def test_two_sheets_restore_and_the_words_are_nowhere_else(desk: Desk) -> None:
    epoch = desk.escrow()["epoch"]
    sheets = printed(desk.folder)
    assert set(sheets) == set(KEEPERS)
    record = record_at(desk, epoch)
    for share in record.manifest.custody.path("paper").shares:
        placard = record.members[share.member].decode()
        assert share.member == f"custody/paper/safe-{share.index}.txt"
        assert f"kept by {share.label}" in placard
    for name in ("arguments", "environment"):
        for words in sheets.values():
            assert " ".join(words.split()[:3]) not in (desk.folder / name).read_text()
    for path in desk.folder.rglob("*"):
        if path.is_file() and "tray" not in path.parts:
            data = path.read_bytes().lower()
            assert not any(" ".join(words.split()[:4]).encode() in data for words in sheets.values()), path

    given = []
    for keeper in KEEPERS[1:]:
        numbered = "\n".join(f"{n}. {word}" for n, word in enumerate(sheets[keeper].split(), 1))
        given += ["--share", str(desk.write(f"typed-{keeper}", numbered.encode()))]
    assert desk.restore(*given)["via"] == "paper"
    assert desk.ask("drill", "--via", "paper", *given)["results"][0]["participants"] == list(KEEPERS[1:])
    assert "board" in desk.run("restore", "--out", str(desk.folder / "no"), *given[:2], expect=31).error[1]


def test_each_epoch_is_printed_once(desk: Desk) -> None:
    desk.escrow()
    assert len(list((desk.folder / "tray").iterdir())) == 3
    assert desk.escrow()["already"] is True
    assert len(list((desk.folder / "tray").iterdir())) == 3, "nothing is printed for what is stored already"


@pytest.mark.parametrize("sheets", [0, 1])
def test_a_printer_that_fails_stops_the_escrow_before_anything_is_written(
    desk: Desk, printer: Path, sheets: int
) -> None:
    """What was printed before is a share of no record, and must not get into an envelope."""
    script = f"#!/bin/sh\ncat > /dev/null\ntest $(ls {desk.folder}/tray | wc -l) -lt {sheets} &&"
    printer.write_text(f"{script} exec touch {desk.folder}/tray/$$\necho 'paper jam' >&2\nexit 5\n")
    run = desk.run(
        "escrow", str(desk.export), "--export-passphrase-file", str(desk.passphrase_file), expect=3
    )
    assert f"the sheet for {KEEPERS[sheets]} was not printed: paper jam" in run.error[0]
    assert ("destroy the sheets that were printed" in run.error[1]) == bool(sheets)
    assert desk.nothing_stored()


def test_doctor_looks_for_the_print_command(desk: Desk) -> None:
    assert "3 sheets of paper" in desk.run("doctor").out
    desk.edit('"--tray", "2"]', '"--tray", "2"]\ntimeout_seconds = 5')
    desk.edit(f'print_command = ["{desk.folder}/printer"', 'print_command = ["no-such-printer"')
    assert "the print command no-such-printer is not installed" in desk.run("doctor", expect=4).out


def test_paper_is_not_asked_to_check_in(desk: Desk) -> None:
    desk.escrow()
    desk.edit("[policy]", "[policy]\nmax_check_in_age_days = 0.000001")
    status = desk.ask("status")
    assert {item["overdue"] for item in status["custodians"]} == {False}
    assert "no custodians" in desk.run("custody", "challenge", expect=2).error[0]
