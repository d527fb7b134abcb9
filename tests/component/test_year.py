"""A simulated year and more: renewals, and a replacement; what `status` says on each day."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from pipeline.archive.run import KeyScope
from pipeline.core.clock import parse_stamp
from pipeline.core.errors import Code
from pipeline.core.secret import Secret
from pipeline.devstack.lab import simulated_time
from pipeline.devstack.lab.server import LabServer
from pipeline.monitoring.status import status
from pipeline.workflows import escrow, refresh
from pipeline.workflows.drill import DrillRequest, drill
from tests.support.inmemory import MemoryHolder, ShiftedClock, World, named

PASSPHRASE = Secret(b"correct horse battery staple")
POLICY = "max_drill_age_days = 1000\nmax_age_days = 2000\n"


class Estate(World):
    """A world around the stand-in server's key."""

    server: LabServer

    @property
    def fingerprint(self) -> str:
        return self.server.fingerprint if not hasattr(self, "pin") else self.pin

    pin: str


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Estate]:
    clock = ShiftedClock()
    world = Estate(
        tmp_path / "state", named("a", "b"), {name: MemoryHolder(name) for name in ("vault", "aws")}
    )
    world.clock = clock
    world.policy = POLICY
    world.server = LabServer(tmp_path / "server", clock)
    world.server.setup("acme.example", algorithm="ed25519", days=365)
    world.pin = world.server.fingerprint
    yield world
    world.server.reboot()


def escrowed(world: Estate) -> None:
    """Escrow what the server exports today."""
    done = escrow.escrow(world.context, world.server.export_keypair(PASSPHRASE), PASSPHRASE)
    assert (done.code, done.proven) == (Code.OK, True)


def day(world: Estate, live: Path) -> list[str]:
    """Let a day pass; the server's public key is fetched."""
    world.clock.shift += timedelta(days=1)
    told = simulated_time.tick(world.server)
    live.write_bytes(world.server.export_public())
    return told


@pytest.mark.usefixtures("real_provers")  # Sequoia has no clock that can be put forward
@pytest.mark.parametrize("renew_days", [31, 1])
def test_a_year_with_a_renewal_and_a_replacement(world: Estate, tmp_path: Path, renew_days: int) -> None:
    live = tmp_path / "live.asc"
    world.key = f'live = "{live}"'
    world.server.state.change(renew_days=renew_days)
    escrowed(world)
    ends = parse_stamp(str(world.server.about().expires))
    renewals = 0
    for number in range(1, 401):
        told = day(world, live)
        now: datetime = world.clock.now()
        found = status(world.context)
        assert found.renewal is not None
        if any("renewed" in what for what in told):
            renewals += 1
            assert (found.live.state, found.code) == ("renewed", Code.STALE), number
            assert any("orgkey refresh" in rule for rule in found.broken)
            world.clock.shift += timedelta(seconds=5)
            done = refresh.refresh(world.context, refresh.RefreshRequest(live.read_bytes()))
            assert done.stored is not None
            assert done.stored.code is Code.OK
            ends = parse_stamp(str(world.server.about().expires))
            found = status(world.context)
        assert (found.live.state, found.code, found.broken) == ("same", Code.OK, ()), number
        assert found.renewal is not None
        assert found.renewal.expires == ends
        due = now >= ends - timedelta(days=31)
        assert found.renewal.state == ("due" if due else "ahead"), number
    assert renewals == 1

    # Somebody sets the server up anew: another key under the same name.
    replaced = LabServer(tmp_path / "anew", world.clock)
    replaced.setup("acme.example", algorithm="ed25519", days=365)
    world.server.reboot()
    try:
        for _ in range(3):
            world.clock.shift += timedelta(days=1)
            live.write_bytes(replaced.export_public())
            found = status(world.context)
            assert (found.live.state, found.code) == ("replaced", Code.STALE)
            assert replaced.fingerprint in str(found.live.reason)
            assert any("not covered" in rule for rule in found.broken)
    finally:
        replaced.reboot()


@pytest.mark.parametrize("age", [200, 364, 366, 500, 730])
def test_two_years_without_a_live_key(world: Estate, tmp_path: Path, age: int) -> None:
    """The key was made and escrowed so many days ago; it has renewed itself, and nobody told the escrow."""
    past = ShiftedClock()
    past.shift = timedelta(days=-age)
    world.server.reboot()
    world.server = LabServer(tmp_path / "old", past)
    world.server.setup("acme.example", algorithm="ed25519", days=365)
    world.pin = world.server.fingerprint
    export = world.server.export_keypair(PASSPHRASE)
    # Signatures have the machine's own time, so what is old here is the export.
    wishes = escrow.EscrowOptions(frozenset({"expired"}), with_drill=False)
    escrow.escrow(world.context, export, PASSPHRASE, wishes)
    while past.shift < timedelta():
        past.shift = min(timedelta(), past.shift + timedelta(days=7))
        simulated_time.tick(world.server)
    assert (world.server.about().expires != _first_end(world.context)) == (age > 334)

    outcome = drill(world.context, DrillRequest())
    expired = age > 365
    assert outcome.code is Code.OK
    assert {result.passed for result in outcome.results} == {True}
    assert {result.expired_public for result in outcome.results} == {expired}
    found = status(world.context)
    assert (found.live.state, found.code) == ("unknown", Code.OK), "none is configured"
    assert found.renewal is not None
    assert found.renewal.state == ("overdue" if expired else "due" if age == 364 else "ahead")


def _first_end(context: KeyScope) -> str:
    latest = status(context).epoch
    assert latest is not None
    assert latest.record is not None
    return str(latest.record.manifest.key["expires"])
