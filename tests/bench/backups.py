"""Reading backups of 1 and 5 GiB to their end: this program against gpg, on the same file."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tests.bench.measure import CannotMeasure, Sample, Series, alternate, run
from tests.bench.subjects import ORGKEY, Bench
from tests.bench.verdict import Comparison
from tests.support import openpgp_writer

MIB, GIB = 1 << 20, 1 << 30
PEAK_KIB = 100_000_000 // 1024
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Kind:
    """A backup.

    Attributes:
        name: For people.
        size: Of its content, in bytes.
        random: Whether the content is random; else it is lines of text.
        whole: The ratio that is allowed to the whole command, as a user types it.
        alone: The ratio that is allowed to the reading alone.
        options: How gpg writes it.
        count: How many of them there are; more than one are read side by side.
    """

    name: str
    size: int
    random: bool
    whole: float
    alone: float | None
    options: tuple[str, ...] = ("--compress-level", "1")
    count: int = 1

    def block(self) -> bytes:
        """What the content repeats; zlib looks back 32 KiB, so a random block stays incompressible."""
        if self.random:
            return os.urandom(_BLOCK)
        lines = b"".join(
            b"%08d user%d@example.com Key 0x%08X\n" % (n, n * 7919 % 10007, n * n) for n in range(40_000)
        )
        return lines[:_BLOCK]


_STORED = ("--compress-algo", "none")
# What holds today, with the digest of the stored bytes computed beside the message's own code on two cores.
# Aims for whole commands: 1/1.3 (1 GiB), 1/1.8 (5 GiB), compressed 1/2 and 1/2.8, several 1/1.1 and 1/3.
KINDS = (
    Kind("1 GiB compressed", GIB, random=False, whole=0.9, alone=0.65),
    Kind("1 GiB random", GIB, random=True, whole=1.6, alone=1.1),
    Kind("1 GiB stored", GIB, random=True, whole=2.2, alone=1.5, options=_STORED),
    Kind("5 GiB compressed", 5 * GIB, random=False, whole=0.7, alone=0.65),
    Kind("5 GiB stored", 5 * GIB, random=True, whole=1.6, alone=1.5, options=_STORED),
    Kind("8 x 512 MiB compressed", 512 * MIB, random=False, whole=1.0, alone=None, count=8),
    Kind("8 x 512 MiB stored", 512 * MIB, random=True, whole=3.0, alone=None, options=_STORED, count=8),
)


def measure(bench: Bench, runs: int, progress: Callable[[str], None]) -> Iterator[Comparison]:
    """Read each backup with both, in turns: the whole command is judged, and the reading alone beside it.

    Args:
        bench: The stack; the key is escrowed there.
        runs: Counted readings.
        progress: Told about every run.

    Raises:
        CannotMeasure: A run failed, or proved less than it should.
    """
    name = "backups"
    run(bench.escrow_argv(name), bench.env, cwd=bench.work)
    with unprotected_home(bench) as gpg:
        for place, kind in enumerate(KINDS):
            folder = bench.work / f"backups-{place}"  # a place each: what lies there has a history
            folder.mkdir()
            progress(f"writing {kind.name}")
            write(gpg, kind, folder / "0.pgp", bench.fingerprint)
            for number in range(1, kind.count):
                shutil.copyfile(folder / "0.pgp", folder / f"{number}.pgp")
            peer = [*gpg, "--output", os.devnull, "--decrypt"]
            paths = sorted(map(str, folder.iterdir()))
            if kind.count > 1:
                peer = ["sh", "-c", f"printf '%s\\0' {folder}/*.pgp | xargs -0 -n 1 -P 2 {shlex.join(peer)}"]
            else:
                peer += paths
            ours, theirs = alternate(
                (f"orgkey backups verify, {kind.name}", partial(_ours, bench, name, folder, kind)),
                ("gpg --decrypt", partial(run, peer, bench.env, cwd=bench.work)),
                runs,
                progress,
            )
            for path in folder.iterdir():
                path.unlink()
            yield Comparison(f"reading, whole command / gpg: {kind.name}", ours, theirs, kind.whole, PEAK_KIB)
            if kind.alone is not None:
                alone = Series(f"reading alone, {kind.name}", tuple(map(_alone, ours.samples)))
                yield Comparison(f"reading alone / gpg: {kind.name}", alone, theirs, kind.alone)


def _ours(bench: Bench, name: str, folder: Path, kind: Kind) -> Sample:
    argv = [ORGKEY, "backups", "verify", str(folder), "--json", "--quiet"]
    argv += ["--config", str(bench.work / f"{name}.toml"), "--state-dir", str(bench.work / f"{name}-state")]
    sample = run(argv, bench.env, cwd=bench.work)
    read = json.loads(sample.stdout)["backups"]
    if not all(
        item["ok"] and item["engine"] == "orgkey" and item["content_bytes"] == kind.size for item in read
    ):
        raise CannotMeasure(f"the backups were not verified:\n{sample.stdout.decode()}")
    if len(read) != kind.count:
        raise CannotMeasure(f"{len(read)} of {kind.count} backups were read")
    return sample


def _alone(sample: Sample) -> Sample:
    """The time that the program says for getting the session key and reading."""
    return replace(sample, seconds=json.loads(sample.stdout)["backups"][0]["seconds"])


def write(gpg: list[str], kind: Kind, path: Path, fingerprint: str) -> None:
    """Encrypt one backup to a key."""
    argv = [*gpg, "--trust-model", "always", "--recipient", fingerprint, *kind.options]
    block = kind.block()
    with subprocess.Popen([*argv, "--output", str(path), "--encrypt"], stdin=subprocess.PIPE) as child:
        assert child.stdin is not None
        with child.stdin as stdin:
            for _ in range(kind.size // _BLOCK):
                stdin.write(block)
    if child.returncode:
        raise CannotMeasure("gpg does not write the backup")


@contextmanager
def unprotected_home(bench: Bench) -> Iterator[list[str]]:
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
