"""Processes: started detached, recognised by start time, and only those stopped."""

from __future__ import annotations

import os
import signal
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.core.errors import LocalFilesProblem
from pipeline.devstack import processes
from tests.support.local_stack import pause

SLEEP = ["/bin/sleep", "60"]


def test_a_process_runs_in_its_own_session_with_only_the_given_environment(tmp_path: Path) -> None:
    process = processes.spawn(SLEEP, log=tmp_path / "log", env={"ONLY": "this"})
    try:
        assert processes.alive(process)
        assert os.getsid(process.pid) == process.pid
        environment = Path(f"/proc/{process.pid}/environ")
        for _ in range(200):  # empty for the instant in which the new program is being loaded
            if environment.read_bytes():
                break
            time.sleep(0.01)
        assert environment.read_bytes() == b"ONLY=this\0"
        assert Path(f"/proc/{process.pid}/fd/1").readlink() == tmp_path / "log"
        assert Path(f"/proc/{process.pid}/fd/0").readlink() == Path(os.devnull)
    finally:
        processes.stop(process)
    assert not processes.alive(process)


def test_another_process_with_the_same_id_is_never_signalled(tmp_path: Path) -> None:
    process = processes.spawn(SLEEP, log=tmp_path / "log", env={})
    try:
        for stranger in (replace(process, started=process.started - 1), replace(process, boot="another")):
            assert not processes.alive(stranger)
            processes.stop(stranger)
            processes.send(stranger, signal.SIGKILL)
        assert processes.alive(process)
    finally:
        processes.stop(process)


def test_a_paused_process_can_be_stopped(tmp_path: Path) -> None:
    process = processes.spawn(SLEEP, log=tmp_path / "log", env={})
    pause(process)
    assert Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    processes.stop(process, grace=5.0)
    assert not processes.alive(process)


def test_a_process_that_ignores_the_polite_signal_is_killed(tmp_path: Path) -> None:
    argv = ["/bin/sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"]
    process = processes.spawn(argv, log=tmp_path / "log", env={"PATH": os.defpath})
    while "ready" not in (tmp_path / "log").read_text():
        assert processes.alive(process)
    processes.stop(process, grace=0.3)
    assert not processes.alive(process)


def test_a_program_that_is_missing_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(LocalFilesProblem, match="cannot start"):
        processes.spawn(["/nonexistent/server"], log=tmp_path / "log", env={})


def test_the_preferred_port_is_taken_only_when_it_is_free() -> None:
    port = processes.free_port()
    assert port in processes.PORTS
    assert processes.free_port(port) == port
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        assert processes.free_port(port) != port
