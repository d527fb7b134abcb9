from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.core.clock import Deadline
from pipeline.core.errors import Code, IntegrityProblem, UsageProblem
from pipeline.openpgp.format import armor
from pipeline.record import tar
from pipeline.record.verify import Record, verify_record
from tests.support.inmemory import ATTACKER, ORG, World, attackers, forged, repacked, signed, unlocked


def accept(
    data: bytes, fingerprint: str | None = None, epoch: str | None = None, ahead: timedelta = timedelta()
) -> Record:
    return verify_record(
        data,
        fingerprint or unlocked(ORG).fingerprint,
        deadline=Deadline(60),
        now=datetime.now(UTC) + ahead,
        epoch=epoch,
    )


def refused(data: bytes, fingerprint: str | None = None, epoch: str | None = None) -> IntegrityProblem:
    with pytest.raises(IntegrityProblem) as caught:
        accept(data, fingerprint, epoch=epoch)
    assert caught.value.code is Code.INTEGRITY
    assert caught.value.hint
    return caught.value


def test_a_good_record_is_accepted(genuine: Record) -> None:
    found = accept(genuine.data, epoch=genuine.epoch)
    assert found == genuine
    assert found.fingerprint == unlocked(ORG).fingerprint
    assert found.public == unlocked(ORG).public
    assert found.keypair.startswith(b"\x95") or found.keypair[0] & 0x80


def test_it_stays_authentic_when_the_public_part_expires(genuine: Record) -> None:
    assert accept(genuine.data, ahead=timedelta(days=365 * 60)) == genuine


def test_a_record_is_of_the_one_key_whose_slot_is_read(genuine: Record) -> None:
    other = unlocked(ATTACKER).fingerprint
    problem = refused(genuine.data, other).message
    assert genuine.fingerprint in problem
    assert f"in the place of {other}" in problem


def test_an_attackers_own_record_is_refused_for_its_key(genuine: Record) -> None:
    false = attackers(genuine)
    key = unlocked(ATTACKER).fingerprint
    assert accept(false, key).fingerprint == key, "it is well-formed: only the pin tells it apart"
    assert key in refused(false).message


def test_another_signature_under_the_right_public_part_is_refused(genuine: Record) -> None:
    def later(document: dict[str, Any]) -> None:
        document["created"] = "2099-01-01T00:00:00Z"

    refused(forged(genuine, by=ATTACKER, describe=later))
    assert accept(forged(genuine, by=ORG, describe=later)).manifest.created.year == 2099


def test_the_right_signature_under_another_public_part_is_refused(genuine: Record) -> None:
    public = armor.armor(unlocked(ATTACKER).public, "PUBLIC KEY BLOCK")
    data = repacked(genuine.members, {tar.PUBLIC: public})
    refused(data)
    refused(data, unlocked(ATTACKER).fingerprint)
    refused(forged(genuine, by=ORG, members={tar.PUBLIC: public}))


def test_two_public_keys_in_one_member_are_refused(genuine: Record) -> None:
    both = genuine.members[tar.PUBLIC] + armor.armor(unlocked(ATTACKER).public, "PUBLIC KEY BLOCK")
    refused(forged(genuine, by=ORG, members={tar.PUBLIC: both}))
    refused(forged(genuine, by=ATTACKER, members={tar.PUBLIC: both}))


def test_a_manifest_that_speaks_of_another_key_is_refused(genuine: Record) -> None:
    def other(document: dict[str, Any]) -> None:
        document["fingerprint"] = unlocked(ATTACKER).fingerprint

    assert "another key" in refused(forged(genuine, by=ORG, describe=other)).message


SWAPPED: dict[str, Callable[[Record], dict[str, bytes | None]]] = {
    "changed": lambda made: {tar.KEYPAIR: made.members[tar.KEYPAIR] + b"\n"},
    "changed share": lambda made: {"custody/unattended/aws.mem": b"other"},
    "emptied": lambda made: {tar.ORIGINAL: b""},
    "added": lambda made: {"extra.txt": b"hello"},
    "added share": lambda made: {"custody/other/aws.mem": b"hello"},
    "missing keypair": lambda made: {tar.KEYPAIR: None},
    "missing original": lambda made: {tar.ORIGINAL: None},
    "missing recovery": lambda made: {tar.RECOVERY: None},
    "missing share": lambda made: {"custody/unattended/aws.mem": None},
    "missing public": lambda made: {tar.PUBLIC: None},
    "missing manifest": lambda made: {tar.MANIFEST: None},
    "missing signature": lambda made: {tar.MANIFEST_SIGNATURE: None},
}


@pytest.mark.parametrize("how", SWAPPED)
def test_members_that_do_not_fit_the_manifest_are_refused(genuine: Record, how: str) -> None:
    refused(repacked(genuine.members, SWAPPED[how](genuine)))


@pytest.mark.parametrize("how", [how for how in SWAPPED if "signature" not in how and "manifest" not in how])
def test_they_are_refused_with_a_manifest_that_fits_but_an_attacker_signed(genuine: Record, how: str) -> None:
    refused(forged(genuine, by=ATTACKER, members=SWAPPED[how](genuine)))


@pytest.mark.parametrize("name", [tar.KEYPAIR, tar.ORIGINAL, tar.RECOVERY])
def test_no_record_lacks_what_every_record_has_whoever_signed(genuine: Record, name: str) -> None:
    assert "lacks" in refused(forged(genuine, by=ORG, members={name: None})).message


@pytest.mark.parametrize("position", ["first", "middle", "last"])
def test_a_manifest_with_one_changed_byte_is_refused(genuine: Record, position: str) -> None:
    body = bytearray(genuine.members[tar.MANIFEST])
    body[{"first": 0, "middle": len(body) // 2, "last": len(body) - 1}[position]] ^= 1
    refused(repacked(genuine.members, {tar.MANIFEST: bytes(body)}))


def test_the_same_manifest_in_other_words_is_refused(genuine: Record) -> None:
    spaced = json.dumps(json.loads(genuine.members[tar.MANIFEST]), indent=1).encode()
    refused(repacked(genuine.members, {tar.MANIFEST: spaced}))


def test_a_record_in_another_epochs_place_is_refused(genuine: Record) -> None:
    problem = refused(genuine.data, epoch="20200101T000000Z-00000000")
    assert genuine.epoch in problem.message
    assert "20200101T000000Z-00000000" in problem.message


def test_two_epochs_signatures_are_not_exchangeable(world: World, genuine: Record) -> None:
    other = world.mint(later=5)
    swapped = {tar.MANIFEST_SIGNATURE: other.members[tar.MANIFEST_SIGNATURE]}
    refused(repacked(genuine.members, swapped))
    pair = {name: other.members[name] for name in (tar.MANIFEST, tar.MANIFEST_SIGNATURE)}
    refused(repacked(genuine.members, pair))


SIGNATURES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda made: b"",
    "no signature": lambda made: b"hello",
    "twice": lambda made: made + made,
    "with text before": lambda made: b"hello\n" + made,
    "over something else": lambda made: signed(ORG, b"something else"),
    "by another": lambda made: signed(ATTACKER, b"something else"),
    "a key": lambda made: armor.armor(unlocked(ORG).public, "PUBLIC KEY BLOCK"),
}


@pytest.mark.parametrize("how", SIGNATURES)
def test_any_other_signature_is_refused(genuine: Record, how: str) -> None:
    made = SIGNATURES[how](genuine.members[tar.MANIFEST_SIGNATURE])
    refused(repacked(genuine.members, {tar.MANIFEST_SIGNATURE: made}))


def newer(document: dict[str, Any]) -> None:
    document["schema"] = "orgkey.record/2"
    document["something"] = "new"


def test_a_newer_schema_that_is_authentic_asks_for_an_upgrade(genuine: Record) -> None:
    with pytest.raises(UsageProblem, match="newer schema") as caught:
        accept(forged(genuine, by=ORG, describe=newer))
    assert caught.value.code is Code.USAGE
    assert "upgrade" in caught.value.hint


def test_a_newer_schema_that_is_not_authentic_is_just_false(genuine: Record) -> None:
    refused(forged(genuine, by=ATTACKER, describe=newer))
    body = genuine.members[tar.MANIFEST].replace(b"orgkey.record/1", b"orgkey.record/2")
    refused(repacked(genuine.members, {tar.MANIFEST: body}))


def test_a_signed_manifest_that_is_none_is_refused(genuine: Record) -> None:
    body = b"{}"
    refused(repacked(genuine.members, {tar.MANIFEST: body, tar.MANIFEST_SIGNATURE: signed(ORG, body)}))


def test_nothing_of_a_tar_with_a_link_is_used(genuine: Record) -> None:
    buffer = BytesIO(genuine.data)
    with tarfile.open(fileobj=buffer, mode="a", format=tarfile.USTAR_FORMAT) as archive:
        link = tarfile.TarInfo("zz")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    refused(buffer.getvalue())


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.data())
def test_no_changed_byte_anywhere_is_accepted(genuine: Record, data: st.DataObject) -> None:
    changed = bytearray(genuine.data)
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    refused(bytes(changed))


@given(st.binary(max_size=600))
def test_noise_is_refused(data: bytes) -> None:
    refused(data)
