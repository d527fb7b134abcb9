"""What killed runs leave, and what is only in use, told apart."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.archive.journal import Journal, lock
from pipeline.core import files
from pipeline.core.digest import sha256
from pipeline.openpgp.gnupg import home as gnupg_home
from pipeline.storage.interface import Receipt

EPOCH = "20260101T000000Z-0a1b2c3d"


def dead_pid() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait(30)
    return child.pid


def test_temporary_files(tmp_path: Path) -> None:
    left = tmp_path / ".record.tar.0123456789ab.orgkey-tmp"
    used = tmp_path / ".record.tar.ba9876543210.orgkey-tmp"
    kept = [tmp_path / ".bashrc", tmp_path / ".record.tar.0123456789ab.tmp", tmp_path / "record.tar"]
    for path in (left, used, *kept):
        path.write_bytes(b"x")
    link = tmp_path / ".link.0123456789ab.orgkey-tmp"
    link.symlink_to(kept[0])
    with used.open("rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        files.write_new(tmp_path / "new", b"data")
    assert sorted(tmp_path.iterdir()) == sorted([used, link, *kept, tmp_path / "new"])
    files.sweep(tmp_path)
    assert not used.exists()


def test_a_temporary_file_that_is_swept_before_it_is_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = fcntl.flock
    swept: list[Path] = []

    def flock(handle: int, operation: int) -> None:
        if operation == fcntl.LOCK_EX and not swept:
            (path,) = tmp_path.glob(".*")
            path.unlink()
            swept.append(path)
        real(handle, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    files.write_new(tmp_path / "new", b"data")
    assert swept
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("new", b"data")]


def test_homes_that_are_not_locked() -> None:
    living = files.memory_root() / f"{gnupg_home.name_begins(os.getpid())}golden"
    gone = files.memory_root() / f"{gnupg_home.PREFIX}{dead_pid()}-1-golden"
    for path in (living, gone):
        path.mkdir(mode=0o700)
    try:
        gnupg_home.sweep_orphans()
        assert living.exists(), "it may be in the making"
        assert not gone.exists()
    finally:
        for path in (living, gone):
            shutil.rmtree(path, ignore_errors=True)


def test_a_proven_epochs_record_is_dropped_by_the_next_run(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "state")
    entry = journal.begin(EPOCH, b"sealed")
    entry.add_receipt(Receipt("s3", "s3", "s3", "s3://b/k", "1", sha256(b"sealed")))
    (entry.path / "proven.json").write_text("{}")
    assert entry.record_bytes() == b"sealed"
    with lock(journal.root):
        (found,) = journal.entries()
    assert found.record_bytes() is None
    assert found.receipts()


def test_an_interrupted_begin_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stop(BaseException):
        pass

    def stop(*_: object) -> None:
        raise Stop

    journal = Journal(tmp_path / "state")
    with monkeypatch.context() as patch:
        patch.setattr(files, "fsync_directory", stop)
        with pytest.raises(Stop):
            journal.begin(EPOCH, b"sealed")
    assert list((tmp_path / "state" / "journal").iterdir()) == []
    assert journal.begin(EPOCH, b"sealed").record_bytes() == b"sealed"
