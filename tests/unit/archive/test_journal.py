from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.archive.journal import Journal, JournalEntry, lock
from pipeline.core import files
from pipeline.core.digest import sha256
from pipeline.core.errors import Code, LocalFilesProblem, OrgkeyError
from pipeline.storage.interface import Receipt

EPOCH = "20260131T080000Z-0a1b2c3d"
LATER = "20260201T080000Z-0a1b2c3d"
RECEIPT = Receipt(
    "vault-eu", "vault", "dc-1", "orgkey/records/x", "1", sha256(b"x"),
    datetime(2027, 1, 31, 8, tzinfo=UTC), f"{EPOCH}-r1",
)  # fmt: skip


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "state" / ("A" * 40))


@pytest.fixture
def entry(journal: Journal) -> JournalEntry:
    return journal.begin(EPOCH, b"the record")


def test_an_epoch_that_was_begun_is_there_whole(journal: Journal, entry: JournalEntry) -> None:
    assert journal.entries() == [entry]
    assert journal.entry(EPOCH) == entry
    assert entry.record_bytes() == b"the record"
    assert entry.receipts() == {}
    assert entry.proven() is None


def test_an_unknown_epoch_is_none(journal: Journal) -> None:
    assert journal.entry(EPOCH) is None
    assert journal.entries() == []


def test_entries_come_oldest_first(journal: Journal) -> None:
    journal.begin(LATER, b"2")
    journal.begin(EPOCH, b"1")
    (journal.root / "journal" / f"{LATER}.damaged").mkdir()  # moved away by hand
    assert [found.epoch for found in journal.entries()] == [EPOCH, LATER]


def test_everything_is_the_owners_alone(journal: Journal, entry: JournalEntry) -> None:
    entry.add_receipt(RECEIPT)
    entry.mark_proven({"record_sha256": "00"})
    for path in [journal.root, *journal.root.rglob("*")]:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode & 0o077 == 0 or stat.S_IMODE(path.parent.stat().st_mode) & 0o077 == 0, path
        assert not path.is_file() or mode == 0o600, path


STEPS = ("mkdir", "write", "fsync", "rename")


@pytest.mark.parametrize("step", STEPS)
def test_a_begin_that_is_killed_leaves_nothing_that_counts(
    journal: Journal, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """As a SIGKILL: nothing after it runs."""

    def killed(*args: object, **more: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        if step == "mkdir":
            patch.setattr(Path, "mkdir", killed)
        elif step == "write":
            patch.setattr(files, "write_new", killed)
        elif step == "fsync":
            patch.setattr(files, "fsync_directory", killed)
        else:
            patch.setattr(Path, "rename", killed)
        with pytest.raises(Killed):
            journal.begin(EPOCH, b"the record")
    assert journal.entry(EPOCH) is None
    assert journal.entries() == []
    with lock(journal.root):
        left = [path for path in journal.root.rglob("*") if path.name.startswith(".")]
    assert left == [], "the next run removes what was left"
    assert journal.begin(EPOCH, b"the record").record_bytes() == b"the record"


def test_leftovers_of_another_process_are_removed(journal: Journal, entry: JournalEntry) -> None:
    draft = entry.path.parent / f".{LATER}.12345"
    (draft / "receipts").mkdir(parents=True)
    (draft / "record.tar").write_bytes(b"half")
    assert journal.entries() == [entry]
    assert draft.exists(), "another run may be at work on it"
    with lock(journal.root):
        assert not draft.exists()
    assert journal.entries() == [entry]


def test_an_epoch_is_not_begun_twice(journal: Journal, entry: JournalEntry) -> None:
    with pytest.raises(LocalFilesProblem) as caught:
        journal.begin(EPOCH, b"other bytes")
    assert caught.value.code is Code.LOCAL_FILES
    assert entry.record_bytes() == b"the record"


def test_an_epoch_that_was_found_at_its_targets_has_no_record_here(journal: Journal) -> None:
    assert journal.begin(EPOCH, None).record_bytes() is None


def test_receipts_survive(journal: Journal, entry: JournalEntry) -> None:
    plain = Receipt("disk", "directory", "dc-2", "/mnt/x.tar", None, sha256(b"x"))
    entry.add_receipt(RECEIPT)
    entry.add_receipt(plain)
    again = journal.entry(EPOCH)
    assert again is not None
    assert again.receipts() == {"vault-eu": RECEIPT, "disk": plain}


def test_a_targets_newer_receipt_replaces_the_older_one(entry: JournalEntry) -> None:
    entry.add_receipt(RECEIPT)
    newer = Receipt("vault-eu", "vault", "dc-1", "elsewhere", "2", sha256(b"y"))
    entry.add_receipt(newer)
    assert entry.receipts() == {"vault-eu": newer}


def test_a_proof_drops_the_sealed_record_from_this_host(journal: Journal, entry: JournalEntry) -> None:
    entry.mark_proven({"record_sha256": "ab", "at": "2026-01-31T08:00:00Z"})
    assert entry.proven() == {"record_sha256": "ab", "at": "2026-01-31T08:00:00Z"}
    assert entry.record_bytes() is None
    assert [found.epoch for found in journal.entries()] == [EPOCH]
    entry.mark_proven({"record_sha256": "cd"})
    assert entry.proven() == {"record_sha256": "cd"}


def test_a_kill_between_the_proof_and_the_records_end_is_made_good(
    journal: Journal, entry: JournalEntry
) -> None:
    (entry.path / "proven.json").write_text("{}")
    assert (entry.path / "record.tar").exists()
    journal.entries()
    assert (entry.path / "record.tar").exists()
    with lock(journal.root):
        assert not (entry.path / "record.tar").exists()


# -- damage ----------------------------------------------------------------------------------------

DAMAGE = [b"", b"{", b"null", b"[]", b"7", b'"x"', b"\xff\xfe", b'{"target": 1}', b"[[1]]", b"[" * 100_000]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_receipt_is_a_local_problem_with_a_way_out(entry: JournalEntry, damage: bytes) -> None:
    entry.add_receipt(RECEIPT)
    (entry.path / "receipts" / "vault-eu.json").write_bytes(damage)
    with pytest.raises(LocalFilesProblem) as caught:
        entry.receipts()
    assert "rebuilt from the targets" in caught.value.hint


@pytest.mark.parametrize("damage", [item for item in DAMAGE if item != b'{"target": 1}'])
def test_a_damaged_proof_is_a_local_problem(entry: JournalEntry, damage: bytes) -> None:
    (entry.path / "proven.json").write_bytes(damage)
    with pytest.raises(LocalFilesProblem):
        entry.proven()


@pytest.mark.parametrize(
    ("name", "value"),
    [("retain_until", "soon"), ("retain_until", 7), ("version", 3), ("slot", ["x"]), ("sha256", "short")],
)
def test_a_receipts_odd_field_is_a_local_problem(entry: JournalEntry, name: str, value: object) -> None:
    entry.add_receipt(RECEIPT)
    path = entry.path / "receipts" / "vault-eu.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {name: value}))
    with pytest.raises(LocalFilesProblem):
        entry.receipts()


@given(data=st.binary(max_size=200))
def test_any_bytes_for_a_receipt_or_a_proof_end_in_order(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    place = tmp_path_factory.getbasetemp() / "journal-noise"
    (place / "receipts").mkdir(parents=True, exist_ok=True)
    found = JournalEntry(EPOCH, place)
    (place / "receipts" / "a.json").write_bytes(data)
    (place / "proven.json").write_bytes(data)
    for ask in (found.receipts, found.proven):
        with contextlib.suppress(LocalFilesProblem):
            ask()


def test_a_record_that_cannot_be_read_is_a_local_problem(entry: JournalEntry) -> None:
    (entry.path / "record.tar").unlink()
    (entry.path / "record.tar").mkdir()
    with pytest.raises(LocalFilesProblem):
        entry.record_bytes()


# -- a disk that refuses ---------------------------------------------------------------------------


def test_a_file_in_the_place_of_the_directory_is_code_3(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(LocalFilesProblem):
        Journal(tmp_path / "state").begin(EPOCH, b"x")
    with pytest.raises(LocalFilesProblem), lock(tmp_path / "state"):
        pass


def test_a_directory_that_others_can_write_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "state"
    place.mkdir()
    place.chmod(0o770)
    with pytest.raises(LocalFilesProblem, match="by others"):
        Journal(place).begin(EPOCH, b"x")


def test_a_full_disk_leaves_no_epoch(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(LocalFilesProblem, match="No space left"):
            journal.begin(EPOCH, b"the record")
    assert journal.entries() == []


# -- the lock --------------------------------------------------------------------------------------


def test_one_key_does_not_wait_for_another(tmp_path: Path) -> None:
    with lock(tmp_path / "one"), lock(tmp_path / "other"):
        pass


def test_the_lock_is_exclusive_between_threads_and_given_back_after_errors(tmp_path: Path) -> None:
    told: list[str] = []

    def try_it() -> None:
        try:
            with lock(tmp_path / "state"):
                told.append("in")
        except OrgkeyError as error:
            told.append(error.code.label)

    def fails_inside() -> None:
        with lock(tmp_path / "state"):
            other = threading.Thread(target=try_it)
            other.start()
            other.join(30)
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fails_inside()
    try_it()
    assert told == ["locked", "in"]


def test_state_that_may_not_be_read_is_not_told_to_be_moved_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path) -> Iterator[Path]:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refused)
    with pytest.raises(LocalFilesProblem) as caught:
        Journal(tmp_path).entries()
    assert caught.value.message.endswith(": Permission denied")
    assert "--state-dir" in caught.value.hint
    assert "move" not in caught.value.hint
