"""Places of backups: pipes that stall, files that cannot be looked at."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.core import clock
from pipeline.core.clock import Deadline
from pipeline.core.errors import DeadlinePassed, Interrupted, LocalFilesProblem
from pipeline.core.secret import Secret
from pipeline.sources.backups import message_header, read_backup, sources
from pipeline.sources.backups.engine import SessionKey
from pipeline.sources.backups.sources import BackupFile, BackupPipe, FileState, Unlisted, local
from pipeline.sources.backups.worker_client import WorkerClient
from tests.component.backups.conftest import pieces
from tests.support import message_writer as writer

KEY = SessionKey(9, Secret(bytes(range(32))))


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe that stays open."""
    read_end, write_end = os.pipe()
    try:
        yield read_end, write_end
    finally:
        os.close(read_end)
        os.close(write_end)


def test_a_pipe_that_stalls_in_its_head_ends_with_the_deadline(pipe: tuple[int, int]) -> None:
    os.write(pipe[1], b"x" * 1000)
    with pytest.raises(DeadlinePassed):
        BackupPipe(Deadline(0.5), number=pipe[0]).start()


def test_a_pipe_that_stalls_ends_with_a_signal(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    signalled = threading.Event()
    monkeypatch.setattr(clock, "interrupted", signalled)
    timer = threading.Timer(0.3, signalled.set)
    timer.start()
    with pytest.raises(Interrupted):
        BackupPipe(Deadline(60), number=pipe[0]).start()
    timer.join()


@pytest.mark.parametrize("wanted", ["auto", "gpg"])
def test_a_pipe_that_stalls_where_it_is_read_ends_with_the_deadline(
    pipe: tuple[int, int], wanted: read_backup.Engine
) -> None:
    message = writer.message(writer.protected(writer.literal(b"y" * 600_000), KEY.key.reveal()))
    feeding = threading.Thread(target=os.write, args=(pipe[1], message[:400_000]))
    feeding.start()
    source = BackupPipe(Deadline(2), number=pipe[0])
    about = message_header.read(pieces(message, 1 << 20))
    assert read_backup.header_of(source) == about
    started = time.monotonic()
    with WorkerClient() as reader, pytest.raises(DeadlinePassed):
        read_backup.read(source, about, KEY, reader, deadline=Deadline(2), wanted=wanted).result()
    feeding.join()
    assert time.monotonic() - started < 10


def test_a_named_pipe_is_waited_for_and_not_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    (late,) = local(path, Deadline(0.5))
    with pytest.raises(DeadlinePassed):
        late.start()
    (source,) = local(path, Deadline(60))
    data = b"z" * 300_000
    feeding = threading.Timer(0.5, path.write_bytes, (data,))
    feeding.start()
    assert source.start() == data[: message_header.LENGTH]
    with source.open() as cursor:
        assert cursor.drain() == len(data)
    feeding.join()


def shut(path: Path, error: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the system refuse to look at a path, as it does not for root."""
    real = Path.stat

    def look(self: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if self == path:
            raise OSError(error, os.strerror(error), str(path))
        return real(self, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(Path, "stat", look)


def test_a_place_that_cannot_be_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LocalFilesProblem, match="File name too long"):
        local(tmp_path / ("n" * 300), Deadline(60))
    place = tmp_path / "private"
    shut(place, errno.EACCES, monkeypatch)
    with pytest.raises(LocalFilesProblem, match="Permission denied"):
        local(place, Deadline(60))


def test_a_place_that_does_not_exist_is_said_when_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    for place in (tmp_path / "nowhere", tmp_path / "file" / "below", tmp_path / "loop"):
        (source,) = local(place, Deadline(60))
        with pytest.raises(LocalFilesProblem, match=r"No such file|Not a directory|Too many levels"):
            source.start()


def test_a_file_that_cannot_be_looked_at_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    shut(tmp_path / "b", errno.EACCES, monkeypatch)
    found = local(tmp_path, Deadline(60))
    assert [(source.path, source.size) for source in found] == [(tmp_path / "a", 1), (tmp_path / "b", None)]


@pytest.mark.parametrize("seconds", [10**12, -(10**12), 9223372036])
def test_a_file_of_a_year_that_no_calendar_has_is_a_backup_without_a_date(
    seconds: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "file_state", lambda _: FileState(1, 2, seconds * 10**9, 0))
    source = BackupFile(tmp_path / "a")
    assert (source.modified is None) == (abs(seconds) == 10**12)
    assert source.state == f"1:2:{seconds}000000000:0"


def test_other_bytes_under_the_date_of_those_before_are_another_state(tmp_path: Path) -> None:
    path = tmp_path / "b.pgp"
    path.write_bytes(b"the backup")
    before = BackupFile(path)
    status = path.stat()
    with path.open("r+b") as stream:
        stream.write(b"a forgery!")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    after = BackupFile(path)
    assert (before.modified, before.size) == (after.modified, after.size)
    assert before.state != after.state


def test_a_folder_that_cannot_be_listed_hides_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a/one.pgp", "closed/two.pgp", "lost+found/three"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    real = os.scandir

    def scan(path: str | Path) -> object:
        if Path(path) in (tmp_path / "closed", tmp_path / "lost+found"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scan)
    first, *others = local(tmp_path, Deadline(60))
    assert [source.name for source in others] == [str(tmp_path / "a" / "one.pgp")]
    assert isinstance(first, Unlisted)
    assert first.name == str(tmp_path / "closed")
    with pytest.raises(LocalFilesProblem, match=r"cannot list .*closed: Permission denied"):
        read_backup.header_of(first)
    with pytest.raises(LocalFilesProblem, match="cannot list"):
        local(tmp_path / "closed", Deadline(60))


def test_no_two_files_are_called_alike(tmp_path: Path) -> None:
    """Else whoever uploads could end every run with "is named twice", or hide one behind the other."""
    names = [b"a\xff", rb"a\xff", rb"a\x5cxff", rb"a\\xff", rb"a\b", "a\u00e9".encode()]
    for name in names:
        (tmp_path / os.fsdecode(name)).touch()
    found = [source.name.rpartition("/")[2] for source in local(tmp_path, Deadline(60))]
    assert len(set(found)) == len(names)
    assert {r"a\xff", r"a\b", "a\u00e9"} <= set(found)


def test_a_pipe_in_the_place_of_a_backup_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "b.pgp"
    path.write_bytes(writer.message(writer.protected(writer.literal(b"x"), KEY.key.reveal())))
    source = BackupFile(path)
    header = read_backup.header_of(source)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(LocalFilesProblem, match="is not a file"):
        source.start()
    with pytest.raises(LocalFilesProblem, match="is not a file"), source.open():
        pass
    with pytest.raises(LocalFilesProblem, match="is not a file"), WorkerClient() as reader:
        read_backup.read(source, header, KEY, reader, deadline=Deadline(60)).result()
