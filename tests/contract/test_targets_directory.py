"""What only a directory does."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import Denied, IntegrityProblem, OrgkeyError, Unreachable
from pipeline.storage.interface import Slot
from tests.support.target_places import DirectoryPlace

RECORD = b"record" * 1000


def test_a_record_is_read_only_and_leaves_no_traces(directory_place: DirectoryPlace, slot: Slot) -> None:
    receipt = directory_place.target().put(slot, RECORD)
    path = directory_place.file(slot)
    assert receipt.location == str(path)
    assert path.stat().st_mode & 0o777 == 0o400
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_disk_that_is_not_mounted_is_not_written_to(directory_place: DirectoryPlace, slot: Slot) -> None:
    gone = directory_place.top / "mnt"
    target = directory_place.target(path=str(gone))
    for call in (
        lambda: target.put(slot, RECORD),
        lambda: target.get(slot),
        lambda: target.find(slot.fingerprint),
    ):
        with pytest.raises(Unreachable, match="is not there") as raised:
            call()
        assert not raised.value.again
        assert "mount" in raised.value.hint
    assert not gone.exists()
    (finding,) = target.check()
    assert (finding.level, finding.code) == ("fail", 20)
    gone.write_text("a file")
    with pytest.raises(Unreachable):
        target.find(slot.fingerprint)


def test_a_file_system_that_takes_nothing(directory_place: DirectoryPlace, slot: Slot) -> None:
    """/proc refuses new directories to everyone, root included."""
    with pytest.raises((Denied, Unreachable)) as raised:
        directory_place.target(path="/proc").put(slot, RECORD)
    assert "/proc" in raised.value.message


@pytest.mark.parametrize(
    ("number", "kind", "again"),
    [
        (errno.EACCES, Denied, None),
        (errno.EROFS, Denied, None),
        (errno.ENOSPC, Unreachable, False),
        (errno.EDQUOT, Unreachable, False),
        (errno.EIO, Unreachable, False),
        (errno.ESTALE, Unreachable, True),
    ],
)
def test_each_refusal_of_the_disk_has_its_meaning(
    directory_place: DirectoryPlace,
    slot: Slot,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    kind: type[OrgkeyError],
    again: bool | None,
) -> None:
    def refuse(handle: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("pipeline.core.files.os.fsync", refuse)
    monkeypatch.setattr("pipeline.storage.directory.tree.fsync_directory", lambda path: None)
    with pytest.raises(kind) as raised:
        directory_place.target().put(slot, RECORD)
    monkeypatch.undo()
    assert getattr(raised.value, "again", None) == again
    assert str(directory_place.file(slot)) in raised.value.message
    assert directory_place.target().find(slot.fingerprint) == []
    assert list(directory_place.file(slot).parent.iterdir()) == []


def test_links_are_not_followed(directory_place: DirectoryPlace, slot: Slot, tmp_path: Path) -> None:
    secret = tmp_path / "elsewhere"
    secret.write_bytes(RECORD)
    path = directory_place.file(slot)
    path.parent.mkdir()
    path.symlink_to(secret)
    target = directory_place.target()
    with pytest.raises(IntegrityProblem, match="symbolic link"):
        target.get(slot)
    assert target.find(slot.fingerprint) == []
    path.unlink()
    path.parent.rmdir()
    outside = tmp_path / "outside"
    outside.mkdir()
    path.parent.symlink_to(outside)
    for call in (
        lambda: target.put(slot, RECORD),
        lambda: target.get(slot),
        lambda: target.find(slot.fingerprint),
    ):
        with pytest.raises(IntegrityProblem, match="symbolic link"):
            call()
    assert list(outside.iterdir()) == []


def test_what_is_no_file_is_no_record(directory_place: DirectoryPlace, slot: Slot) -> None:
    path = directory_place.file(slot)
    path.mkdir(parents=True)
    with pytest.raises(IntegrityProblem, match="not a regular file"):
        directory_place.target().get(slot)
    path.rmdir()
    os.mkfifo(path)
    with pytest.raises(IntegrityProblem, match="not a regular file"):
        directory_place.target().get(slot)


def test_something_huge_is_no_record(directory_place: DirectoryPlace, slot: Slot) -> None:
    path = directory_place.file(slot)
    path.parent.mkdir()
    with path.open("wb") as stream:
        stream.truncate(5 * 1024 * 1024)
    with pytest.raises(IntegrityProblem, match="too large to be a record"):
        directory_place.target().get(slot)


def test_the_check_warns_of_others(directory_place: DirectoryPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    directory_place.top.chmod(0o777)
    (finding,) = directory_place.target().check()
    assert finding.level == "warn"
    assert "others can change" in finding.message
    directory_place.top.chmod(0o700)

    def nearly_full(path: Any) -> Any:
        return type("Usage", (), {"free": 1024 * 1024})()

    monkeypatch.setattr("pipeline.storage.directory.backend.shutil.disk_usage", nearly_full)
    (finding,) = directory_place.target().check()
    assert finding.level == "warn"
    assert "1024 KiB" in finding.message
