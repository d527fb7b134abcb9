"""A disk that is full or read-only: exit 3, nothing counts as proven, and the next run goes on."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest

from tests.faults.scene import Ended, Scene

# Where the state directory refuses, and whether the sealed record was in the journal by then.
POINTS = {
    "mkdir state/FPR #1": False,
    "mkdir state/FPR/journal/.EPOCH.PID #1": False,
    "open state/FPR/journal/.EPOCH.PID/.record.tar.HEX.orgkey-tmp #1": False,
    "rename state/FPR/journal/EPOCH #1": False,
    "open state/FPR/journal/EPOCH/receipts/.s3.json.HEX.orgkey-tmp #1": True,
    "open state/FPR/certificates/.EPOCH-drilled-TIME-HEX.json.HEX.orgkey-tmp #1": True,
    "open state/FPR/ledger/HOST/.000000001.json.HEX.orgkey-tmp #1": True,
    "open state/FPR/journal/EPOCH/.proven.json.HEX.orgkey-tmp #1": True,
}


def check_refused(scene: Scene, ended: Ended) -> None:
    assert ended.code == 3, ended
    assert ended.document["error"]["name"] == "local-files"
    *warnings, error, hint = ended.err.splitlines()
    assert all(line.startswith("orgkey: warning: the ledger has no entry of this") for line in warnings)
    assert error.startswith("orgkey: error: cannot ")
    assert hint.startswith("orgkey: hint: ")
    for entry in scene.context().journal.entries():
        assert entry.proven() is None


@pytest.mark.parametrize(
    ("point", "error"),
    # Each point with one of the three, each of the three at several points.
    [(point, ("ENOSPC", "EROFS", "EIO")[number % 3]) for number, point in enumerate(POINTS)],
)
def test_refused_once(point: str, error: str, clean_points: list[str], scene: Scene) -> None:
    assert point in clean_points
    refused = scene.run(scene.escrow(), at=point, do=error)
    check_refused(scene, refused)
    assert os.strerror(getattr(errno, error)) in refused.err
    committed = scene.journalled()
    assert bool(committed) is POINTS[point]
    assert bool(scene.stored()) is POINTS[point]

    again = scene.run(scene.escrow())
    assert again.code == 0, again
    scene.check_whole(committed=committed)


@contextmanager
def limited(scene: Scene) -> Iterator[None]:
    """No file may grow beyond 8 KiB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def full(scene: Scene) -> Iterator[None]:
    """A disk that another program has filled."""
    filler = scene.state / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as stream:
        while True:
            stream.write(bytes(4096))
    assert os.statvfs(scene.state).f_bavail == 0
    yield
    filler.unlink()


@contextmanager
def read_only(scene: Scene) -> Iterator[None]:
    """A disk that the kernel has set to read-only."""
    mount("-o", "remount,ro", str(scene.state))
    yield
    mount("-o", "remount,rw", str(scene.state))


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True, timeout=30)


def may_mount() -> bool:
    """Whether this process has CAP_SYS_ADMIN (capabilities(7), bit 21)."""
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(line.split()[1], 16) >> 21 & 1)


@pytest.fixture
def disk(scene: Scene) -> Iterator[Scene]:
    """A scene with its state on a small disk of its own, where this user may mount one."""
    scene.state.mkdir(mode=0o700)
    if not may_mount():
        yield scene
        return
    mount("-t", "tmpfs", "-o", "size=256k,mode=0700", "tmpfs", str(scene.state))
    yield scene
    subprocess.run(["umount", str(scene.state)], check=True, capture_output=True, timeout=30)


@pytest.mark.parametrize("trouble", [limited, *([full, read_only] if may_mount() else [])])
def test_room_is_made(trouble: Callable[[Scene], AbstractContextManager[None]], disk: Scene) -> None:
    with trouble(disk):
        check_refused(disk, disk.run(disk.escrow()))
    assert disk.stored() == {}
    again = disk.run(disk.escrow())
    assert again.code == 0, again
    disk.check_whole()


def test_a_disk_that_fills_after_the_proof_keeps_it(disk: Scene) -> None:
    """The copies stand and are proven; that the log could not be written is a failure all the same."""
    point = "open state/FPR/ledger/HOST/.000000002.json.HEX.orgkey-tmp #1"
    ended = disk.run(disk.escrow(), at=point, do="ENOSPC")
    assert ended.code == 3, ended
    (entry,) = disk.context().journal.entries()
    assert entry.proven()
    again = disk.run(disk.escrow())
    assert (again.code, again.document["already"]) == (0, True)
    disk.check_whole()
