"""Server processes: started detached, known by id and start time, and only those ever stopped."""

from __future__ import annotations

import os
import random
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pipeline.core.errors import LocalFilesProblem
from pipeline.core.files import os_errors

# Below the range from which Linux takes the ports of outgoing connections (32768 and up): a stopped
# server's port is then still free when it starts again.
PORTS = range(20000, 32000)


@dataclass(frozen=True, slots=True)
class Process:
    """One process, so that a reused id is never taken for it.

    Attributes:
        pid: Its id.
        started: Its start, in clock ticks since boot (field 22 of /proc/PID/stat, proc(5)).
        boot: The kernel's boot id.
    """

    pid: int
    started: int
    boot: str


@cache
def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _look(pid: int) -> tuple[str, int] | None:
    """State letter and start time of a process, ``None`` when there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name (field 2) may hold anything, a closing bracket included: count from the last one.
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[19])


def spawn(argv: Sequence[str], *, log: Path, env: Mapping[str, str]) -> Process:
    """Start a server in a session of its own, with its output appended to ``log``.

    Args:
        argv: Program, as an absolute path, and arguments.
        log: Where stdout and stderr go.
        env: The whole environment.

    Raises:
        LocalFilesProblem: The program cannot be started.
    """
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    with os_errors(f"cannot start {argv[0]}", hint="check that it can be executed"):
        pid = os.posix_spawn(argv[0], list(argv), dict(env), file_actions=actions, setsid=True)
    return identified(pid)


def identified(pid: int) -> Process:
    """Tell a process from a later one with its id."""
    seen = _look(pid)
    return Process(pid, seen[1] if seen else 0, _boot_id())


def alive(process: Process | None) -> bool:
    """Whether exactly this process still runs."""
    if process is None or process.boot != _boot_id():
        return False
    with suppress(ChildProcessError):  # our own child that has ended is a zombie until it is waited for
        os.waitpid(process.pid, os.WNOHANG)
    seen = _look(process.pid)
    return seen is not None and seen[0] not in "ZX" and seen[1] == process.started


def send(process: Process, number: signal.Signals) -> None:
    """Send a signal to exactly this process; nothing when it is gone."""
    if alive(process):
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


def stop(process: Process, *, grace: float = 10.0) -> None:
    """End exactly this process.

    Args:
        process: Which one.
        grace: Seconds between the polite and the final signal.
    """
    send(process, signal.SIGCONT)  # a paused one would never see the next signal
    send(process, signal.SIGTERM)
    if not _gone(process, grace):
        send(process, signal.SIGKILL)
        _gone(process, 5.0)


def _gone(process: Process, seconds: float) -> bool:
    ends = time.monotonic() + seconds
    while alive(process):
        if time.monotonic() >= ends:
            return False
        time.sleep(0.01)
    return True


def free_port(preferred: int | None = None) -> int:
    """A loopback port that nobody listens on: the preferred one where possible.

    Raises:
        LocalFilesProblem: None is free.
    """
    candidates = random.Random().sample(PORTS, 100)  # noqa: S311 - no secret
    for port in ([preferred] if preferred else []) + candidates:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
    raise LocalFilesProblem("no free loopback port", hint="stop some servers on this host")
