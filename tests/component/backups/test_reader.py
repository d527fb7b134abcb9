"""The process that reads: what it is told, what it is not, and what happens when it dies."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import MappingProxyType

import pytest

from pipeline.core.clock import Deadline
from pipeline.core.errors import Code, DeadlinePassed, IntegrityProblem, OrgkeyError, Unreachable, Unsupported
from pipeline.core.secret import Secret
from pipeline.sources.backups import engine, message_header, read_backup, worker, worker_client
from pipeline.sources.backups.byte_stream import ByteStream
from pipeline.sources.backups.engine import NO_EXPECTATIONS, SessionKey
from pipeline.sources.backups.sources import BackupFile
from pipeline.sources.backups.worker_client import WorkerClient
from tests.component.backups.conftest import pieces
from tests.support import message_writer as writer

KEY = SessionKey(9, Secret(bytes(range(32))))
SIZE = 3_000_000


@pytest.fixture(scope="module")
def message() -> bytes:
    return writer.message(writer.protected(writer.literal(b"y" * SIZE), KEY.key.reveal()))


class Failing:
    """A source whose server goes away."""

    name = "s3://bucket/one"
    size: int | None = None
    again = True
    path: Path | None = None
    modified: datetime | None = None
    location = name
    state: str | None = None
    facts: Mapping[str, str] = MappingProxyType({})

    def __init__(self, data: bytes, error: Exception) -> None:
        self.data = data
        self.error = error

    def start(self) -> bytes:
        return self.data

    def place(self) -> None:
        return

    @contextmanager
    def open(self) -> Iterator[ByteStream]:
        parts = [self.data[:200_000], self.data[200_000:400_000]]

        def more() -> bytes:
            if not parts:
                raise self.error
            return parts.pop(0)

        yield ByteStream(more)


def test_one_process_reads_many_and_tells_how_far_it_is(tmp_path: Path, message: bytes) -> None:
    path = tmp_path / "m"
    path.write_bytes(message)
    about = message_header.read(pieces(message, 1 << 20))
    told: list[int] = []
    with WorkerClient() as reader:
        for _ in range(3):
            seen = reader.read(BackupFile(path), about, KEY, Deadline(60), told.append)
            found = seen.result()
            assert seen.sha256 == hashlib.sha256(message).hexdigest()
            assert (found.found.size, found.integrity, found.engine) == (SIZE, "mdc", "orgkey")
        assert sum(told) == 3 * len(message)
        path.write_bytes(message[:-1])
        seen = reader.read(BackupFile(path), about, KEY, Deadline(60), told.append)
        assert seen.sha256 == hashlib.sha256(message[:-1]).hexdigest()
        with pytest.raises(IntegrityProblem, match="cut off"):
            seen.result()
        with pytest.raises(Unsupported):
            reader.read(BackupFile(path), about, SessionKey(2, Secret(bytes(24))), Deadline(60)).result()
        with pytest.raises(DeadlinePassed):
            reader.read(BackupFile(path), about, KEY, Deadline(0.0), told.append)
        with pytest.raises(OrgkeyError, match="No such file"):
            reader.read(BackupFile(tmp_path / "gone"), about, KEY, Deadline(60), told.append)
        path.write_bytes(message)
        assert reader.read(BackupFile(path), about, KEY, Deadline(60)).result().found.size == SIZE


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Unreachable("the bucket does not answer", hint="look at the network"), Code.UNREACHABLE),
        (RuntimeError("can't start new thread"), Code.LOCAL_FILES),
        (MemoryError(), Code.LOCAL_FILES),
        (KeyError("a defect"), Code.UNREACHABLE),
    ],
)
@pytest.mark.parametrize("wanted", ["auto", "gpg"])
def test_what_is_wrong_with_the_source_is_said_and_not_what_came_of_it(
    message: bytes, error: Exception, code: Code, wanted: read_backup.Engine
) -> None:
    about = message_header.read(pieces(message, 1 << 20))
    source = Failing(message, error)
    with WorkerClient() as reader:
        found = read_backup.read(source, about, KEY, reader, deadline=Deadline(60), wanted=wanted)
    assert isinstance(found.outcome, OrgkeyError)
    assert found.outcome.code is code


def test_its_death_is_one_message_s_own(tmp_path: Path, message: bytes) -> None:
    path = tmp_path / "m"
    path.write_bytes(message)
    about = message_header.read(pieces(message, 1 << 20))
    with WorkerClient() as reader:
        for _ in range(2):
            os.kill(reader._child.pid, signal.SIGKILL)
            with pytest.raises(OrgkeyError, match="ended before its time"):
                reader.read(BackupFile(path), about, KEY, Deadline(60), lambda _: None)
            assert reader.read(BackupFile(path), about, KEY, Deadline(60)).result().found.size == SIZE
    with pytest.raises(OrgkeyError, match="ended before its time"):  # nobody starts one anew after the end
        reader.read(BackupFile(path), about, KEY, Deadline(60), lambda _: None)


def test_one_that_does_not_answer_ends_with_its_time(
    tmp_path: Path, message: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_client, "_GRACE_SECONDS", 0.2)
    path = tmp_path / "m"
    path.write_bytes(message)
    about = message_header.read(pieces(message, 1 << 20))
    with WorkerClient() as reader:
        os.kill(reader._child.pid, signal.SIGSTOP)
        short = Deadline(0.3)
        for _ in range(2):  # what comes behind it is late too, and no defect
            with pytest.raises(DeadlinePassed, match=r"0\.3 s"):
                reader.read(BackupFile(path), about, KEY, short, lambda _: None)
        assert reader._child.returncode is not None


def test_a_defect_is_one_message_s_own_and_shows_nothing_of_it(
    tmp_path: Path, message: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("a line of the content")

    monkeypatch.setattr(engine, "read", fail)
    path = tmp_path / "m"
    path.write_bytes(message)
    asked = json.loads(
        worker.request(message_header.read(pieces(message, 1 << 20)), KEY, 60, "m", NO_EXPECTATIONS)
    )
    ours, theirs = socket.socketpair()
    with ours, theirs, path.open("rb") as stream:
        told = worker._answer(asked, stream.fileno(), ours)
    assert (told["error"], "ValueError at " in told["message"]) == ("OrgkeyError", True)
    assert "content" not in json.dumps(told)


def test_the_session_key_is_in_no_argument_and_no_environment(tmp_path: Path, message: bytes) -> None:
    path = tmp_path / "m"
    path.write_bytes(message)
    about = message_header.read(pieces(message, 1 << 20))
    key = KEY.key.reveal().hex().encode()
    with WorkerClient() as reader:
        reader.read(BackupFile(path), about, KEY, Deadline(60), lambda _: None)
        for name in ("cmdline", "environ"):
            try:
                assert key not in Path(f"/proc/{reader._child.pid}/{name}").read_bytes()
            except PermissionError:
                assert name == "environ", "it is not dumpable"
