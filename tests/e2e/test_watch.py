"""`orgkey watch`: the inbox, the live key and the backups in one process that a signal does not hurt."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.test_custody_rotate import record_at
from tests.support import forkserver, people
from tests.support.commandline import ORGKEY, Desk, environment, export_of
from tests.support.openpgp_writer import PASSPHRASE

if TYPE_CHECKING:
    from tests.conftest import Place


@pytest.fixture
def desk(place: Place, tmp_path: Path) -> Desk:
    desk = Desk(place, tmp_path)
    inbox = tmp_path / "inbox"
    inbox.mkdir(mode=0o700)
    source = f"""
[source]
kind = "inbox"
path = {json.dumps(str(inbox))}
settle_seconds = 0.2
passphrase_file = {json.dumps(str(desk.passphrase_file))}
"""
    desk.config.write_text(desk.config.read_text() + source)
    return desk


def deliver(desk: Desk, key: str = "ed25519") -> Path:
    """An administrator drops an export into the inbox."""
    path = desk.folder / "inbox" / "0x12345678.asc"
    path.write_bytes(export_of(key).read_bytes())
    path.chmod(0o600)
    return path


@contextmanager
def watching(desk: Desk, *words: str) -> Iterator[subprocess.Popen[str]]:
    """The long-running process, each round one line of JSON documents on its output."""
    common = ("--config", str(desk.config), "--state-dir", str(desk.state))
    with forkserver.Popen(
        [*ORGKEY, "watch", *words, *common], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, cwd=desk.folder, env=environment(desk.folder), text=True,
        start_new_session=True,
    ) as child:  # fmt: skip
        try:
            yield child
        finally:
            child.kill()


def said(child: subprocess.Popen[str], words: str) -> None:
    """Wait for a line."""
    assert child.stdout is not None
    for line in child.stdout:
        if words in line:
            return
    pytest.fail(f"it never said {words!r}")


def test_what_arrives_is_escrowed_once(desk: Desk) -> None:
    empty = desk.ask("watch", "--once", expect=40)
    assert (empty["escrowed"], empty["gate"]["ok"]) == (None, False)
    path = deliver(desk)
    done = desk.ask("watch", "--once")
    assert done["escrowed"]
    assert (done["gate"]["ok"], done["problems"], done["exit_code"]) == (True, [], 0)
    assert not path.exists(), "it was put aside once it was proven"
    assert desk.ask("watch", "--once")["escrowed"] is None
    # What cannot be escrowed is named, and left alone.
    bad = deliver(desk, "nistp256")
    refused = desk.ask("watch", "--once", expect=14)
    assert refused["problems"]
    assert refused["gate"]["ok"] is True
    assert bad.exists()


def test_an_export_whose_name_is_no_text_is_escrowed_and_put_aside(desk: Desk) -> None:
    path = deliver(desk)
    path.rename(path.with_name(os.fsdecode(b"odd\xff\n\x1b[31m.asc")))
    assert desk.ask("watch", "--once")["gate"]["ok"]
    kept = (desk.folder / "inbox/done").iterdir()
    assert sorted(path.suffix for path in kept) == [".asc", ".note"]


def test_a_signal_between_two_rounds_ends_it_with_0(desk: Desk) -> None:
    with watching(desk, "--every", "1") as child:
        said(child, "gate: BROKEN")
        deliver(desk)
        said(child, "escrowed and stored as")
        said(child, "gate: ok")
        time.sleep(0.1)
        for number in (signal.SIGTERM, signal.SIGHUP):
            with watching(desk, "--every", "600") as other:
                said(other, "gate: ok")
                time.sleep(0.5)  # it says so before it pauses
                other.send_signal(number)
                assert other.wait(30) == 0
        child.send_signal(signal.SIGTERM)
        # In the pause 0; in the middle of a round 130, and nothing is lost.
        assert child.wait(30) in (0, 130)
    assert desk.ask("status")["gate"]["ok"]


def test_a_signal_in_the_middle_of_a_round_loses_nothing(desk: Desk) -> None:
    deliver(desk)
    with watching(desk, "--every", "600", "-v") as child:
        assert child.stderr is not None
        for line in child.stderr:
            if "making a new record" in line:
                break
        child.send_signal(signal.SIGINT)
        assert child.wait(60) == 130
    done = desk.ask("watch", "--once")
    assert done["escrowed"]
    assert done["gate"]["ok"]
    assert not list((desk.folder / "inbox").glob("*.asc"))


def test_a_broken_server_is_told_and_the_next_round_goes_on(desk: Desk) -> None:
    deliver(desk)
    text = desk.config.read_text()
    desk.config.write_text(text.replace(desk.stack.endpoint("s3"), "http://127.0.0.1:9"))
    seen = desk.ask("watch", "--once", expect=None)
    assert seen["exit_code"] not in (0, 1)
    assert not seen["gate"]["ok"]
    desk.config.write_text(text)
    assert desk.ask("watch", "--once")["gate"]["ok"]
    assert desk.run("watch", "--once", "--every", "0", expect=2).error


def entered(desk: Desk) -> list[str]:
    """The ledger's entries about escrows."""
    shown = desk.ask("ledger", "show")["entries"]
    return [entry["event"] for entry in shown if entry["event"].startswith("escrow")]


def test_a_wrong_passphrase_is_entered_once_until_its_file_changes(desk: Desk) -> None:
    deliver(desk)
    desk.passphrase_file.write_text("wrong")
    first = desk.ask("watch", "--once", expect=12)
    for _ in range(2):
        again = desk.ask("watch", "--once", expect=12)
        assert again["problems"][0].startswith(first["problems"][0].partition(";")[0])
        assert "is not tried again before" in again["problems"][0]
    assert entered(desk) == ["escrow-failed"]
    desk.passphrase_file.write_bytes(PASSPHRASE)
    assert desk.ask("watch", "--once")["escrowed"]
    assert entered(desk) == ["escrow-failed", "escrow"]


def test_a_record_that_only_people_can_prove_is_entered_once(desk: Desk) -> None:
    tables = people.tables(people.folder(desk.folder / "certificates", people.NAMES))
    text = desk.config.read_text()
    alone = text.index("[path.unattended]")
    end = text.find("\n[", alone)
    desk.config.write_text(text[:alone] + (text[end:] if end > 0 else "") + desk.disk_table + tables)
    path = deliver(desk)
    first = desk.ask("watch", "--once", expect=None)
    assert first["escrowed"]
    for _ in range(2):
        again = desk.ask("watch", "--once", expect=first["exit_code"])
        assert again["escrowed"] is None
        assert f"stored as {first['escrowed']} and not proven" in again["problems"][0]
    assert entered(desk) == ["escrow"]
    assert path.exists()
    record = record_at(desk, first["escrowed"])
    shares = []
    for name in ("alice", "bob", "carol"):
        words = people.words(name, record, "custodians").reveal()
        shares += ["--share", str(desk.write(f"share-{name}", words))]
    desk.ask("drill", "--epoch", first["escrowed"], "--via", "custodians", *shares)
    assert desk.ask("watch", "--once", expect=None)["escrowed"] == first["escrowed"]
    assert not path.exists(), "people have proven it, so it was put aside"
