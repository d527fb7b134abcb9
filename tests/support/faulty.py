"""Runs ``orgkey`` with its effects counted, and with a fault at one of them.

Run as ``python faulty.py escrow …``: the command line as it is, but every effect on the world is a *point*
that is written to a trace, and at one of them the run can be killed, interrupted, held up or refused. An
effect is a file or directory made, linked, renamed or removed, a program started, a call to a target or a
holder, and the exit. A point lies *before* its effect; since each thread does one thing after the other,
that is also the point after the thread's previous effect.

Threads make the order vary from run to run, so a point is named by what it does, to what, and the how
manieth time: ``target put vault #1``. Random and dated parts of file names are written as words.

Settings, all from the environment:

- ``FAULTS_ROOTS``: ``name=directory`` pairs, separated by ``:``; file effects below them count.
- ``FAULTS_MEMORY``: the memory-backed directory of this run, instead of ``/dev/shm`` itself.
- ``FAULTS_TRACE``: a file to which every point is appended.
- ``FAULTS_AT``: the name of the point at which something happens.
- ``FAULTS_DO``: what happens: ``kill``, ``term``, ``int``, ``hold`` or the name of an ``errno``.
- ``FAULTS_AWS_CLOCK``: how many seconds the clock is ahead with which requests to AWS are signed.
"""

from __future__ import annotations

import errno
import functools
import os
import re
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

HOLD_SECONDS = 60.0
WORDS = (
    (re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}"), "EPOCH"),
    (re.compile(r"\d{8}T\d{6}Z"), "TIME"),
    (re.compile(r"[0-9A-F]{40}"), "FPR"),
    (re.compile(r"(?<=EPOCH\.)\d+"), "PID"),
    (re.compile(r"(?<=ledger/)[0-9a-f]{16}"), "HOST"),
    (re.compile(r"(?<=\.)[0-9a-f]{12}(?=\.)|(?<=TIME-)[0-9a-f]{6}"), "HEX"),
    (re.compile(r"orgkey-gpg-[^/]+"), "orgkey-gpg"),
)


class Points:
    """Counts points and lets something happen at one of them."""

    def __init__(self, trace: str | None, at: str | None, do: str) -> None:
        self._trace = os.open(trace, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600) if trace else None
        self._at = at
        self._do = do
        self._lock = threading.Lock()
        self._seen: Counter[str] = Counter()

    def reach(self, name: str) -> None:
        """Reach a point."""
        with self._lock:
            self._seen[name] += 1
            whole = f"{name} #{self._seen[name]}"
            if self._trace is not None:
                os.write(self._trace, f"{whole}\n".encode())
        if whole == self._at:
            self._happen(whole)

    def _happen(self, name: str) -> None:
        if self._do == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(HOLD_SECONDS)
        elif self._do in ("term", "int"):
            os.kill(os.getpid(), signal.SIGTERM if self._do == "term" else signal.SIGINT)
            # In a worker: let the main thread hear of it before this thread goes on.
            time.sleep(0.05)
        elif self._do == "hold":
            Path(os.environ["FAULTS_TRACE"] + ".held").touch()
            ends = time.monotonic() + HOLD_SECONDS
            while not Path(os.environ["FAULTS_TRACE"] + ".go").exists() and time.monotonic() < ends:
                time.sleep(0.02)
        else:
            number = getattr(errno, self._do)
            raise OSError(number, os.strerror(number), name)


class Roots:
    """Directories of which file effects count."""

    def __init__(self, text: str) -> None:
        pairs = [pair.partition("=") for pair in text.split(":") if pair]
        self._roots = [(name, Path(path)) for name, _, path in pairs]

    def called(self, path: object, dir_fd: int | None) -> str | None:
        """What a path is called in a point's name; ``None`` where it does not count."""
        if dir_fd is not None or not isinstance(path, str | os.PathLike):
            return None  # only the removal of whole trees works this way
        absolute = Path(os.fspath(path)).absolute()
        for name, root in self._roots:
            if absolute.is_relative_to(root):
                called = f"{name}/{absolute.relative_to(root)}"
                for pattern, word in WORDS:
                    called = pattern.sub(word, called)
                return called
        return None


def _watch_files(points: Points, roots: Roots) -> None:
    def wrap(name: str, subject: int) -> None:
        real = getattr(os, name)

        @functools.wraps(real)
        def watched(*args: Any, **kwargs: Any) -> Any:
            called = roots.called(args[subject], kwargs.get("dir_fd"))
            if called is not None and _matters(name, called, *args):
                points.reach(f"{name} {called}")
            return real(*args, **kwargs)

        setattr(os, name, watched)

    # Named by what appears or goes: the new name of a link or a renamed file.
    for name, subject in (
        ("open", 0),
        ("mkdir", 0),
        ("unlink", 0),
        ("link", 1),
        ("rename", 1),
        ("replace", 1),
    ):
        wrap(name, subject)

    import shutil

    real_rmtree = shutil.rmtree

    def rmtree(path: Any, *args: Any, **kwargs: Any) -> Any:
        called = roots.called(path, None)
        if called is not None and os.path.lexists(path):
            points.reach(f"rmtree {called}")
        # What it holds is removed through descriptors, which do not count: one effect.
        return real_rmtree(path, *args, **kwargs)

    shutil.rmtree = rmtree  # type: ignore[assignment]  # the real one is an object with an attribute more


def _matters(name: str, called: str, path: Any, *args: Any) -> bool:
    """Whether something changes: not where a file is only opened, or is there or gone already."""
    if called.startswith("memory/") and name == "unlink":
        return False  # gpg's log, before each of its calls
    if name == "open":
        return bool(args and args[0] & os.O_CREAT)
    if name == "mkdir":
        return not os.path.lexists(path) and Path(path).parent.exists()
    if name == "unlink":
        return os.path.lexists(path)
    return True


def _watch_calls(points: Points) -> None:
    from pipeline.core.retry import Retrying

    real: Callable[..., Any] = Retrying.call
    counted = ("put", "get", "find", "retain", "describe", "seal", "open")

    @functools.wraps(real)
    def watched(self: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        # A mirror is read with other words than a record.
        if name in counted and "ledger" not in self.calls[name]:
            points.reach(f"{self.called} {name} {self.name}")
        return real(self, name, *args, **kwargs)

    Retrying.call = watched  # type: ignore[method-assign]


def _watch_programs(points: Points) -> None:
    from pipeline.core import process

    real = process.start

    def start(argv: Any, **kwargs: Any) -> Any:
        program = Path(argv[0]).name
        if program == "gpg":
            commands = ("--import", "--detach-sign", "--quick-sign-key", "--export", "--encrypt", "--decrypt")
            said = [item for item in argv if item in (*commands, "--verify", "--check-sigs")]
            program = "gpg " + (said[0] if said else "other")
        elif program.startswith("python"):
            program = "pgpy"
        points.reach(f"start {program}")
        return real(argv, **kwargs)

    process.start = start


def _watch_exit(points: Points) -> None:
    real = os._exit

    def leave(status: int) -> Any:
        points.reach("exit")
        real(status)

    os._exit = leave


def _set_aws_clock(seconds: int) -> None:
    import botocore.auth

    real = botocore.auth.get_current_datetime
    botocore.auth.get_current_datetime = lambda *args, **kwargs: (
        real(*args, **kwargs) + timedelta(seconds=seconds)
    )


def main() -> None:
    """Prepare, then be ``orgkey``."""
    from pipeline.core import files
    from pipeline.openpgp.gnupg import home as gnupg_home

    if memory := os.environ.get("FAULTS_MEMORY"):
        for module in (files, gnupg_home):
            module.memory_root = lambda: Path(memory)  # type: ignore[attr-defined]  # re-exported
    points = Points(
        os.environ.get("FAULTS_TRACE"), os.environ.get("FAULTS_AT"), os.environ.get("FAULTS_DO", "kill")
    )
    _watch_files(points, Roots(os.environ.get("FAULTS_ROOTS", "")))
    _watch_calls(points)
    _watch_programs(points)
    _watch_exit(points)
    if seconds := int(os.environ.get("FAULTS_AWS_CLOCK", "0")):
        _set_aws_clock(seconds)
    from pipeline.cli.app import main as orgkey

    sys.argv = ["orgkey", *sys.argv[1:]]
    orgkey()


if __name__ == "__main__":
    main()
