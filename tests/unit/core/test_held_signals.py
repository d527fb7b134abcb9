"""A signal ends a run between steps that belong together, never within them."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.core import files, signals

WRITES = 400
SECONDS = 10.0


class Ended(BaseException):
    """What a signal becomes here."""


@pytest.fixture
def usr1() -> Iterator[None]:
    """SIGUSR1 ends a run, as SIGTERM does in the command line."""

    def handler(_number: int, _frame: object) -> None:
        signals.end(Ended())

    before = signal.signal(signal.SIGUSR1, handler)
    yield
    signal.signal(signal.SIGUSR1, before)


def interrupt(delay: float = 0.0) -> None:
    time.sleep(delay)
    os.kill(os.getpid(), signal.SIGUSR1)


@pytest.mark.usefixtures("usr1")
def test_outside_it_ends_the_run_at_once() -> None:
    with pytest.raises(Ended):
        interrupt()


@pytest.mark.usefixtures("usr1")
def test_within_it_waits_for_the_outermost_end() -> None:
    done = []
    with pytest.raises(Ended), signals.held():  # noqa: PT012
        with signals.held():
            interrupt()
            done.append("inner")
        done.append("outer")
    assert done == ["inner", "outer"]
    with signals.held():
        pass  # it has ended one run, and ends no other


@pytest.mark.usefixtures("usr1")
def test_it_goes_before_an_error() -> None:
    with pytest.raises(Ended), signals.held():  # noqa: PT012
        interrupt()
        raise OSError


@pytest.mark.usefixtures("usr1")
def test_another_thread_holds_nothing() -> None:
    inside, leave = threading.Event(), threading.Event()

    def work() -> None:
        with signals.held():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=work)
    thread.start()
    assert inside.wait(10)
    try:
        with pytest.raises(Ended):
            interrupt()
    finally:
        leave.set()
        thread.join()


@pytest.mark.usefixtures("usr1")
@pytest.mark.parametrize("write", [files.write_new, files.replace])
def test_no_temporary_file_is_left_whenever_a_signal_comes(
    write: Callable[[Path, bytes], None], tmp_path: Path
) -> None:
    """One signal for each write, each a little later than the one before."""
    begun = time.monotonic()
    for number in range(10):
        write(tmp_path / str(number), b"content")
    longest = 2 * (time.monotonic() - begun) / 10

    within = 0
    for number in range(WRITES):
        # Directories of their own: a later write would sweep what an earlier one left.
        folder = tmp_path / f"{number}-signalled"
        folder.mkdir()
        delay = longest * number / WRITES
        thread = threading.Thread(target=interrupt, args=(delay,))
        returned = False
        try:
            thread.start()
            write(folder / "file", b"content")
            returned = True
            thread.join()
            time.sleep(SECONDS)
        except Ended:
            within += not returned and (folder / "file").exists()
        else:
            pytest.fail("the signal has not come")
        thread.join()
        assert {path.name for path in folder.iterdir()} <= {"file"}, delay
    assert within, "a signal came within a write, and waited for its end"


def test_a_flag_is_set_by_a_handler_while_it_is_waited_for() -> None:
    """A lock, as :class:`threading.Event` takes one, would be held by the thread that the handler runs in."""
    flag = signals.Flag()
    before = signal.signal(signal.SIGUSR1, lambda *_: flag.set())
    try:
        thread = threading.Thread(target=interrupt, args=(0.05,))
        thread.start()
        assert flag.wait(SECONDS)
        thread.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert flag.wait(0)
    assert signals.Flag().wait(0.01) is False
