"""Where an escrow's time goes: its stages as it announces them, and what is imported when."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence

from tests.bench.measure import TIMEOUT_SECONDS, CannotMeasure
from tests.bench.subjects import Bench

SHOWN = 18


def report(bench: Bench) -> list[str]:
    """Profile an escrow after a warm-up.

    Args:
        bench: The stack.

    Raises:
        CannotMeasure: A run failed.
    """
    bench.escrow()
    lines = ["escrow, line by line as it says what it does (seconds since the start):"]
    lines += [f"  {at:6.3f}  {text}" for at, text in _said(bench.escrow_argv("profile-stages"), bench)]
    python = (sys.executable, "-X", "importtime", "-c", "from pipeline.cli.app import main; main()")
    said = [text for _, text in _said(bench.escrow_argv("profile-imports", *python), bench)]
    lines += ["", "imports of an escrow by package, own time (ms; slowed down by the measurement):"]
    lines += _by_package(said)
    helped = [text for _, text in _said([*python, "--help"], bench)]
    lines += ["", "imports of --help by package, own time (ms; slowed down by the measurement):"]
    return lines + _by_package(helped)


def _said(argv: Sequence[str], bench: Bench) -> list[tuple[float, str]]:
    """Run a command and note when each line of its stderr came."""
    started = time.monotonic()
    lines = []
    with subprocess.Popen(
        argv, env=bench.env, cwd=bench.work, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, errors="replace",
    ) as child:  # fmt: skip
        assert child.stderr is not None
        for line in child.stderr:
            lines.append((time.monotonic() - started, line.rstrip("\n")))
        code = child.wait(TIMEOUT_SECONDS)
    lines.append((time.monotonic() - started, "ended"))
    if code != 0:
        raise CannotMeasure(
            "\n".join(["the run that was profiled failed:", *(text for _, text in lines[-20:])])
        )
    return lines


def _by_package(lines: Iterable[str]) -> list[str]:
    """Add up the own times of `-X importtime` by top-level package, the slowest first."""
    times: defaultdict[str, float] = defaultdict(float)
    modules: defaultdict[str, int] = defaultdict(int)
    for line in lines:
        parts = line.removeprefix("import time:").split("|")
        if not line.startswith("import time:") or len(parts) != 3 or not parts[0].strip().isdigit():
            continue
        package = parts[2].strip().partition(".")[0]
        times[package] += int(parts[0]) / 1000
        modules[package] += 1
    slowest = sorted(times, key=lambda package: -times[package])[:SHOWN]
    rows = [f"  {times[package]:7.1f}  {package} ({modules[package]})" for package in slowest]
    return [*rows, f"  {sum(times.values()):7.1f}  all ({sum(modules.values())} modules)"]
