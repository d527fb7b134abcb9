"""What a terminal gets beside the words: colour where somebody wants it, and tables that fit."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping

import pytest
from typer.testing import CliRunner

from pipeline.cli import app, output, terminal
from pipeline.cli.lazy import LateCommand

LINES = (
    "gate: ok, all 17 rules hold",
    "gate: BROKEN (exit code 40: older than the policy allows)",
    "WARN  holder aws: the key is not rotated",
    "orgkey: error: vault does not answer",
    "orgkey: warning: the ledger is not mirrored",
    "s3     s3      MISSING  no copy of this epoch is there",
    "vault  vault   good   25 s ago",
    "drill passed; RTO 0.70 s",
    "verdict    YES, WITH GAPS: the key could be restored",
)


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.mark.parametrize("line", LINES)
def test_a_verdict_has_a_colour_and_its_word(line: str) -> None:
    shown = terminal.painted(line, Screen())
    assert shown.count("\x1b[0m") == 1
    assert re.sub(r"\x1b\[\d+m", "", shown) == line


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_nobody_gets_colours_who_does_not_want_them(
    line: str, name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert terminal.painted(line, Screen()) == line


@pytest.mark.parametrize("line", LINES)
def test_a_file_or_a_pipe_gets_the_words_alone(line: str) -> None:
    assert terminal.painted(line, io.StringIO()) == line


def test_an_empty_no_color_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "")
    assert "\x1b[32m" in terminal.painted(LINES[0], Screen())


@pytest.mark.parametrize(
    "line",
    [
        "proven: True; results: 2",
        "proven     2026-11-30 11:49 UTC",
        "it is good",
        "the file ok.txt",
        "orgkey: hint: a good copy",
    ],
)
def test_prose_stays_as_it_is(line: str) -> None:
    assert terminal.painted(line, Screen()) == line


ROWS = [
    ("unattended", "holder vault (vault-transit) and holder aws (aws-kms)", "25 s ago, took 0.7 s"),
    ("custodians", "3 of 5 custodians (custodians)", "26 s ago, took 0.7 s"),
]


def test_a_table_fits_the_terminal_and_loses_no_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "columns", lambda: 80)
    lines = output.table(("path", "needs", "restored"), ROWS)
    assert max(map(len, lines)) <= 80
    assert sorted(" ".join(lines).split()) == sorted(
        " ".join(["path needs restored", *map(" ".join, ROWS)]).split()
    )


def test_a_table_in_a_file_has_a_line_for_each_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "columns", lambda: None)
    assert len(output.table(("path", "needs", "restored"), ROWS)) == 3


@pytest.mark.parametrize(
    ("line", "second"),
    [
        ("verdict    YES: The Org Key can be restored today from all copies by both paths.", "           "),
        ("  reconstructs alone: no party of the plan; but host vm, which has live logins, does", "  "),
    ],
)
def test_prose_is_wrapped_at_words_beneath_its_beginning(
    line: str, second: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "columns", lambda: 60)
    first, *more = terminal.wrapped(line)
    assert len(first) <= 60
    assert [len(part) - len(part.lstrip()) for part in more] == [len(second)] * len(more)
    assert " ".join([first, *more]).split() == line.split()


@pytest.mark.parametrize(
    "line", ["see `" + "a " * 40 + "`", "certificate /" + "a " * 40, "aws --key " + "a " * 40]
)
def test_what_is_to_be_copied_is_not_wrapped(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "columns", lambda: 60)
    assert terminal.wrapped(line) == [line]


def test_an_address_is_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "columns", lambda: 40)
    address = "s3://bucket/" + "a" * 60
    assert any(address in line for line in output.table(("copy", "where"), [("s3", f"good {address}")]))


def test_the_width_is_the_terminals_and_not_that_of_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "72")
    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert terminal.columns() is None
    monkeypatch.setattr("sys.stdout", Screen())
    assert terminal.columns() == 72


def test_the_first_screen_fits_a_small_terminal() -> None:
    lines = app._first_screen().splitlines()
    assert len(lines) < 24
    assert max(map(len, lines)) <= 80


def every(entries: Mapping[str, LateCommand]) -> Iterator[str]:
    for entry in entries.values():
        yield entry.words
        yield from every(entry.commands)


@pytest.mark.parametrize("words", ["", *every(app.COMMANDS)])
def test_a_help_page_fits_and_shows_nothing_of_the_parser(words: str) -> None:
    shown = CliRunner().invoke(app.app, [*words.split(), "--help"], terminal_width=80)
    assert shown.exit_code == 0
    assert [line for line in shown.output.splitlines() if len(line) > 80] == []
    cut = re.compile(r"[{}<]|<=x|\]\.\.\.\]|default: 0\]|\w\.\.\.$")
    lines = shown.output.replace("COMMAND [ARGS]...", "").splitlines()
    assert [line for line in lines if cut.search(line)] == []
