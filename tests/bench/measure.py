"""Run a program to its end and take its wall time and peak memory."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from threading import Timer

TIMEOUT_SECONDS = 180.0


class CannotMeasure(Exception):
    """A program did not do what is measured, so a figure would mean nothing."""


@dataclass(frozen=True)
class Sample:
    """One run.

    Attributes:
        seconds: Wall time, from the start of the process until it was reaped.
        cpu_seconds: Processor time, user and system, with the children that it waited for.
        peak_kib: Peak resident memory of the largest process of the run, in KiB. Linux counts the
            benchmark's own size at the start as a floor, which is why this package imports little.
        stdout: What was printed.
        stderr: What was said.
    """

    seconds: float
    cpu_seconds: float
    peak_kib: int
    stdout: bytes
    stderr: bytes


@dataclass(frozen=True)
class Series:
    """All runs of one subject.

    Attributes:
        name: What ran.
        samples: In the order of the runs; the warm-up is not among them.
    """

    name: str
    samples: tuple[Sample, ...]

    @property
    def seconds(self) -> float:
        """Median wall time."""
        return median(sample.seconds for sample in self.samples)

    @property
    def cpu_seconds(self) -> float:
        """Median processor time."""
        return median(sample.cpu_seconds for sample in self.samples)

    @property
    def peak_kib(self) -> int:
        """Median peak memory of the largest process, in KiB."""
        return int(median(sample.peak_kib for sample in self.samples))


def run(
    argv: Sequence[str], env: Mapping[str, str], *, cwd: Path, timeout: float = TIMEOUT_SECONDS
) -> Sample:
    """Run a program once.

    Args:
        argv: The program and its arguments.
        env: Its whole environment.
        cwd: Where it runs.
        timeout: Seconds after which it is killed.

    Raises:
        CannotMeasure: It does not exit with 0.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as said:
        started = time.monotonic()
        child = subprocess.Popen(
            argv, env=dict(env), cwd=cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=said
        )
        watchdog = Timer(timeout, child.kill)
        watchdog.start()
        try:
            _, status, usage = os.wait4(child.pid, 0)
        except BaseException:
            child.kill()
            child.wait()
            raise
        finally:
            watchdog.cancel()
        seconds = time.monotonic() - started
        child.returncode = os.waitstatus_to_exitcode(status)  # reaped here, so that Popen does not try
        out.seek(0)
        said.seek(0)
        sample = Sample(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss, out.read(), said.read())
    if child.returncode != 0:
        tail = sample.stderr.decode(errors="replace").strip()[-2000:]
        raise CannotMeasure(
            f"{Path(argv[0]).name} ended with {child.returncode} after {seconds:.1f} s:\n{tail}"
        )
    return sample


Subject = Callable[[], Sample]
"""Runs once from a fresh start, checks that the work was done, and returns the figures."""


def alternate(
    ours: tuple[str, Subject], peer: tuple[str, Subject], runs: int, progress: Callable[[str], None]
) -> tuple[Series, Series]:
    """Run two subjects in turns, so that whatever else the host does falls on both.

    Args:
        ours: Name and subject.
        peer: Name and subject.
        runs: Counted runs of each, after one warm-up of each.
        progress: Told about every run.

    Raises:
        CannotMeasure: A run failed.
    """
    taken: dict[str, list[Sample]] = {ours[0]: [], peer[0]: []}
    for number in range(runs + 1):
        for name, subject in (ours, peer):
            sample = subject()
            label = f"run {number} of {runs}" if number else "warm-up"
            progress(f"{name}, {label}: {sample.seconds:.2f} s")
            if number:
                taken[name].append(sample)
    return Series(ours[0], tuple(taken[ours[0]])), Series(peer[0], tuple(taken[peer[0]]))
