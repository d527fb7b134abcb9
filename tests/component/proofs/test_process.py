"""The runner: bounded, clean, killed whole."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from pipeline.core import environment, process
from pipeline.core.errors import DeadlinePassed, Interrupted, LocalFilesProblem, ProgramMissing
from pipeline.core.secret import Secret


def test_input_output_and_status() -> None:
    data = os.urandom(3_000_000)
    done = process.run(["sh", "-c", "cat; echo no >&2; exit 7"], stdin=data, timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (7, data, b"no\n")


def test_a_program_that_does_not_read(tmp_path: Path) -> None:
    assert process.run(["true"], stdin=b"x" * 1_000_000, timeout=20, cwd=tmp_path).returncode == 0


def test_the_environment_is_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "leak")
    names = {line.split(b"=")[0] for line in process.run(["env"], timeout=20).stdout.splitlines()}
    assert names <= {b"PATH", b"LANG", b"LC_ALL", b"_", b"PWD", b"SHLVL"}
    more = environment.clean_environment({"HOME": "/nowhere"})
    assert b"HOME=/nowhere" in process.run(["env"], env=more, timeout=20).stdout.splitlines()


def test_a_missing_program_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProgramMissing, match="gpg is not found") as caught:
        process.run(["gpg"], timeout=5)
    assert "apt install gpg" in caught.value.hint


def test_a_program_that_cannot_be_started(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF nonsense")
    broken.chmod(0o700)
    with pytest.raises(LocalFilesProblem, match="cannot start"):
        process.run([str(broken)], timeout=5)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def _gone(pid: int) -> bool:
    ends = time.monotonic() + 5
    while _alive(pid) and time.monotonic() < ends:
        time.sleep(0.01)
    return not _alive(pid)


def test_a_timeout_kills_the_whole_group(tmp_path: Path) -> None:
    script = (
        f"trap '' TERM; sleep 60 & echo $! > {tmp_path}/child; echo $$ > {tmp_path}/parent; wait; sleep 60"
    )
    begun = time.monotonic()
    with pytest.raises(DeadlinePassed, match=r"sh did not finish within 2 s"):
        process.run(["sh", "-c", script], timeout=2)
    assert time.monotonic() - begun < 20
    assert _gone(int((tmp_path / "child").read_text()))
    assert _gone(int((tmp_path / "parent").read_text()))


def test_an_interrupt_kills_it_too(tmp_path: Path) -> None:
    def interrupt() -> None:
        while not (tmp_path / "pid").exists():
            time.sleep(0.01)
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    helper = threading.Thread(target=interrupt)
    helper.start()
    with pytest.raises(KeyboardInterrupt):
        process.run(["sh", "-c", f"echo $$ > {tmp_path}/pid; exec sleep 60"], timeout=60)
    helper.join()
    assert _gone(int((tmp_path / "pid").read_text()))


def test_too_much_output_ends_it() -> None:
    with pytest.raises(LocalFilesProblem, match="yes wrote more than 1000 bytes"):
        process.run(["yes"], timeout=20, max_output=1000)


def test_a_daemon_that_keeps_the_pipe_does_not_hold_us(tmp_path: Path) -> None:
    begun = time.monotonic()
    done = process.run(
        ["sh", "-c", f"setsid sh -c 'echo $$ > {tmp_path}/pid; exec sleep 30' & echo hi"], timeout=20
    )
    assert done.stdout == b"hi\n"
    assert time.monotonic() - begun < 10
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_another_thread_can_end_it() -> None:
    cancellation = process.Cancellation()
    threading.Timer(0.3, cancellation.cancel).start()
    begun = time.monotonic()
    with pytest.raises(Interrupted):
        process.run(["sleep", "60"], timeout=60, cancellation=cancellation)
    assert time.monotonic() - begun < 20
    with pytest.raises(Interrupted):
        process.run(["true"], timeout=60, cancellation=cancellation)


def test_a_secret_goes_by_pipe_alone() -> None:
    with process.secret_fd(Secret("hunter2")) as number:
        code = f"import os; print(os.read({number}, 99).decode(), open('/proc/self/cmdline').read())"
        done = process.run([sys.executable, "-I", "-c", code], timeout=20, pass_fds=(number,))
    text = done.stdout.decode()
    assert text.startswith("hunter2 ")
    assert text.count("hunter2") == 1


def test_waiting_without_pidfd(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, flags: int = 0) -> int:
        raise OSError(38, "not implemented")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    assert process.run(["true"], timeout=20).returncode == 0
    with pytest.raises(DeadlinePassed):
        process.run(["sleep", "60"], timeout=0.3)


def test_no_descriptor_is_left_open() -> None:
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208 - numbers, not paths
    process.run(["true"], timeout=20)
    with pytest.raises(DeadlinePassed):
        process.run(["sleep", "60"], timeout=0.1)
    assert set(os.listdir("/proc/self/fd")) <= before  # noqa: PTH208


def test_an_isolated_child_has_the_running_package_in_front(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    code = "import sys; print(sys.path[1]); print('/nowhere' in sys.path)"  # timeit itself puts '.' first
    done = process.run(process.isolated("timeit", "-n1", "-r1", code), timeout=30)
    assert done.stdout.decode().split()[:2] == [str(Path(process.__file__).parents[2]), "False"]


def test_a_program_gets_no_more_memory_than_it_may() -> None:
    code = "import sys; sys.stdin.read(1); bytearray(1 << 30)"
    done = process.run([sys.executable, "-c", code], stdin=b"x", timeout=20, memory=256 << 20)
    assert b"MemoryError" in done.stderr
