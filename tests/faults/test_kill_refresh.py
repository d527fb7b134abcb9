"""Killed at any instant of a refresh, a complete, proven epoch is there, and the next run finishes it.

As for a rotation (``test_kill_rotate.py``), but that everything secret is carried over: the same record id,
shares and keypair, byte for byte.
"""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline.openpgp.key.compare import compare_public
from pipeline.record import verify
from pipeline.record.verify import Record
from tests.faults.conftest import set_up, traced_once
from tests.faults.replacing import Before, adopt, check_ended, check_restores, check_stands, with_people
from tests.faults.scene import ASSETS, FINGERPRINT, Scene
from tests.support.commandline import end_gpg, gpg
from tests.support.openpgp_writer import PASSPHRASE

if TYPE_CHECKING:
    from tests.support.local_stack import Stack

POINTS = 72
"""How many effects a clean refresh has. Whoever adds one changes this number, and has it swept with that."""

CHANGED = {"RECOVERY.txt", "manifest.json", "manifest.json.asc", "public.asc"}
"""The members that a refresh makes anew."""


@pytest.fixture(scope="session")
def renewed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The server's public key after it has renewed itself."""
    folder = tmp_path_factory.mktemp("renewed")
    passphrase = folder / "passphrase"
    passphrase.write_bytes(PASSPHRASE)
    told = ("--passphrase-file", str(passphrase))
    try:
        gpg(folder / "home", *told, "--import", str(ASSETS / "ed25519-single.asc"))
        gpg(folder / "home", *told, "--quick-set-expire", FINGERPRINT, "2y")
        public = gpg(folder / "home", "--armor", "--export", FINGERPRINT).stdout
    finally:
        end_gpg(folder / "home")
    path = folder / "live.asc"
    path.write_bytes(public)
    return path


@pytest.fixture(scope="session")
def refresh_points(
    stack: Stack, before: Before, renewed: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[str]:
    """The points of a clean refresh, sorted."""

    def trace() -> list[str]:
        with with_people(set_up(stack, tmp_path_factory.mktemp("traced"))) as scene:
            adopt(scene, before)
            ended = scene.run(["refresh", "--public", str(renewed)])
            assert ended.code == 0, ended
            check_refreshed(scene, before, renewed)
            return scene.points()

    return traced_once("refresh", trace)


def check_refreshed(scene: Scene, before: Before, renewed: Path) -> Record:
    """One epoch more, proven, whole, with the newer public part and everything secret carried over.

    Returns:
        The new epoch's record.
    """
    ((_, copies),) = check_ended(scene, before, "refresh").items()
    context = scene.context()
    new = verify.verify_record(
        copies["vault"],
        context.fingerprint,
        deadline=context.deadline,
        now=context.clock.now(),
    )
    assert new.manifest.record_id == before.record.manifest.record_id
    assert new.manifest.custody == before.record.manifest.custody
    assert set(new.members) == set(before.record.members)
    assert {name for name in new.members if new.members[name] != before.record.members[name]} == CHANGED
    assert compare_public(new.public, renewed.read_bytes()) == "same"
    return new


def test_the_number_of_points(refresh_points: list[str]) -> None:
    listed = "\n".join(refresh_points)
    assert len(set(refresh_points)) == len(refresh_points)
    assert len(refresh_points) == POINTS, f"a refresh has other effects than it had:\n{listed}"


@pytest.mark.parametrize("number", range(POINTS))
def test_killed(
    number: int, refresh_points: list[str], replacing: Scene, before: Before, renewed: Path
) -> None:
    point = refresh_points[number]
    refresh = ["refresh", "--public", str(renewed)]
    killed = replacing.run(refresh, at=point)
    assert killed.code == -signal.SIGKILL, (point, killed)
    if not replacing.is_new_state("refresh", check_stands(replacing, before)):
        return
    check_restores(replacing, "killed")
    committed = replacing.journalled()
    done = {entry.epoch for entry in replacing.context().journal.entries() if entry.proven()}

    again = replacing.run(refresh)
    assert again.code == 0, (point, again)
    new = check_refreshed(replacing, before, renewed)
    # The same epoch with the same bytes; nothing is left to do where it was proven already.
    assert again.document["epoch"] == (None if new.epoch in done else new.epoch), point
    for journalled in committed.items():
        assert journalled == (new.epoch, new.data), "what was journalled is what is stored"
