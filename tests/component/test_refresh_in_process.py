"""Refresh of records that earlier releases made: secret numbers in canonical form, same shares."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.core.errors import Code, Unreachable
from pipeline.core.secret import Secret
from pipeline.custody.shares import passphrase
from pipeline.openpgp import proofs
from pipeline.openpgp.key import rewrap
from pipeline.openpgp.key.rewrap import UnlockedKey
from pipeline.openpgp.proofs.gnupg_proof import GnuPGProver
from pipeline.openpgp.proofs.pgpy_proof import PgpyProver
from pipeline.openpgp.proofs.sequoia_proof import SequoiaProver
from pipeline.record import create
from pipeline.record.verify import Record
from pipeline.unseal.ceremony import UnsealRequest
from pipeline.unseal.unseal import unseal
from pipeline.workflows import escrow, refresh
from pipeline.workflows.publish import PublishedEpoch
from tests.support.inmemory import EXPORT_PASSPHRASE, World, export, unlocked
from tests.unit.openpgp.test_keys_canonical import as_release_0_1


class Curve(World):
    """A world around an elliptic key."""

    @property
    def fingerprint(self) -> str:
        return unlocked("ed25519").fingerprint


def release_0_1(key: UnlockedKey, written: Secret, former: Secret | None) -> bytes:
    """The re-wrap that carried the numbers over as GnuPG 2.4 exports them."""
    return as_release_0_1(key, written)


@pytest.fixture
def world(tmp_path: Path) -> Curve:
    return Curve(tmp_path)


def escrowed(world: Curve) -> PublishedEpoch:
    return escrow.escrow(
        world.context, export("ed25519"), EXPORT_PASSPHRASE, escrow.EscrowOptions(with_drill=False)
    )


def opened(world: Curve, record: Record) -> UnlockedKey:
    raw = unseal(record, world.context.backends("driller"), UnsealRequest()).raw
    return rewrap.unlock(record.keypair, passphrase.written(raw))


def test_an_old_record_is_proven_then_written_anew(world: Curve, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as old_release:
        old_release.setattr(create, "_rewrap", release_0_1)
        assert escrowed(world).code is Code.OK
    before = world.context.archive("writer").catalog().record()
    assert not opened(world, before).canonical
    # It restores and is proven; the strict engine takes no part, and a note says what to do.
    proven = proofs.prove(
        before.keypair,
        passphrase.written(unseal(before, world.context.backends("driller"), UnsealRequest()).raw),
        before.public,
        before.fingerprint,
        deadline=world.context.deadline,
        now=world.clock.now(),
        provers=[GnuPGProver(), PgpyProver(), SequoiaProver()],
    )
    assert proven.code is Code.OK, proven.problems
    assert proven.results["sign"].by == ("gnupg", "pgpy")
    assert any("orgkey refresh" in note for note in proven.notes), proven.notes
    # The same export is escrowed already.
    assert escrowed(world).already

    world.clock.shift += timedelta(seconds=5)
    request = refresh.RefreshRequest(unlocked("ed25519").public)
    assert "canonical" in refresh.rehearse(world.context, request)[1]
    done = refresh.refresh(world.context, request)
    assert done.stored is not None
    assert done.stored.code is Code.OK
    after = world.context.archive("writer").catalog().record()
    assert after.manifest.record_id == before.manifest.record_id
    assert opened(world, after).canonical
    changed = {name for name in after.members if after.members[name] != before.members[name]}
    assert changed <= {"keypair.asc", "manifest.json", "manifest.json.asc", "RECOVERY.txt"}
    world.clock.shift += timedelta(seconds=5)
    assert refresh.refresh(world.context, request).stored is None


def test_holders_that_do_not_open_are_no_failure_of_a_refresh_that_is_not_needed(world: Curve) -> None:
    assert escrowed(world).code is Code.OK
    world.holders["vault"].failures["open"] = Unreachable("vault does not answer", hint="try again")
    done = refresh.refresh(world.context, refresh.RefreshRequest(unlocked("ed25519").public))
    assert done.stored is None
    assert any("not known: " in line for line in world.lines), world.lines
