"""Posture's oracle is the restore itself: whatever it says of a set of holders and people, a restore shows.

A plan of three paths, its machines on real servers; all 128 subsets of {vault, aws, five custodians}.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline import config
from pipeline.core.clock import Deadline, SystemClock
from pipeline.core.errors import NotEnoughShares, OrgkeyError
from pipeline.core.secret import Secret
from pipeline.custody.holders.interface import Holder
from pipeline.custody.shares.manifest_section import CustodySection
from pipeline.openpgp.format import armor
from pipeline.openpgp.key.rewrap import unlock
from pipeline.posture import model as posture
from pipeline.unseal.ceremony import Brought, UnsealRequest
from pipeline.wiring.backends import ConfiguredBackends
from pipeline.wiring.sessions import Sessions
from pipeline.workflows import restore
from pipeline.workflows.restore import FoundRecord, RestoreRequest
from tests.e2e.test_custody_rotate import record_at
from tests.support import people
from tests.support.commandline import Desk
from tests.support.people import EVERYBODY, FINGERPRINTS

if TYPE_CHECKING:
    from tests.support.local_stack import Stack

MIXED = '[path.mixed]\nneeds = ["vault", { holder = "custodians", threshold = 2 }]\n'
MACHINES = ("vault", "aws")
MEMBERS = (*MACHINES, *EVERYBODY)
NEW = Secret("a passphrase that the operator chose")


@dataclass
class Some(ConfiguredBackends):
    """The real estate of a driller who can reach some of the machines only."""

    reached: frozenset[str] = frozenset()

    def openers(self, section: CustodySection) -> dict[str, Holder]:
        return {name: item for name, item in super().openers(section).items() if name in self.reached}


@dataclass(frozen=True)
class Escrowed:
    """An escrowed key: what posture is computed from, and what a restore works on."""

    desk: Desk
    loaded: config.Config
    found: FoundRecord
    words: dict[tuple[str, str], Secret]

    def estate(self, members: Sequence[str]) -> Some:
        clock = SystemClock()
        return Some(Sessions(self.loaded, Deadline(60, clock), clock), "driller", reached=frozenset(members))

    def restores(self, members: Sequence[str], *, original: bool = True) -> str | None:
        """Try every path with these members, as an operator would; the path that gave the key back."""
        estate = self.estate(members)
        for path in ("custodians", "mixed", "unattended"):
            out = self.desk.folder / f"{path}.out"
            words = [self.words[path, name] for name in members if (path, name) in self.words]
            shares = tuple(Brought(one, "a share") for one in words)
            request = RestoreRequest(out, original=original, unseal=UnsealRequest(path=path, shares=shares))
            try:
                restore.restore(
                    self.found,
                    request,
                    estate,
                    lambda: NEW,
                    estate.sessions.deadline,
                )
            except NotEnoughShares:
                assert not out.exists()
                continue
            data = out.read_bytes()
            out.unlink()
            if original:
                assert data == self.desk.export.read_bytes()
            else:
                key = unlock(armor.dearmor(data), NEW)
                assert key.key_state == self.found.record.manifest.key_state
            return path
        return None


@pytest.fixture(scope="module")
def escrowed(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Escrowed:
    from tests.conftest import Place

    folder = tmp_path_factory.mktemp("oracle")
    name = uuid.uuid4().hex[:12]
    place = Place(stack, f"records/{name}", f"orgkey/{name}")
    certificates = people.folder(folder / "certificates")
    desk = Desk(place, folder, disk=True, more=people.tables(certificates) + MIXED)
    record = record_at(desk, desk.escrow("--no-drill")["epoch"])
    words = {
        (path, name): people.words(name, record, path)
        for path in ("custodians", "mixed")
        for name in EVERYBODY
    }
    return Escrowed(desk, config.load(desk.config), FoundRecord(record, "disk"), words)


def subsets() -> list[tuple[str, ...]]:
    return [chosen for count in range(len(MEMBERS) + 1) for chosen in combinations(MEMBERS, count)]


def party(member: str) -> str:
    return f"{member}-admins" if member in MACHINES else f"custodian {FINGERPRINTS[member]}"


def thing(member: str) -> str:
    return f"holder {member}" if member in MACHINES else f"custodian {FINGERPRINTS[member]}"


def says(escrowed: Escrowed, members: Sequence[str]) -> tuple[bool, bool]:
    """What posture says before: whether these reconstruct, and whether losing all others is survived."""
    model = posture.from_config(escrowed.loaded)
    here = {party(member) for member in members} | {"storage-admins"}  # who has the copy on the disk
    lost = {thing(member) for member in MEMBERS if member not in members}
    reconstructs = any(item <= here for item in posture.Posture((model,)).reconstruct.sets())
    survived = not any(item <= lost for item in posture.Posture((model,)).fatal_losses.sets())
    return reconstructs, survived


@pytest.mark.timeout(600)
def test_every_subset_restores_exactly_where_posture_says_so(escrowed: Escrowed) -> None:
    outcomes = set()
    for members in subsets():
        reconstructs, survived = says(escrowed, members)
        path = escrowed.restores(members)
        assert (path is not None) == reconstructs, (members, path)
        assert (path is not None) == survived, (members, path)
        outcomes.add(path)
    assert outcomes == {None, "custodians", "mixed", "unattended"}, "every path has decided some"


@pytest.mark.parametrize(
    "members", [("vault", "aws"), ("vault", "bob", "erin"), ("alice", "carol", "dave"), MEMBERS]
)
def test_the_re_wrapped_key_comes_back_as_well(escrowed: Escrowed, members: tuple[str, ...]) -> None:
    assert escrowed.restores(members, original=False) is not None


def test_a_machine_that_refuses_counts_like_one_that_is_missing(escrowed: Escrowed) -> None:
    """The other way to be without a holder: the login is not good there."""
    bad = escrowed.desk.write("nobody-secret-id", b"00000000-0000-0000-0000-000000000000\n")
    text = escrowed.desk.config.read_text()
    name = next(
        line.partition('"')[2].rstrip('"\n')
        for line in text.splitlines()
        if line.startswith("secret_id_file") and "driller" in line
    )
    refused = config.parse(text.replace(name, str(bad)).encode(), Path("refused.toml"))
    estate = ConfiguredBackends(Sessions(refused, Deadline(60), SystemClock()), "driller")
    out = escrowed.desk.folder / "never.out"
    with pytest.raises(OrgkeyError):
        restore.restore(
            escrowed.found,
            RestoreRequest(out, original=True, unseal=UnsealRequest(path="unattended")),
            estate,
            lambda: NEW,
            estate.sessions.deadline,
        )
    assert not out.exists()
    assert escrowed.restores(("aws", "alice", "carol", "dave")) == "custodians"
