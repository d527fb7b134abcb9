"""Servers and directories of a test run: ended with it, or by the next run where it was killed.

A run has a directory, which its controller and its workers hold locked while they live. Server processes and
directories elsewhere are written down in it before anything else is done with them. Whoever finds the
directory of a run that nobody holds any more ends exactly those processes and removes those directories.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from functools import wraps
from pathlib import Path
from typing import Any, Final

from pipeline.devstack import processes
from pipeline.devstack.processes import Process

PREFIX: Final = "orgkey-tests-"
_LOCK: Final = "held"
_current: Path | None = None
_held: list[int] = []


def begin(above: Path | None = None) -> Path:
    """Sweep what killed runs have left, and make this run's directory.

    Args:
        above: Where such directories lie; the system's place for temporary files by default.
    """
    above = above or Path(tempfile.gettempdir())
    sweep_killed(above)
    made = Path(tempfile.mkdtemp(prefix=".orgkey-starting-", dir=above))
    join(made)
    # Under its name only when it is locked, or another run would take it for one that was killed.
    return _remember(made.rename(above / made.name.replace(".orgkey-starting-", PREFIX)))


def run_directory() -> Path:
    """The directory of this run, which all its workers share."""
    assert _current is not None, "no run has begun"
    return _current


def join(run: Path) -> None:
    """Hold a run's directory until this process ends, and write down in it what is started here."""
    handle = os.open(run / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(handle, fcntl.LOCK_SH)
    _held.append(handle)
    _remember(run)
    if not hasattr(processes.spawn, "__wrapped__"):
        processes.spawn = _noting(processes.spawn)


def note_process(pid: int) -> None:
    """Have a process that was just started end with the run."""
    _note(f"process-{pid}", asdict(processes.identified(pid)))


def directory(prefix: str, *, memory: bool = False) -> Path:
    """Make a directory that goes with the run: below its own, or a short one in memory.

    Args:
        prefix: How its name begins.
        memory: Whether it lies in ``/dev/shm`` where there is one: for keys, and for the sockets of agents.
    """
    shared = Path("/dev/shm")
    if not memory:
        return Path(tempfile.mkdtemp(prefix=prefix, dir=run_directory()))
    made = Path(tempfile.mkdtemp(prefix=prefix, dir=shared if shared.is_dir() else None))
    _note(f"directory-{made.name}", {"directory": str(made)})
    return made


def sweep(run: Path) -> None:
    """End the processes that are written down in a run's directory, and remove all that is."""
    for note in run.glob("note-*.json"):
        with suppress(ValueError):  # it was being written when the run was killed
            told = json.loads(note.read_text())
            if "directory" in told:
                _remove(Path(told["directory"]))
            else:
                processes.stop(Process(**told), grace=2.0)
    _remove(run)


def sweep_killed(above: Path) -> None:
    """Sweep each run whose directory is held by nobody; one that somebody else sweeps is left to them."""
    for run in above.glob(f"{PREFIX}*"):
        with suppress(OSError):
            if run.is_symlink() or run.stat().st_uid != os.geteuid():
                continue  # what it says to remove would be somebody else's wish
            handle = os.open(run / _LOCK, os.O_RDWR)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                sweep(run)
            finally:
                os.close(handle)


def _remember(run: Path) -> Path:
    global _current
    _current = run
    return run


def _noting(real: Callable[..., Process]) -> Callable[..., Process]:
    @wraps(real)
    def spawn(*args: Any, **how: Any) -> Process:
        process = real(*args, **how)
        note_process(process.pid)
        return process

    return spawn


def _note(name: str, what: dict[str, object]) -> None:
    (run_directory() / f"note-{name}.json").write_text(json.dumps(what))


def _remove(path: Path) -> None:
    """Remove a directory, and end what names it on its command line: agents of a home in it."""
    if not path.is_absolute() or not path.is_dir():
        return
    for pid in _naming(path):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    shutil.rmtree(path, ignore_errors=True)


def _naming(path: Path) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with suppress(OSError):
                if os.fsencode(path) in (entry / "cmdline").read_bytes():
                    yield int(entry.name)
