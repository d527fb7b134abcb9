"""Reading by a crew of Dask's workers: what a ticket costs, and what a second worker is worth."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.backups import MIB, Kind, unprotected_home, write
from tests.bench.measure import CannotMeasure, Sample, Series, alternate, run
from tests.bench.subjects import ORGKEY, Bench
from tests.bench.verdict import Comparison

if TYPE_CHECKING:
    from tests.support.dask_crew import DaskCrew

TICKET_SECONDS = 0.030
"""Processor time of all processes, for each backup, on top of reading it here."""
EFFICIENCY = 0.85
"""Of two workers against one, each with a core of its own."""
SMALL, LARGE = 100, 32
_SMALL = Kind("1 MiB", MIB, random=True, whole=1.0, alone=None)
_LARGE = Kind("512 MiB", 512 * MIB, random=True, whole=1.0, alone=None, options=("--compress-algo", "none"))


@dataclass(frozen=True)
class Reader:
    """A configuration, and the processes that read for it.

    Attributes:
        config: The configuration.
        processes: Of the crew; none where this machine reads.
    """

    config: Path
    processes: tuple[int, ...] = ()

    def verify(self, bench: Bench, folder: Path, count: int) -> Sample:
        """Verify the backups of a folder; the processor time is that of all processes.

        Raises:
            CannotMeasure: They were not all verified, or not by whom they should.
        """
        state = bench.work / "crew-state"
        argv = [ORGKEY, "backups", "verify", str(folder), "--json", "--quiet", "--jobs", "1"]
        argv += ["--config", str(self.config), "--state-dir", str(state)]
        before = self._cpu_seconds()
        sample = run(argv, bench.env, cwd=bench.work)
        read = json.loads(sample.stdout)["backups"]
        here = sum(item["worker"] is None for item in read)
        if len(read) != count or not all(item["ok"] for item in read):
            raise CannotMeasure(f"the backups were not verified:\n{sample.stdout.decode()}")
        if self.processes and here > max(1, count // 20):
            raise CannotMeasure(f"{here} of {count} backups were read here")
        return replace(sample, cpu_seconds=sample.cpu_seconds + self._cpu_seconds() - before)

    def _cpu_seconds(self) -> float:
        return sum(map(_cpu_ticks, self.processes)) / os.sysconf("SC_CLK_TCK")


def measure(bench: Bench, runs: int, progress: Callable[[str], None]) -> Iterator[Comparison]:
    """Read small backups here and by a crew, and large ones by one and by two workers.

    Args:
        bench: The stack.
        runs: Counted readings.
        progress: Told about every run.

    Raises:
        CannotMeasure: A run failed, or proved less than it should.
    """
    from tests.support.dask_crew import DaskCrew

    run(bench.escrow_argv("crew"), bench.env, cwd=bench.work)
    folders = {name: bench.work / f"crew-{name}" for name in ("one", "small", "large")}
    with unprotected_home(bench) as gpg:
        for name, kind, count in (("one", _SMALL, 1), ("small", _SMALL, SMALL), ("large", _LARGE, LARGE)):
            progress(f"writing {count} x {kind.name}")
            folders[name].mkdir()
            first = folders[name] / "0.pgp"
            write(gpg, kind, first, bench.fingerprint)
            for number in range(1, count):
                (folders[name] / f"{number}.pgp").hardlink_to(first)
    here = Reader(bench.work / "crew.toml")
    made = [bench.work / "crew-1", bench.work / "crew-2"]
    for folder in made:
        folder.mkdir()
    with DaskCrew(made[0]) as single, DaskCrew(made[1]) as double:
        one, two = _crew(bench, single, 1), _crew(bench, double, 2)
        yield _tickets(bench, here, one, folders, runs, progress)
        ours, peer = alternate(
            ("two workers", partial(two.verify, bench, folders["large"], LARGE)),
            ("one worker", partial(one.verify, bench, folders["large"], LARGE)),
            runs,
            progress,
        )
        yield Comparison(f"two workers / one: {LARGE} x {_LARGE.name}", ours, peer, 1 / (2 * EFFICIENCY))
    for folder in folders.values():
        shutil.rmtree(folder)


def _tickets(
    bench: Bench,
    here: Reader,
    crew: Reader,
    folders: dict[str, Path],
    runs: int,
    progress: Callable[[str], None],
) -> Comparison:
    """What each backup costs by a crew, less what it costs here; imports and logins fall out."""
    taken: list[Sample] = []
    for number in range(runs + 1):
        spent = {
            (reader, name): reader.verify(bench, folders[name], count).cpu_seconds
            for name, count in (("one", 1), ("small", SMALL))
            for reader in (here, crew)
        }
        each = {
            reader: (spent[reader, "small"] - spent[reader, "one"]) / (SMALL - 1) for reader in (here, crew)
        }
        seconds = each[crew] - each[here]
        progress(f"a ticket on top of reading: {1000 * seconds:.1f} ms of processor time")
        if number:
            taken.append(Sample(seconds, seconds, 0, b"", b""))
    allowed = Series("allowed", (Sample(TICKET_SECONDS, TICKET_SECONDS, 0, b"", b""),) * runs)
    return Comparison(
        f"a ticket on top of reading / {1000 * TICKET_SECONDS:g} ms of processor time",
        Series("ticket", tuple(taken)), allowed, 1.0,
    )  # fmt: skip


def _crew(bench: Bench, crew: DaskCrew, count: int) -> Reader:
    """Start so many workers, each on a core of its own."""
    from tests.support.dask_crew import HONEST

    argv = [ORGKEY, "backups", "crew", "init", "--output", str(crew.folder / "crew.key"), "--json"]
    public = json.loads(run(argv, bench.env, cwd=bench.work).stdout)["crew_key"]
    cert, key = crew.pair
    settings = {
        "engine": "dask", "scheduler": crew.address, "crew_key": public, "cert_file": str(cert),
        "key_file": str(key), "ca_file": str(crew.certificates.ca),
    }  # fmt: skip
    config = bench.work / f"crew-{count}.toml"
    text = "\n".join(f"{name} = {json.dumps(value)}" for name, value in settings.items())
    config.write_text(f"{(bench.work / 'crew.toml').read_text()}\n[readers]\nrecheck_percent = 1\n{text}\n")
    config.chmod(0o600)
    processes = [crew.scheduler.pid]
    for _, core in zip(range(count), sorted(os.sched_getaffinity(0)), strict=False):
        worker = crew.worker(HONEST, "--crew-key-file", "crew.key")
        os.sched_setaffinity(worker.pid, {core})  # before it has a thread or a child
        processes.append(worker.pid)
    if len(processes) != count + 1:
        raise CannotMeasure(f"there are no {count} cores")
    return Reader(config, tuple(processes))


def _cpu_ticks(pid: int) -> int:
    """Of a process and of what it has started."""
    tasks = list(Path(f"/proc/{pid}/task").iterdir())
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    return sum(map(int, fields[11:15])) + sum(map(_cpu_ticks, children))
