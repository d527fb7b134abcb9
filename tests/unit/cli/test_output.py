"""What leaves the program is harmless, whatever others have named things."""

from __future__ import annotations

import json
import logging
import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cli.output import Output, report_error
from pipeline.core import log, text
from pipeline.core.clock import SystemClock
from pipeline.core.errors import NotPinned
from pipeline.evidence.ledger import entry as chain
from tests.support import quiet_log

NASTY = "a\x1b[2J\x9b31m\u202egpj.exe\u2066\u200f\r\nb\x00\u2028\udcff"
HARMLESS = "a\\x1b[2J\\x9b31m\\u202egpj.exe\\u2066\\u200f\\r\\nb\\x00\\u2028\\xff"


def steers(shown: str) -> bool:
    return any(
        unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for char in shown.replace("\n", "")
    )


@pytest.mark.parametrize("json_wanted", [False, True])
def test_nothing_that_is_shown_steers_a_terminal(
    json_wanted: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    out = Output(json=json_wanted)
    out.progress(NASTY)
    out.warn(NASTY)
    out.emit({"name": NASTY, NASTY: [NASTY]}, [NASTY])
    shown = capsys.readouterr()
    assert shown.err.splitlines() == [HARMLESS, f"orgkey: warning: {HARMLESS}"]
    assert not steers(shown.out)
    if json_wanted:
        assert json.loads(shown.out) == {"name": NASTY, NASTY: [NASTY]}, "programs get it as it is"
    else:
        assert shown.out == HARMLESS + "\n"


@given(st.text(st.characters(exclude_categories=()), max_size=40))
def test_any_text_becomes_harmless_and_one_line(given_text: str) -> None:
    shown = text.printable(given_text)
    assert shown.isprintable()
    text.encodable(given_text).encode()
    assert text.printable(shown) == shown
    if given_text.isprintable():
        assert shown == given_text


def test_no_log_line_steers_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup(1)
    try:
        # The runner keeps what is logged, and hands it on as UTF-8.
        logging.getLogger("pipeline").warning("said: %s", NASTY.removesuffix("\udcff"))
        logging.getLogger("pipeline").warning("two\nlines")
    finally:
        quiet_log.shut_down()
    assert not steers(capsys.readouterr().err)


def test_the_ledger_takes_a_name_that_is_not_utf_8() -> None:
    name = os.fsdecode(b"caf\xe9.asc")
    entry = chain.write(
        chain.START, "A" * 40, "restore", {"out": name, name: [name]}, now=SystemClock().now(), run="0" * 16
    )
    assert json.loads(entry)["details"] == {"out": "caf\\xe9.asc", "caf\\xe9.asc": ["caf\\xe9.asc"]}


def test_errors_show_fingerprints_in_groups_and_leave_paths_and_documents_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    own, path = "0123456789ABCDEF" * 2 + "01234567", "/srv/state/" + "A" * 40 + "/ledger"
    error = NotPinned(f"the key {own} is not the pinned one, see {path}", hint=f"give --fingerprint {own}")
    report_error(error, as_json=True)
    shown = capsys.readouterr()
    assert f"the key {text.spaced(own)} is not the pinned one, see {path}" in shown.err
    assert f"--fingerprint {own}" in shown.err
    assert json.loads(shown.out)["error"]["message"] == error.message
