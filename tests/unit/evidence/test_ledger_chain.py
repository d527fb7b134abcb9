from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rfc8785

from pipeline.core import files
from pipeline.core.digest import sha256
from pipeline.core.errors import Code, LedgerBroken, LocalFilesProblem, OrgkeyError
from pipeline.evidence.ledger import entry as chain
from pipeline.evidence.ledger import events
from pipeline.evidence.ledger.store import Ledger
from tests.support.ledger_files import KEY, NOW, add, entry, place


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "state", KEY)


@pytest.fixture
def full(ledger: Ledger) -> Ledger:
    for number in range(1, 6):
        add(ledger, "escrow", number=number)
    return ledger


ODD: dict[str, tuple[dict[str, Any], str]] = {
    "another key": ({"fingerprint": "B" * 40}, "is of another key"),
    "no key": ({"fingerprint": "b" * 40}, "is of another key"),
    "previous too long": ({"previous": "0" * 65}, "has another previous"),
    "previous no digits": ({"previous": "g" * 64}, "has another previous"),
    "number": ({"sequence": 2}, "says that it is entry 2"),
    "time": ({"at": "2026-01-31 08:00:00Z"}, "has no time"),
}


@pytest.mark.parametrize("how", ODD)
def test_what_is_no_entry_of_this_ledger_is_refused(how: str) -> None:
    change, said = ODD[how]
    assert chain.parse(rfc8785.dumps(entry()), 1, KEY)["event"] == "kit"
    with pytest.raises(chain.Malformed, match=said):
        chain.parse(rfc8785.dumps(entry(**change)), 1, KEY)


@pytest.mark.parametrize(("more", "whole"), [(0, True), (1, False)])
def test_an_entry_has_a_largest_size(more: int, whole: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    data = rfc8785.dumps(entry())
    monkeypatch.setattr(chain, "LARGEST", len(data) - more)
    if whole:
        assert chain.parse(data, 1)
    else:
        with pytest.raises(chain.Malformed, match="larger"):
            chain.parse(data, 1)


@pytest.mark.parametrize(("digits", "said"), [(40, "canonically"), (41, "is not JSON")])
def test_a_number_has_a_largest_length(digits: int, said: str) -> None:
    data = rfc8785.dumps(entry(details={"n": 7})).replace(b'"n":7', b'"n":' + b"7" * digits)
    with pytest.raises(chain.Malformed, match=said):
        chain.parse(data, 1)


def test_an_empty_ledger(ledger: Ledger) -> None:
    assert ledger.entries() == []
    assert ledger.head().sequence == 0
    assert ledger.head().digest == sha256(b"")


def test_each_entry_carries_the_digest_of_the_one_before(full: Ledger) -> None:
    paths = sorted(place(full).iterdir())
    assert [path.name for path in paths] == [f"{number:09d}.json" for number in range(1, 6)]
    previous = sha256(b"").hex
    for number, path in enumerate(paths, 1):
        data = path.read_bytes()
        document = json.loads(data)
        assert rfc8785.dumps(document) == data
        assert document == {
            "schema": "orgkey.ledger/1", "sequence": number, "previous": previous, "event": "escrow",
            "at": "2026-01-31T08:00:00Z", "fingerprint": KEY, "run": "0123456789abcdef",
            "program": document["program"], "details": {"number": number},
        }  # fmt: skip
        previous = sha256(data).hex
    assert full.head().digest.hex == previous
    assert [item.document for item in full.entries()] == [json.loads(path.read_bytes()) for path in paths]


def test_append_returns_the_new_head(ledger: Ledger) -> None:
    head = ledger.append("drill", {}, now=NOW, run="r")
    assert head == ledger.head()
    assert head.sequence == 1


def test_entries_are_never_replaced(full: Ledger) -> None:
    before = {path: path.read_bytes() for path in place(full).iterdir()}
    add(full, "escrow")
    assert {path: path.read_bytes() for path in before} == before
    assert {path.stat().st_mode & 0o777 for path in before} == {0o600}


# -- tampering -------------------------------------------------------------------------------------


def rewrite(path: Path, **changes: Any) -> None:
    path.write_bytes(rfc8785.dumps(json.loads(path.read_bytes()) | changes))


def swap(one: Path, other: Path) -> None:
    left, right = one.read_bytes(), other.read_bytes()
    one.write_bytes(right)
    other.write_bytes(left)


def shift(folder: Path) -> None:
    """Remove an entry and renumber what follows, inside and out."""
    (folder / "000000003.json").unlink()
    for number in (4, 5):
        path = folder / f"{number:09d}.json"
        rewrite(path, sequence=number - 1)
        path.rename(folder / f"{number - 1:09d}.json")


def turn_into_a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def start_anew(folder: Path) -> None:
    for number in (1, 2, 3, 4):
        (folder / f"{number:09d}.json").unlink()


TAMPERING: dict[str, Callable[[Path], object]] = {
    "details changed": lambda at: rewrite(at / "000000002.json", details={"number": 7}),
    "time changed": lambda at: rewrite(at / "000000001.json", at="2025-01-31T08:00:00Z"),
    "white space added": lambda at: (at / "000000004.json").write_bytes(
        (at / "000000004.json").read_bytes() + b"\n"
    ),
    "removed in the middle": lambda at: (at / "000000003.json").unlink(),
    "removed and renumbered": lambda at: shift(at),
    "removed at the start": lambda at: (at / "000000001.json").unlink(),
    "two swapped": lambda at: swap(at / "000000002.json", at / "000000003.json"),
    "one repeated": lambda at: shutil.copy(at / "000000005.json", at / "000000006.json"),
    "emptied": lambda at: (at / "000000005.json").write_bytes(b""),
    "no JSON": lambda at: (at / "000000002.json").write_bytes(b"{"),
    "another document": lambda at: (at / "000000002.json").write_bytes(b"[]"),
    "another schema": lambda at: rewrite(at / "000000005.json", schema="orgkey.ledger/9"),
    "another link": lambda at: rewrite(at / "000000005.json", previous="00" * 32),
    "another number": lambda at: rewrite(at / "000000005.json", sequence=6),
    "nested too deep": lambda at: (at / "000000002.json").write_bytes(b"[" * 200_000),
    "a directory": lambda at: turn_into_a_directory(at / "000000002.json"),
    "started anew": start_anew,
    "renamed": lambda at: (at / "000000005.json").rename(at / "000000007.json"),
}  # fmt: skip


@pytest.mark.parametrize("how", TAMPERING)
def test_tampering_is_found(full: Ledger, how: str) -> None:
    TAMPERING[how](place(full))
    with pytest.raises(LedgerBroken) as caught:
        full.entries()
    assert caught.value.code is Code.LEDGER_BROKEN
    assert caught.value.hint


def test_the_first_bad_entry_is_named(full: Ledger) -> None:
    rewrite(place(full) / "000000002.json", details={})
    with pytest.raises(LedgerBroken, match="entry 3"):
        full.entries()


def test_a_cut_off_end_shows_in_the_head_only(full: Ledger) -> None:
    # Certificates carry the head: that is what anchors the chain's end.
    head = full.head()
    (place(full) / "000000005.json").unlink()
    assert len(full.entries()) == 4
    assert full.head() != head


def test_a_changed_last_entry_shows_in_the_head(full: Ledger) -> None:
    head = full.head()
    rewrite(place(full) / "000000005.json", details={"number": 9})
    assert full.head().digest != head.digest


@pytest.mark.parametrize(
    "name", ["notes.txt", ".000000006.json.tmp", "x.json", "5.json", "²².json", "٣.json"]
)
def test_files_that_are_no_entries_are_left_alone(full: Ledger, name: str) -> None:
    (place(full) / name).write_bytes(b"hello")
    assert len(full.entries()) == 5
    assert full.head().sequence == 5
    add(full, "escrow")
    assert full.head().sequence == 6


def test_a_head_that_cannot_be_read_is_told_as_such(full: Ledger) -> None:
    (place(full) / "000000005.json").unlink()
    (place(full) / "000000005.json").mkdir()
    with pytest.raises(OrgkeyError) as caught:
        full.head()
    assert caught.value.code in (Code.LEDGER_BROKEN, Code.LOCAL_FILES)
    with pytest.raises(OrgkeyError):
        add(full, "escrow")


# -- at the same time ------------------------------------------------------------------------------


def test_threads_keep_one_chain(ledger: Ledger) -> None:
    failures: list[BaseException] = []

    def work(name: str) -> None:
        try:
            for number in range(8):
                add(ledger, name, number=number)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(f"t{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    entries = ledger.entries()
    assert len(entries) == 32
    for name in ("t0", "t1", "t2", "t3"):
        mine = [entry.details["number"] for entry in entries if entry.event == name]
        assert mine == list(range(8))


# -- a disk that refuses ---------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["fsync", "write", "link"])
def test_a_full_disk_is_code_3_and_leaves_the_chain_whole(
    full: Ledger, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **more: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, {"fsync": "fsync", "write": "open", "link": "link"}[step], refuse)
        with pytest.raises(LocalFilesProblem, match="No space left") as caught:
            add(full, "escrow", lost=True)
    assert caught.value.code is Code.LOCAL_FILES
    assert len(full.entries()) == 5
    assert len(list(place(full).iterdir())) == 5, "no temporary file is left"


def test_an_entry_whose_directory_cannot_be_synced_is_a_failure_and_there_once(
    full: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(files, "fsync_directory", refuse)
        with pytest.raises(LocalFilesProblem, match="Input/output"):
            add(full, "escrow", once=True)
    assert len(full.entries()) == 6


def test_an_event_keeps_what_it_was_given_under_the_entry_s_names() -> None:
    read = events.BackupRead(source="s", ok=True, size=3)
    assert events.BackupsVerifyEvent(backups=(read,)).to_details() == {
        "backups": [{"source": "s", "ok": True, "bytes": 3}]
    }
    restored = events.RestoreEvent(epoch="E", origin="s3", via="p", out="/x")
    assert restored.to_details() == {"epoch": "E", "from": "s3", "via": "p", "out": "/x"}


def test_what_a_killed_run_left_beside_the_host_id_is_swept(full: Ledger) -> None:
    left = full.directory / ".host-id.0123456789ab.orgkey-tmp"
    left.write_bytes(b"half")
    add(full, "kit")
    assert not left.exists()
