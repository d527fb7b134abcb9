"""A scheduler and workers of Dask on loopback, under mutual TLS, each a process of its own."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Self

from pipeline.sources.backups.crew.readers import Crew
from tests.support import leftovers
from tests.support.commandline import ROOT
from tests.support.secure_stack import Certificates

HONEST = "pipeline.sources.backups.crew.dask_worker"
TLS = "pipeline.sources.backups.crew.dask_tls"
_STARTED = re.compile(rb"Scheduler at:\s+(tls://\S+)")


@dataclass
class DaskCrew:
    """A context manager.

    Attributes:
        folder: Where certificates and preloads lie.
        failures: How many workers may end under one ticket before the scheduler gives it up.
        scheduler: Its process.
        address: Where it listens.
    """

    folder: Path
    failures: int = 3
    certificates: Certificates = field(init=False)
    scheduler: subprocess.Popen[bytes] = field(init=False)
    address: str = field(init=False)
    _stack: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self.certificates = Certificates(self.folder)
        self.pair = self.certificates.issue("member", "127.0.0.1")
        self.foreign = self.certificates.issue("foreign", "127.0.0.1", by=self.certificates.other)

    def __enter__(self) -> Self:
        self.scheduler = self._scheduler()
        assert self.scheduler.stderr
        for line in self.scheduler.stderr:
            if found := _STARTED.search(line):
                self.address = found[1].decode()
                break
        drain = threading.Thread(target=self.scheduler.stderr.read)
        drain.start()
        self._stack.callback(drain.join)
        self._stack.callback(self.scheduler.kill)
        return self

    def _scheduler(self) -> subprocess.Popen[bytes]:
        words = ("distributed.cli.dask_scheduler", "--host", "tls://127.0.0.1:0", "--no-dashboard")
        return self._start(*words, *self._tls(), "--preload", TLS)

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def worker(
        self,
        *preload: str,
        foreign: bool = False,
        at: Sequence[str] = ("--host", "127.0.0.1"),
        env: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start one.

        Args:
            preload: What it loads, with options.
            foreign: Whether another authority signed its certificate.
            at: Options that say where it listens.
            env: Added to its environment.
        """
        words = ("--no-dashboard", "--nthreads", "1", "--no-nanny", *at)
        with (self.folder / f"worker-{secrets.token_hex(4)}.log").open("wb") as log:
            return self._start(
                "distributed.cli.dask_worker", self.address, *words, *self._tls(foreign),
                "--preload", *preload, log=log, env=env,
            )  # fmt: skip

    def hostile(self, name: str, body: str) -> subprocess.Popen[bytes]:
        """Start a worker that has this in place of what reads; ``line`` is the ticket.

        Args:
            name: Of its module.
            body: A module that may set ``answer``, a function of one argument, before it is put in place.
        """
        text = "from pipeline.sources.backups.crew import dask_worker as real\n" + body
        text += "\ndef dask_setup(worker):\n    real.read.__code__ = answer.__code__\n"
        (self.folder / f"{name}.py").write_text(text)
        return self.worker(name)

    def reached(self, seconds: float = 60.0, *, foreign: bool = False) -> Crew:
        """How dispatch reaches it."""
        cert, key = self.foreign if foreign else self.pair
        ca = self.certificates.other_ca if foreign else self.certificates.ca
        return Crew("dask", seconds, self.address, str(ca), str(cert), str(key))

    def _tls(self, foreign: bool = False) -> list[str]:
        cert, key = self.foreign if foreign else self.pair
        return [
            "--tls-ca-file", str(self.certificates.ca), "--tls-cert", str(cert), "--tls-key", str(key)
        ]  # fmt: skip

    def _start(
        self,
        *words: str,
        log: int | IO[bytes] = subprocess.PIPE,
        env: Mapping[str, str] | None = None,
        stdin: int = subprocess.DEVNULL,
    ) -> subprocess.Popen[bytes]:
        made = subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=self.folder,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.folder),
                "PYTHONPATH": f"{ROOT}:{self.folder}",
                "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": str(self.failures),
                **(env or {}),
            },
            stdin=stdin,
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
        leftovers.note_process(made.pid)
        self._stack.callback(_end, made)
        return made


class LocalDaskCrew(DaskCrew):
    """The same, where Dask's own ``LocalCluster`` starts the workers, with the key ``crew.key``."""

    def _scheduler(self) -> subprocess.Popen[bytes]:
        return self._start("tests.support.local_cluster", HONEST, *self._tls()[1::2], stdin=subprocess.PIPE)

    def scale(self, count: int) -> None:
        """Have so many worker processes."""
        assert self.scheduler.stdin
        self.scheduler.stdin.write(b"%d\n" % count)
        self.scheduler.stdin.flush()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stderr):
        if stream:
            stream.close()
