"""Reading backups of 1 and 5 GiB to their end: this program against gpg, on the same file."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tests.bench.measure import CannotMeasure, Sample, alternate, run
from tests.bench.subjects import ORGKEY, Bench
from tests.bench.verdict import Comparison
from tests.support import openpgp_writer

GIB = 1 << 30
LIMIT = 0.5
"""At least twice gpg's throughput."""
STORED_LIMIT = 0.9
"""Where nothing was compressed, gpg too does little but SHA-1, which both have to wait for."""
PEAK_KIB = 100_000_000 // 1024
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Kind:
    """A backup.

    Attributes:
        name: For people.
        gib: Size of its content.
        random: Whether the content is random; else it is lines of text.
        options: How gpg writes it.
        limit: The ratio that is allowed.
    """

    name: str
    gib: int
    random: bool
    options: tuple[str, ...] = ("--compress-level", "1")
    limit: float = LIMIT

    def block(self) -> bytes:
        """What the content repeats; zlib looks back 32 KiB, so a random block stays incompressible."""
        if self.random:
            return os.urandom(_BLOCK)
        lines = b"".join(
            b"%08d user%d@example.com Key 0x%08X\n" % (n, n * 7919 % 10007, n * n) for n in range(40_000)
        )
        return lines[:_BLOCK]


KINDS = (
    Kind("1 GiB random", 1, random=True),
    Kind("1 GiB compressible", 1, random=False),
    Kind("5 GiB random", 5, random=True),
    Kind("5 GiB compressible", 5, random=False),
    Kind("1 GiB random, stored", 1, random=True, options=("--compress-algo", "none"), limit=STORED_LIMIT),
)


def measure(bench: Bench, runs: int, progress: Callable[[str], None]) -> Iterator[Comparison]:
    """Read each backup with both, in turns.

    Args:
        bench: The stack; the key is escrowed there.
        runs: Counted readings.
        progress: Told about every run.

    Raises:
        CannotMeasure: A run failed, or proved less than it should.
    """
    name = "backups"
    run(bench.escrow_argv(name), bench.env, cwd=bench.work)
    with _gpg(bench) as gpg:
        for kind in KINDS:
            path = bench.work / "backup.pgp"
            progress(f"writing a backup: {kind.name}")
            _write(gpg, kind, path, bench.fingerprint)
            ours, theirs = alternate(
                (f"orgkey backups verify, {kind.name}", partial(_ours, bench, name, path, kind)),
                (
                    "gpg --decrypt",
                    partial(
                        run, [*gpg, "--output", os.devnull, "--decrypt", str(path)], bench.env, cwd=bench.work
                    ),
                ),
                runs,
                progress,
            )
            path.unlink()
            yield Comparison(f"reading a backup / gpg: {kind.name}", ours, theirs, kind.limit, PEAK_KIB)


def _ours(bench: Bench, name: str, path: Path, kind: Kind) -> Sample:
    """The whole command's memory, and the time that it says for getting the session key and reading."""
    argv = [ORGKEY, "backups", "verify", str(path), "--json", "--quiet"]
    argv += ["--config", str(bench.work / f"{name}.toml"), "--state-dir", str(bench.work / f"{name}-state")]
    sample = run(argv, bench.env, cwd=bench.work)
    (found,) = json.loads(sample.stdout)["backups"]
    if not found["ok"] or found["engine"] != "orgkey" or found["content_bytes"] != kind.gib * GIB:
        raise CannotMeasure(f"the backup was not verified:\n{sample.stdout.decode()}")
    return replace(sample, seconds=found["seconds"])


def _write(gpg: list[str], kind: Kind, path: Path, fingerprint: str) -> None:
    argv = [*gpg, "--trust-model", "always", "--recipient", fingerprint, *kind.options]
    block = kind.block()
    with subprocess.Popen([*argv, "--output", str(path), "--encrypt"], stdin=subprocess.PIPE) as child:
        assert child.stdin is not None
        with child.stdin as stdin:
            for _ in range(kind.gib * GIB // _BLOCK):
                stdin.write(block)
    if child.returncode:
        raise CannotMeasure("gpg does not write the backup")


@contextmanager
def _gpg(bench: Bench) -> Iterator[list[str]]:
    """A gpg home with the key, unprotected, so that no passphrase is derived in the peer's time."""
    key = openpgp_writer.dearmor(
        (Path(__file__).parents[1] / "assets/keys/rsa4096-unprotected.asc").read_text()
    )
    with tempfile.TemporaryDirectory(prefix="orgkey-bench-") as home:
        gpg = ["gpg", "--homedir", home, "--batch", "--yes", "--quiet", "--no-tty"]
        try:
            subprocess.run([*gpg, "--import"], input=key, env=bench.env, check=True, timeout=60)
            yield gpg
        finally:
            subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False, timeout=30)
