"""Answers that hardly move, or never end: commands end in their time, at the first signal, in their room."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.relayed import Relayed, Request, relayed
from tests.support import forkserver
from tests.support.commandline import ORGKEY, environment

if TYPE_CHECKING:
    import socket

    from tests.support.local_stack import Stack

DEADLINE = 3.0
GRACE = 5.0
AT_THE_SIGNAL = 2.0
MIB = 300
SOON = f"{datetime.now(UTC) + timedelta(days=3):%Y-%m-%d}"
COMMANDS = (
    "restore", "drill", "verify", "status", "list", "escrow", "repair", "doctor", "report", "custody posture",
    f"retain --until {SOON}", "backups verify", "backups map", "ledger sync", "ledger verify --mirror s3",
)  # fmt: skip
MEASURE = (
    "import resource, subprocess, sys; code = subprocess.run(sys.argv[1:]).returncode; "
    "print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10)"
)
"""Counts from a small process: what a large one starts begins with the large one's peak."""


def drips(asked: Request, connection: socket.socket, over: threading.Event) -> None:
    """The server's own answer, a byte each half second."""
    status, headers, body = asked.real()
    head = [f"HTTP/1.1 {status} OK", *(f"{name}: {value}" for name, value in headers)]
    for byte in "\r\n".join([*head, "", ""]).encode() + body:
        connection.sendall(bytes([byte]))
        if over.wait(0.5):
            return


def endless(_: Request, connection: socket.socket, over: threading.Event) -> None:
    """A body as fast as it is taken, for ever."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n")
    while not over.is_set():
        connection.sendall(b" " * 65536)


@pytest.fixture(scope="module")
def house(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relayed]:
    with relayed(stack, tmp_path_factory.mktemp("limits"), deadline=60) as house:
        house.store_backup()
        assert house.run(*house.escrow).code == 0
        yield house


@pytest.fixture
def states(house: Relayed, tmp_path: Path) -> Path:
    """Where each command finds the host's state in a folder of its own, so that none waits for another."""
    for number in range(len(COMMANDS)):
        shutil.copytree(house.desk.state, tmp_path / str(number))
    return tmp_path


def given(house: Relayed, command: str, config: Path, state: Path) -> list[str]:
    words = {"restore": house.restore, "escrow": house.escrow}.get(command, tuple(command.split()))
    return [*ORGKEY, *words, "--config", str(config), "--state-dir", str(state)]


def started(house: Relayed, config: Path, states: Path, commands: Sequence[str]) -> list[forkserver.Popen]:
    found = []
    for number, command in enumerate(commands):
        with (states / f"{number}.err").open("wb") as err:
            process = forkserver.Popen(
                given(house, command, config, states / str(number)),
                cwd=house.desk.folder,
                env=environment(house.desk.folder),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=err,
                start_new_session=True,
            )
        found.append(process)
    return found


def ended(processes: Sequence[forkserver.Popen], seconds: float) -> list[int | None]:
    """The code of each; ``None`` for one that did not end in time, which is killed."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends and any(process.poll() is None for process in processes):
        time.sleep(0.02)
    codes = [process.poll() for process in processes]
    for process in processes:
        process.kill()
        process.wait()
    return codes


def waits(process: forkserver.Popen) -> bool:
    """Whether it has a connection to a server."""
    fds = Path(f"/proc/{process.pid}/fd")
    with suppress(OSError):
        held = {str(fd.readlink()).removeprefix("socket:[").rstrip("]") for fd in fds.iterdir()}
        lines = Path(f"/proc/{process.pid}/net/tcp").read_text().splitlines()[1:]
        return any(line.split()[9] in held for line in lines)
    return False


def begun(processes: Sequence[forkserver.Popen]) -> None:
    """Wait until each has asked a server."""
    ends = time.monotonic() + 30
    while not all(waits(process) or process.poll() is not None for process in processes):
        assert time.monotonic() < ends
        time.sleep(0.05)


def dripping(house: Relayed) -> None:
    for relay in house.relays.values():
        relay.player = lambda _: drips


def test_each_command_ends_by_its_deadline_at_servers_that_drip(house: Relayed, states: Path) -> None:
    dripping(house)
    try:
        processes = started(house, house.hurried(2, DEADLINE), states, COMMANDS)
        begun(processes)
        codes = dict(zip(COMMANDS, ended(processes, DEADLINE + GRACE), strict=True))
    finally:
        house.end()
    assert {command: code for command, code in codes.items() if code not in (20, 24, 25)} == {}
    for number in range(len(COMMANDS)):
        assert "Traceback" not in (states / f"{number}.err").read_text()


def test_a_target_that_drips_leaves_time_for_the_other(house: Relayed, states: Path) -> None:
    """The five tries of one call take longer than the whole run may."""
    place = ("--config", str(house.hurried(2, 4)), "--state-dir", str(states / "0"))
    run = house.run(*house.restore, *place, play={"s3": lambda _: drips})
    assert run.code == 0, run


@pytest.mark.parametrize(
    ("number", "commands"), [(signal.SIGTERM, COMMANDS[::2]), (signal.SIGINT, COMMANDS[1::2])]
)
def test_the_first_signal_ends_each_command_at_once(
    number: int, commands: Sequence[str], house: Relayed, states: Path
) -> None:
    dripping(house)
    try:
        processes = started(house, house.hurried(30, 60), states, commands)
        begun(processes)
        for process in processes:
            process.send_signal(number)
        codes = dict(zip(commands, ended(processes, AT_THE_SIGNAL), strict=True))
    finally:
        house.end()
    assert {command: code for command, code in codes.items() if code != 130} == {}


def measured(house: Relayed, command: str, state: Path) -> tuple[int, int]:
    """Its code, and its peak of memory in MiB."""
    done = subprocess.run(
        [sys.executable, "-S", "-c", MEASURE, *given(house, command, house.desk.config, state)],
        cwd=house.desk.folder,
        env=environment(house.desk.folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert b"Traceback" not in done.stderr
    code, peak = done.stdout.split()[-2:]
    return int(code), int(peak)


def test_answers_without_an_end_take_little_memory(house: Relayed, states: Path) -> None:
    for relay in house.relays.values():
        relay.player = lambda asked: None if asked.login else endless
    try:
        for number, command in enumerate(("restore", "doctor", "report")):
            code, peak = measured(house, command, states / str(number))
            assert (code, peak < MIB) == (20, True), (command, peak)
    finally:
        house.end()


def test_a_mirror_s_highest_number_costs_nothing(house: Relayed, states: Path) -> None:
    """Last: what was put there stays."""
    key = f"{house.desk.place.s3_prefix}/{house.desk.fingerprint}/ledger/{'0' * 16}/999999999.json"
    house.desk.at_s3.client.put_object(Bucket=house.desk.at_s3.bucket, Key=key, Body=b"{}")
    for number, command in enumerate(("ledger verify --mirror s3", "ledger sync")):
        code, peak = measured(house, command, states / str(number))
        assert (code, peak < MIB) == (0, True), (command, peak)
