"""Passphrases from commands and from a real terminal (pty), in a session of its own."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.core import passphrases
from pipeline.core.errors import DeadlinePassed, LocalFilesProblem, OrgkeyError, UsageProblem
from pipeline.core.secret import Secret

OPTIONS = "--export-passphrase-file/-fd/-command"


@pytest.mark.parametrize(
    "command", ["printf '%s\\n' \"two  words;$HOME\"", ("printf", "%s\n", "two  words;$HOME")]
)
def test_a_command_is_split_but_no_shell_runs_it(command: str | tuple[str, ...]) -> None:
    source = passphrases.from_options("passphrase", command=command, option_names=OPTIONS)
    assert source() == Secret("two  words;$HOME")


@pytest.mark.parametrize(
    ("code", "seconds", "error", "told"),
    [
        ("import sys; print('pw'); sys.exit('locked: s3cret')", 30, UsageProblem, "code 1"),
        ("pass", 30, UsageProblem, "empty"),
        ("import time; time.sleep(60)", 2, DeadlinePassed, "within 2 s"),
        ("print('x' * 100000)", 30, LocalFilesProblem, "more than"),
    ],
)
def test_commands_that_fail_are_told_apart(
    code: str, seconds: float, error: type[OrgkeyError], told: str
) -> None:
    command = (sys.executable, "-c", code)
    with pytest.raises(error, match=told) as caught:
        passphrases.from_options("passphrase", command=command, option_names=OPTIONS, seconds=seconds)()
    assert "pw" not in caught.value.message + caught.value.hint


def run_without_terminal(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        start_new_session=True,
        check=False,
    )


def test_without_a_terminal_nothing_prompts_and_the_option_is_named() -> None:
    code = (
        "from pipeline.core import passphrases\nfrom pipeline.core.errors import UsageProblem\n"
        f"source = passphrases.from_options('passphrase of the export', option_names={OPTIONS!r})\n"
        "try:\n    source()\nexcept UsageProblem as error:\n    print(error.message, '|', error.hint)"
    )
    done = run_without_terminal(code)
    assert done.stdout.strip() == (
        f"the passphrase of the export is needed, and this is not running in a terminal | give {OPTIONS}"
    ), done.stderr


DIALOGUE = """
import os, sys
os.close(os.open(os.ttyname(0), os.O_RDWR))  # a session's leader thus takes it as its terminal
from pipeline.core import passphrases
from pipeline.core.errors import OrgkeyError
source = passphrases.from_options("passphrase", confirm={confirm}, option_names="--x")
try:
    sys.stdout.write("GOT " + source().reveal().hex())
except OrgkeyError as error:
    sys.stdout.write("ERROR " + error.message)
"""


def converse(answers: list[bytes], *, confirm: bool) -> tuple[str, bytes]:
    """Answer each prompt; return what the program printed, and all that the terminal showed."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", DIALOGUE.format(confirm=confirm)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdin=theirs,
        stderr=theirs,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    os.close(theirs)
    shown = b""
    ends = time.monotonic() + 60
    left = list(answers)
    try:
        while time.monotonic() < ends:
            if not select.select([ours], [], [], 0.1)[0]:
                if child.poll() is not None:
                    break
                continue
            try:
                shown += os.read(ours, 4096)
            except OSError:  # the terminal's other side is closed
                break
            if left and shown.count(b": ") > len(answers) - len(left):
                os.write(ours, left.pop(0) + b"\n")
        printed, _ = child.communicate(timeout=60)
    finally:
        os.close(ours)
        child.kill()
        child.wait()
    return printed.decode(), shown


def test_a_person_is_asked_without_echo() -> None:
    printed, shown = converse([b"open sesame"], confirm=False)
    assert printed == "GOT " + b"open sesame".hex()
    assert b"passphrase: " in shown
    assert b"sesame" not in shown


def test_a_new_passphrase_is_typed_twice_and_a_slip_asks_again() -> None:
    printed, shown = converse([b"one", b"two", b"three", b"three"], confirm=True)
    assert printed == "GOT " + b"three".hex()
    assert b"the two differ" in shown


def test_no_number_of_slips_ends_the_dialogue() -> None:
    printed, shown = converse([b"one", b"two"] * 4 + [b"three", b"three"], confirm=True)
    assert printed == "GOT " + b"three".hex()
    assert shown.count(b"the two differ") == 4


def test_three_empty_answers_end_the_dialogue() -> None:
    printed, _ = converse([b"", b"", b""], confirm=False)
    assert printed.startswith("ERROR no passphrase after 3 attempts")


def test_a_command_gets_no_logins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "hvs.example")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "example")
    monkeypatch.setenv("PASSWORD_STORE_DIR", "/store")
    got = passphrases.from_options("it", command=["env"], option_names=OPTIONS)().text().splitlines()
    names = {line.partition("=")[0] for line in got}
    assert {"PATH", "PASSWORD_STORE_DIR"} <= names
    assert not {"VAULT_TOKEN", "AWS_SECRET_ACCESS_KEY"} & names
