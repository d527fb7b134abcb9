"""Places of backups: pipes that stall, files that cannot be looked at."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import clock
from pipeline.backups import head, reading
from pipeline.backups.engine import SessionKey
from pipeline.backups.reader import Reader
from pipeline.backups.sources import Stream, local
from pipeline.clock import Deadline
from pipeline.errors import DeadlinePassed, Interrupted
from pipeline.secret import Secret
from tests.assets import message_writer as writer
from tests.unit.backups.conftest import pieces

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
        Stream(Deadline(0.5), number=pipe[0]).start()


def test_a_pipe_that_stalls_ends_with_a_signal(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    signalled = threading.Event()
    monkeypatch.setattr(clock, "interrupted", signalled)
    timer = threading.Timer(0.3, signalled.set)
    timer.start()
    with pytest.raises(Interrupted):
        Stream(Deadline(60), number=pipe[0]).start()
    timer.join()


@pytest.mark.parametrize("wanted", ["auto", "gpg"])
def test_a_pipe_that_stalls_where_it_is_read_ends_with_the_deadline(
    pipe: tuple[int, int], wanted: reading.Engine
) -> None:
    message = writer.message(writer.protected(writer.literal(b"y" * 600_000), KEY.key.reveal()))
    feeding = threading.Thread(target=os.write, args=(pipe[1], message[:400_000]))
    feeding.start()
    source = Stream(Deadline(2), number=pipe[0])
    about = head.read(pieces(message, 1 << 20))
    assert reading.head_of(source) == about
    started = time.monotonic()
    with Reader() as reader, pytest.raises(DeadlinePassed):
        reading.read(source, about, KEY, reader, deadline=Deadline(2), wanted=wanted)
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
    assert source.start() == data[: head.LENGTH]
    with source.open() as cursor:
        assert cursor.drain() == len(data)
    feeding.join()
