"""A run of the tests that is killed leaves nothing for long: the next one sweeps it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from pipeline.devstack import processes
from pipeline.devstack.processes import Process
from tests.support import leftovers

ROOT = Path(__file__).parents[2]
RUN = """
import os, subprocess, sys
from pathlib import Path
from pipeline.devstack import processes
from tests.support import leftovers
run = leftovers.begin(Path(sys.argv[1]))
env = {"PATH": os.defpath}
process = processes.spawn(["/bin/sleep", "60"], log=run / "log", env=env)
inside, memory = leftovers.directory("inside-"), leftovers.directory("okl-", memory=True)
agent = processes.spawn(["/bin/sh", "-c", "sleep 60; :", str(memory)], log=run / "log", env=env)
(run / f"note-process-{agent.pid}.json").unlink()  # as an agent that gpg has started
other = processes.identified(subprocess.Popen(["/bin/sleep", "60"], stdout=subprocess.DEVNULL).pid)
leftovers.note_process(other.pid)
for one in (process, agent, other):
    print(one.pid, one.started, one.boot, end=" ")
print(run, inside, memory, flush=True)
sys.stdin.read()
"""


def test_the_next_run_sweeps_a_killed_one_and_no_living_one(tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    started = []
    for _ in range(2):
        child = subprocess.Popen(
            [sys.executable, "-c", RUN, str(tmp_path)], env=env, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert child.stdout is not None
        words = child.stdout.readline().split()
        servers = [
            Process(int(pid), int(at), boot) for pid, at, boot in zip(*[iter(words[:9])] * 3, strict=True)
        ]
        started.append((child, servers, [Path(word) for word in words[9:]]))
    (killed, ended, gone), (living, running, kept) = started
    try:
        killed.send_signal(signal.SIGKILL)
        killed.wait(20)
        assert all(processes.alive(server) for server in ended)
        leftovers.sweep_killed(tmp_path)
        assert not any(processes.alive(server) for server in ended)
        assert not any(path.exists() for path in gone)
        assert all(processes.alive(server) for server in running)
        assert all(path.is_dir() for path in kept)
        leftovers.sweep_killed(tmp_path)  # nothing is left to sweep
    finally:
        living.kill()
        living.communicate()
        killed.communicate()
        leftovers.sweep_killed(tmp_path)
    assert not any(processes.alive(server) for server in running)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_of_a_run_is_never_seen_without_its_lock(tmp_path: Path) -> None:
    """Nor is anything removed that only has such a name."""
    (tmp_path / f"{leftovers.PREFIX}by-hand").mkdir()
    leftovers.sweep_killed(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f"{leftovers.PREFIX}by-hand"]
