"""A host without room, descriptors or memory: code 3 wherever it shows, and no verdict on the key."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from pipeline.core import host_limits, process
from pipeline.core.clock import Deadline
from pipeline.core.errors import LocalFilesProblem
from pipeline.openpgp import signing
from pipeline.openpgp.gnupg import home as gnupg_home
from pipeline.openpgp.gnupg.driver import GnuPG
from pipeline.openpgp.proofs import Prestarted, guard
from pipeline.openpgp.proofs.gnupg_proof import GnuPGProver
from pipeline.openpgp.proofs.interface import Job, Outcome, Prover, Task
from pipeline.openpgp.proofs.pgpy_proof import PgpyProver
from pipeline.openpgp.proofs.sequoia_proof import SequoiaProver

if TYPE_CHECKING:
    from tests.component.proofs.conftest import Stored

    Keys = Callable[[str], Stored]


def left(size: int) -> SimpleNamespace:
    """A file system with so many bytes left."""
    return SimpleNamespace(f_bavail=size // 4096, f_frsize=4096, f_files=0, f_favail=0)


def test_room_is_asked_for_before(stored: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: left(1 << 20))

    def nothing(*_: object, **__: object) -> None:
        raise AssertionError("a program was started")

    monkeypatch.setattr(process, "start", nothing)
    with pytest.raises(LocalFilesProblem, match="no room left"):
        stored("ed25519-two-block").prove(provers=[GnuPGProver(), SequoiaProver()])
    with pytest.raises(LocalFilesProblem, match="no room left"):  # an escrow starts it before it stores
        Prestarted()


@pytest.mark.parametrize("size", [0, 4096, 16384, 65536])
def test_a_full_file_system_in_memory(stored: Keys, tmp_path: Path, size: int) -> None:
    """A real one, that has no more than so many bytes; the answer does not depend on who notices first."""
    if os.geteuid() != 0:
        pytest.skip("only root mounts a file system")
    key = stored("ed25519-two-block")
    with Small(tmp_path, size) as small, pytest.MonkeyPatch.context() as patch:
        for module in (gnupg_home, guard):
            patch.setattr(module, "memory_root", lambda: small)
            patch.setattr(module, "require_room", lambda *_: None)
        with pytest.raises(LocalFilesProblem):
            key.prove(provers=[GnuPGProver(), SequoiaProver()])


class Small:
    """A file system of one mebibyte with so many bytes left."""

    def __init__(self, place: Path, size: int) -> None:
        self.place, self.size = place, size

    def __enter__(self) -> Path:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", self.place], check=True)
        filler = self.place / "filler"
        with filler.open("wb") as stream:
            stream.write(bytes((1 << 20) - self.size))
        return self.place

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "-l", self.place], check=True)


@pytest.mark.parametrize(
    "said",
    [
        "gpg: error writing keyring '/dev/shm/x/pubring.kbx': No space left on device",
        "gpg: can't connect to the agent: Cannot allocate memory",
        "gpg: can't open '/x': Too many open files",
        "gpg: failed to start agent: Resource temporarily unavailable.",
    ],
)
def test_what_gpg_says_of_the_host(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with GnuPG(Deadline(60)) as gpg:

        def run(*_: object, **__: object) -> process.Completed:
            (gpg.home / "log").write_text(f"2026-01-01 00:00:00 gpg[1] {said}\nmore\n")
            return process.Completed(2, b"", b"")

        monkeypatch.setattr(process, "run", run)
        with pytest.raises(LocalFilesProblem, match="this host cannot use GnuPG"):
            gpg.encrypt(b"x", "AA" * 20)


def test_a_user_id_is_no_trouble_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    with GnuPG(Deadline(60)) as gpg:

        def run(*_: object, **__: object) -> process.Completed:
            said = 'key 12: public key "No space left on device" imported'
            (gpg.home / "log").write_text(f"2026-01-01 00:00:00 gpg[1] {said}\n")
            return process.Completed(2, b"", b"")

        monkeypatch.setattr(process, "run", run)
        assert gpg.call("--import").returncode == 2


class Killed(PgpyProver):
    """PGPy's child is killed, as by a host that has no memory left."""

    def make(self, job: Job) -> dict[Task, Outcome]:
        self._child = Prestarted()
        os.kill(self._child._child.pid, 9)
        return super().make(job)


class FewFiles(SequoiaProver):
    """Nothing more can be opened."""

    def make(self, job: Job) -> dict[Task, Outcome]:
        raise OSError(errno.EMFILE, "Too many open files")


@pytest.mark.parametrize("trouble", [Killed, FewFiles])
def test_a_child_that_died_and_files_that_cannot_be_opened(stored: Keys, trouble: type[Prover]) -> None:
    with pytest.raises(LocalFilesProblem):
        stored("ed25519-two-block").prove(provers=[trouble()])


@pytest.fixture
def few_descriptors() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    # More than are open, also in a worker with a browser: a new process has no more open than it may.
    used = max(map(int, os.listdir("/proc/self/fd")))  # noqa: PTH208 - names
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 2, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("few_descriptors")
def test_the_soft_limit_is_raised(stored: Keys) -> None:
    assert stored("ed25519-two-block").prove(provers=[PgpyProver(), SequoiaProver()]).ok


def test_24_descriptors() -> None:
    """In a process of its own: a hard limit cannot be raised again."""
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24))\n"
        "from pipeline.core.errors import LocalFilesProblem\n"
        "from pipeline.core.host_limits import require_descriptors\n"
        "try: require_descriptors(48, 'prove the key')\n"
        "except LocalFilesProblem as error: print(error.message)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert "it may open 24 files at most" in done.stdout


def test_signing_on_a_full_host_says_so(stored: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    """A brainpool key, which only GnuPG signs with: not "no implementation signs with this key"."""
    key = stored("brainpoolp256-two-block")
    monkeypatch.setattr(os, "statvfs", lambda _: left(0))
    with pytest.raises(LocalFilesProblem, match="no room left"):
        signing.sign_detached(
            key.tsk, key.passphrase, key.public, b"x", deadline=Deadline(60), now=datetime.now(UTC)
        )


@pytest.mark.parametrize("limit", [160, 400])
def test_too_little_address_space_is_told_before_a_thread_is_started(limit: int, tmp_path: Path) -> None:
    code = f"import resource, sys; resource.setrlimit(resource.RLIMIT_AS, ({limit} << 20,) * 2)\n"
    code += "sys.argv[1:] = ['doctor']; from pipeline.cli.entry import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (3, ""), done.stderr
    assert f"orgkey: error: the address space is limited to {limit} MiB, 1024 MiB are needed" in done.stderr


def test_a_soft_limit_of_the_address_space_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1 << 20, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", lambda *limit: made.append(limit))
    host_limits.require_address_space()
    assert made == [(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))]
