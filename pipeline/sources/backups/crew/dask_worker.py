"""What a worker of Dask loads to read backups: ``dask worker tls://… --preload THIS --crew-key-file F``.

The crew's key stays on the worker; what parses a backup is a process apart, which lacks it.
"""

from __future__ import annotations

import queue
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import dask.config

from pipeline.core import hardening
from pipeline.core.errors import OrgkeyError
from pipeline.sources.backups.crew import dask_tls  # noqa: F401 - for what its import does

if TYPE_CHECKING:
    from pipeline.sources.backups.crew.crew_key import CrewKey
    from pipeline.sources.backups.worker_client import WorkerClient

# At the import, since Dask lays out a worker's memory before it calls what follows: nothing goes to its disk.
dask.config.set(
    {
        "distributed.worker.memory.target": False,
        "distributed.worker.memory.spill": False,
        "distributed.worker.profile.enabled": False,
    }
)


class _Crew:
    """The key, and the processes that parse, one for each thread of the worker."""

    def __init__(self) -> None:
        self.key: CrewKey | None = None
        self.stack = ExitStack()
        self.idle: queue.SimpleQueue[WorkerClient] = queue.SimpleQueue()


_CREW: Final = _Crew()


@click.command()
@click.option("--crew-key-file", required=True, type=click.Path(path_type=Path))
def dask_setup(worker: Any, crew_key_file: Path) -> None:
    """Load the crew's key, and start what parses."""
    from pipeline.sources.backups.crew.crew_key import CrewKey
    from pipeline.sources.backups.worker_client import WorkerClient

    hardening.harden()
    try:
        _CREW.key = CrewKey.load(crew_key_file)
        for _ in range(worker.state.nthreads):
            _CREW.idle.put(_CREW.stack.enter_context(WorkerClient()))
    except OrgkeyError as error:  # Dask would log any other error, and join the crew without what reads
        print(f"error: {error.message}\nhint: {error.hint}", file=sys.stderr)  # noqa: T201
        raise SystemExit(int(error.code)) from None


def dask_teardown(_worker: Any) -> None:
    """End what parses."""
    _CREW.stack.close()


def read(line: str) -> str:
    """Read the backup of one ticket; see :func:`pipeline.sources.backups.crew.read_ticket.read_ticket`."""
    # Here, since dispatch and the scheduler import this module for the function's name alone.
    from pipeline.sources.backups.crew.read_ticket import read_ticket

    assert _CREW.key is not None
    reader = _CREW.idle.get()
    try:
        return read_ticket(line, _CREW.key, reader)
    finally:
        _CREW.idle.put(reader)
