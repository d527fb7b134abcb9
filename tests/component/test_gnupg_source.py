"""A real keyring with a real agent."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.core.clock import Deadline
from pipeline.core.errors import LocalFilesProblem, ProgramMissing, UsageProblem, WrongPassphrase
from pipeline.core.secret import Secret
from pipeline.openpgp.key.inspection import inspect
from pipeline.sources.gnupg import GnupgSource
from pipeline.sources.interface import Export, NoExport
from tests.support import leftovers
from tests.support.commandline import quick_agent
from tests.support.openpgp_writer import PASSPHRASE

ASSETS = Path(__file__).parents[1] / "assets" / "keys"
SINGLE = (ASSETS / "ed25519-single.asc").read_bytes()
NOW = datetime(2026, 3, 1, tzinfo=UTC)
PIN = inspect(SINGLE, now=NOW).fingerprint or ""


def gpg(home: Path, *words: str, stdin: bytes = b"") -> None:
    command = ["gpg", "--homedir", str(home), "--batch", "--quiet", *words]
    subprocess.run(command, input=stdin, capture_output=True, timeout=60, check=True)


def agent_runs(home: Path) -> bool:
    command = ["gpg-connect-agent", "--homedir", str(home), "--no-autostart", "/bye"]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    return b"no gpg-agent running" not in done.stderr


def end_agent(home: Path) -> None:
    command = ["gpgconf", "--homedir", str(home), "--kill", "gpg-agent"]
    subprocess.run(command, capture_output=True, timeout=60, check=False)
    for _ in range(500):  # it was asked to end, and answers until it has
        if not agent_runs(home):
            return
        time.sleep(0.02)


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C.UTF-8")


@pytest.fixture
def keyring() -> Iterator[Path]:
    # A short path: the agent's socket lies in it.
    home = quick_agent(leftovers.directory("kr-", memory=True))
    try:
        gpg(home, "--import", stdin=SINGLE)
        end_agent(home)
        yield home
    finally:
        end_agent(home)
        shutil.rmtree(home, ignore_errors=True)


def export_of(keyring: Path | None, passphrase: bytes = PASSPHRASE, pin: str = PIN) -> Export:
    return GnupgSource(pin, lambda: Secret(passphrase), home=keyring).fetch(Deadline(60))


def test_the_pinned_key_is_exported_whole_and_protected(keyring: Path) -> None:
    export = export_of(keyring)
    seen = inspect(export.data, pin=PIN, passphrase=Secret(PASSPHRASE), now=NOW)
    assert (seen.code.label, seen.problems) == ("ok", [])
    assert seen.document["protection"]
    assert str(keyring) in export.origin


def test_an_agent_that_was_not_running_is_not_left_behind_with_the_passphrase(keyring: Path) -> None:
    export_of(keyring)
    assert not agent_runs(keyring)


def test_an_agent_of_the_operator_stays(keyring: Path) -> None:
    subprocess.run(
        ["gpg-connect-agent", "--homedir", str(keyring), "/bye"], capture_output=True, timeout=60, check=True
    )
    export_of(keyring)
    assert agent_runs(keyring)


def test_a_wrong_passphrase_is_told_from_everything_else(keyring: Path) -> None:
    with pytest.raises(WrongPassphrase) as caught:
        export_of(keyring, PASSPHRASE + b" ")
    assert "space" in caught.value.hint
    assert PASSPHRASE.decode() not in caught.value.message + caught.value.hint
    assert not agent_runs(keyring)


def test_a_key_that_is_not_there_is_named(keyring: Path) -> None:
    with pytest.raises(NoExport, match="0" * 40):
        export_of(keyring, pin="0" * 40)


def test_a_keyring_that_is_not_there_is_a_local_problem(tmp_path: Path) -> None:
    with pytest.raises(LocalFilesProblem, match="none"):
        export_of(tmp_path / "none")


def test_a_line_break_would_cut_the_passphrase(keyring: Path) -> None:
    with pytest.raises(UsageProblem, match="line break"):
        export_of(keyring, b"two\nlines")


def test_without_gpg_the_program_is_missing(
    keyring: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as without:
        without.setenv("PATH", str(tmp_path))
        with pytest.raises(ProgramMissing, match="gpg"):
            export_of(keyring)


def test_the_key_is_said_to_stay_in_the_keyring(keyring: Path) -> None:
    source = GnupgSource(PIN, lambda: Secret(PASSPHRASE), home=keyring)
    (told,) = source.finish(source.fetch(Deadline(60)), "epoch")
    assert "stays in the keyring" in told


def test_a_user_id_with_odd_digits_hides_no_reason() -> None:
    said = "[GNUPG:] USERID_HINT 0123456789AB A ² ٣ <a@example.com>\n[GNUPG:] ERROR export_keys 67108875\n"
    source = GnupgSource("A" * 40, lambda: Secret(b"x"))
    assert isinstance(source._failure(said.encode(), Secret(b"x")), WrongPassphrase)
