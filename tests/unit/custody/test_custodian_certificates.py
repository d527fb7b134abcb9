"""Custodians' certificates, against somebody who writes into their folder but not into the configuration."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import UsageProblem
from pipeline.core.finding import Level
from pipeline.custody.custodians import certificate_check, certificate_store, certificates
from tests.support import certificate_writer as forge
from tests.support import openpgp_writer as writer
from tests.support import people
from tests.support.certificate_folder import BESIDE, Folder
from tests.support.certificate_writer import MADE, NOW, Person, committed, person
from tests.support.key_forms import FORMS

DAY = timedelta(days=1)
GOOD = forge.fingerprint(forge.body("x25519", "alice encrypts"))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "certificates")


def alice() -> Person:
    return person("alice")


# -- what is good ------------------------------------------------------------------------------


def test_a_good_certificate_says_who_and_which_key_and_until_when(folder: Folder) -> None:
    made = Person("alice").start(expires=900 * DAY)
    subkey = made.subkey("alice encrypts", expires=800 * DAY)
    folder.put("a.asc", made)
    got = folder.judge(made.fingerprint)
    assert (got.fingerprint, got.subkey, got.name) == (made.fingerprint, subkey, made.user_id)
    assert got.expires == MADE + 800 * DAY
    assert got.notes == ()
    assert [item.level for item in folder.findings(made.fingerprint)] == [Level.OK]


@pytest.mark.parametrize(
    "name", ["rsa2048", "rsa4096", "ed25519", "nistp256", "nistp521", "brainpoolp256", "dsa2048"]
)
def test_keys_of_current_strength_are_accepted(folder: Folder, name: str) -> None:
    data = committed(name)
    folder.put("a.gpg", data)
    fingerprint = writer.fingerprint(writer.split(data)[0][1])
    assert folder.judge(fingerprint).fingerprint == fingerprint


def test_the_configured_name_goes_before_the_user_id(folder: Folder) -> None:
    folder.put("a.asc", alice())
    assert folder.judge({"fingerprint": alice().fingerprint, "name": "Alice A."}).name == "Alice A."


@pytest.mark.parametrize("ending", [*certificate_store.ENDINGS, ".ASC"])
def test_armored_and_binary_files_are_read_whatever_their_ending(folder: Folder, ending: str) -> None:
    folder.put(f"a{ending}", alice().binary)
    assert folder.judge(alice().fingerprint).fingerprint == alice().fingerprint


def test_one_file_may_hold_a_whole_keyring(folder: Folder, tmp_path: Path) -> None:
    names = ["alice", "bob", "carol"]
    ring = tmp_path / "ring.txt"
    ring.write_bytes(b"".join(person(name).binary for name in names))
    members = [person(name).fingerprint for name in names]
    found = certificates.recipients("custodians", folder.holder(*members, certificates=ring), NOW)
    assert [one.fingerprint for one in found] == members
    folder.put("ring.gpg", ring.read_bytes())
    assert certificates.recipients("custodians", folder.holder(*members), NOW) == found


def test_the_newest_encryption_key_is_used_when_none_is_pinned(folder: Folder) -> None:
    made = alice()
    newer = made.subkey("newer", made=MADE + 30 * DAY)
    folder.put("a.asc", made)
    assert folder.judge(made.fingerprint).subkey == newer


# -- what is refused ---------------------------------------------------------------------------


def test_an_expired_certificate_is_refused_with_its_date_and_the_way_to_renew_it(folder: Folder) -> None:
    made = person("alice", expires=100 * DAY)
    folder.put("a.asc", made)
    assert folder.judge(made.fingerprint, MADE + 99 * DAY).expires == MADE + 100 * DAY
    error = folder.refusal(made.fingerprint, MADE + 100 * DAY)
    assert f"custodian {made.user_id} ({made.fingerprint}): the certificate expired at 2025-04-11T12" in str(
        error
    )
    assert f"--quick-set-expire {made.fingerprint}" in error.hint


def test_a_renewed_certificate_is_judged_by_its_newest_self_signature(folder: Folder) -> None:
    made = Person("alice").start(expires=100 * DAY)
    made.identity(expires=900 * DAY, at=MADE + 90 * DAY)
    made.subkey("alice encrypts")
    folder.put("a.asc", made)
    assert folder.judge(made.fingerprint, MADE + 200 * DAY).expires == MADE + 900 * DAY


def test_a_revoked_certificate_is_refused(folder: Folder) -> None:
    made = alice()
    made.packets.insert(1, made.revocation())
    folder.put("a.asc", made)
    error = folder.refusal(made.fingerprint)
    assert "has been revoked" in error.message
    assert "custody rotate" in error.hint


@pytest.mark.parametrize("hours", [-1, -24 * 400])
def test_a_certificate_is_not_valid_before_it_was_made(folder: Folder, hours: int) -> None:
    folder.put("a.asc", alice())
    error = folder.refusal(alice().fingerprint, MADE + timedelta(hours=hours))
    assert "not valid yet" in error.message
    assert "clock" in error.hint


def test_a_certificate_whose_self_signature_is_of_tomorrow_is_not_valid_yet(folder: Folder) -> None:
    made = person("alice", at=NOW + DAY)
    folder.put("a.asc", made)
    assert "not valid yet" in folder.refusal(made.fingerprint).message


def test_a_certificate_without_an_encryption_key_is_refused(folder: Folder) -> None:
    made = Person("alice").start()
    made.subkey("signs only", kind="ed25519", flags=0)
    folder.put("a.asc", made)
    error = folder.refusal(made.fingerprint)
    assert error.message.endswith("has no encryption key that can be used")
    assert f"--quick-add-key {made.fingerprint}" in error.hint


def test_only_expired_and_revoked_encryption_keys_are_refused_each_with_its_reason(folder: Folder) -> None:
    made = Person("alice").start()
    first = made.subkey("first", expires=DAY)
    second = made.subkey("second", revoked=True)
    third = made.subkey("third", made=NOW + DAY)
    folder.put("a.asc", made)
    message = folder.refusal(made.fingerprint).message
    assert f"{first[-16:]} expired at 2025-01-02T12" in message
    assert f"{second[-16:]} is revoked" in message
    assert f"{third[-16:]} is not valid yet" in message


def test_where_all_encryption_keys_expired_the_hint_is_to_extend_them(folder: Folder) -> None:
    made = Person("alice").start()
    made.subkey("first", expires=DAY)
    folder.put("a.asc", made)
    assert f"--quick-set-expire {made.fingerprint}" in folder.refusal(made.fingerprint).hint


@pytest.mark.parametrize(
    ("kind", "name"), [("rsa1024", "RSA-1024"), ("rsa2040", "RSA-2040"), ("elg1024", "ElGamal-1024")]
)
def test_a_short_encryption_key_is_refused(folder: Folder, kind: str, name: str) -> None:
    made = Person("alice").start()
    made.subkey("short", kind=kind)
    folder.put("a.asc", made)
    assert f"is {name}, shorter than 2048 bits" in folder.refusal(made.fingerprint).message


def test_a_short_key_does_not_keep_a_good_one_from_use(folder: Folder) -> None:
    made = alice()
    made.subkey("short", kind="rsa1024", made=MADE + DAY)
    folder.put("a.asc", made)
    assert folder.judge(made.fingerprint).subkey == GOOD


def test_a_missing_certificate_names_the_person_and_the_endings_of_files(folder: Folder) -> None:
    folder.put("alice.txt", alice().binary)
    error = folder.refusal({"fingerprint": alice().fingerprint, "name": "Alice"})
    assert f"custodian Alice ({alice().fingerprint}): no certificate" in error.message
    assert ".asc" in error.hint


def test_a_split_says_which_file_could_not_be_read(folder: Folder) -> None:
    folder.put("alice.asc", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\ncut")
    with pytest.raises(UsageProblem, match=r"no certificate .*alice\.asc: .*cut off"):
        certificates.recipients("custodians", folder.holder(alice().fingerprint), NOW)


# -- SHA-1 -------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["primary", "subkey"])
def test_a_sha1_self_signature_is_accepted_and_warned_about(folder: Folder, where: str) -> None:
    made = Person("alice").start(digest=forge.SHA1 if where == "primary" else forge.SHA256)
    subkey = made.subkey("alice encrypts", digest=forge.SHA1 if where == "subkey" else forge.SHA256)
    folder.put("a.asc", made)
    (note,) = folder.judge(made.fingerprint).notes
    assert "SHA-1" in note
    assert (made.fingerprint if where == "primary" else subkey)[-16:] in note
    (finding,) = folder.findings(made.fingerprint)
    assert finding.level is Level.WARN
    assert note in finding.message


def test_sha1_on_a_subkey_that_is_not_used_is_nobodys_business(folder: Folder) -> None:
    made = alice()
    made.subkey("signs", kind="ed25519", flags=0, digest=forge.SHA1)
    folder.put("a.asc", made)
    assert folder.judge(made.fingerprint).notes == ()


# -- the pinned subkey -------------------------------------------------------------------------


def test_a_pinned_subkey_is_used_although_a_newer_one_exists_and_doctor_says_so(folder: Folder) -> None:
    made = Person("alice").start()
    older = made.subkey("older")
    newer = made.subkey("newer", made=MADE + 30 * DAY)
    folder.put("a.asc", made)
    member = {"fingerprint": made.fingerprint, "subkey": older}
    assert folder.judge(member).subkey == older
    (finding,) = folder.findings(member)
    assert finding.level is Level.WARN
    assert f"a newer encryption key, {newer}" in finding.message


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, "it is not in the certificate"),
        ({"revoked": True}, "is revoked"),
        ({"expires": DAY}, "expired at"),
        ({"made": NOW + DAY}, "is not valid yet"),
        ({"flags": forge.SIGN}, "is not meant for encryption"),
        ({"by": "mallory"}, "has no genuine binding signature"),
        ({"kind": "rsa1024"}, "shorter than 2048 bits"),
    ],
)
def test_a_pinned_subkey_that_cannot_be_used_is_never_replaced_by_another(
    folder: Folder, change: dict[str, object], reason: str
) -> None:
    made = alice()
    kind, when = str(change.get("kind", "x25519")), change.get("made", MADE)
    assert isinstance(when, datetime)
    pinned = forge.fingerprint(forge.body(kind, "pinned", when))
    if change:
        assert made.subkey("pinned", **change) == pinned  # type: ignore[arg-type]
    folder.put("a.asc", made)
    error = folder.refusal({"fingerprint": made.fingerprint, "subkey": pinned})
    assert f"the pinned encryption key {pinned} cannot be used: " in error.message
    assert reason in error.message


# -- several tokens of one person ----------------------------------------------------------------


def test_every_token_of_a_custodian_is_judged_as_the_first_one_is(folder: Folder) -> None:
    first, second = alice(), Person("alice again").start()
    older = second.subkey("older")
    second.subkey("newer", made=MADE + DAY)
    folder.put("ring.gpg", first.binary + second.binary)
    member = {
        "fingerprint": first.fingerprint,
        "also": [{"fingerprint": second.fingerprint, "subkey": older}],
    }
    got = folder.judge(member)
    assert [token.subkey for token in got.tokens] == [GOOD, older]
    assert [token.name for token in got.tokens] == [first.user_id] * 2
    assert fingerprints(got.also[0].certificate) == [second.fingerprint, older]
    (finding,) = folder.findings(member)
    assert "it has a newer encryption key" in finding.message
    assert second.fingerprint in finding.message


def test_two_subkeys_of_one_certificate_are_two_tokens(folder: Folder) -> None:
    made = Person("alice").start()
    older, newer = made.subkey("older"), made.subkey("newer", made=MADE + DAY)
    folder.put("a.asc", made)
    also = [{"fingerprint": made.fingerprint, "subkey": newer}]
    member = {"fingerprint": made.fingerprint, "subkey": older, "also": also}
    assert [token.subkey for token in folder.judge(member).tokens] == [older, newer]
    assert [finding.level for finding in folder.findings(member)] == [Level.OK]


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        ({"expires": DAY}, "the certificate expired at"),
        (None, "no certificate with the fingerprint"),
    ],
)
def test_one_token_that_cannot_be_used_refuses_the_split_and_is_named(
    folder: Folder, start: dict[str, Any] | None, reason: str
) -> None:
    second = person("alice again", **(start or {}))
    folder.put("a.asc", alice())
    if start is not None:
        folder.put("b.asc", second)
    member = {"fingerprint": alice().fingerprint, "also": [second.fingerprint]}
    error = folder.refusal(member)
    assert reason in error.message
    assert f"custodian {alice().user_id} ({alice().fingerprint}), certificate {second.fingerprint}" in (
        error.message
    )
    assert Level.FAIL in [finding.level for finding in folder.findings(member)]


def test_a_token_that_shares_a_key_is_refused_whoever_has_the_other_one(folder: Folder) -> None:
    one, other = Person("alice").start(), Person("bob").start()
    one.subkey("shared")
    other.subkey("shared", made=MADE + DAY)
    folder.put("ring.gpg", one.binary + other.binary + person("carol").binary)
    twice = {"fingerprint": one.fingerprint, "also": [other.fingerprint]}
    with pytest.raises(UsageProblem, match=r"two tokens of custodian Alice .* they are one token"):
        certificates.recipients("custodians", folder.holder(twice, person("carol").fingerprint), NOW)
    lent = {"fingerprint": person("carol").fingerprint, "also": [one.fingerprint]}
    with pytest.raises(UsageProblem, match="one person could open both shares"):
        certificates.recipients("custodians", folder.holder(other.fingerprint, lent), NOW)


def test_the_secret_key_of_a_further_token_is_found_too(folder: Folder) -> None:
    folder.put("bob.asc", people.certificate("bob"))
    folder.put("alice.asc", people.secret_key("alice"))
    member = {
        "fingerprint": people.FINGERPRINTS["bob"],
        "name": "Bob",
        "also": [people.FINGERPRINTS["alice"]],
    }
    found = [finding.message for finding in folder.findings(member)]
    assert any("holds the SECRET key of custodian Bob" in message for message in found)


# -- somebody writes into the folder ----------------------------------------------------------------


@pytest.mark.parametrize("bound", [True, False])
def test_a_subkey_that_somebody_appended_is_never_used_and_doctor_names_it(
    folder: Folder, bound: bool
) -> None:
    made = alice()
    theirs = made.subkey("mallory encrypts", made=MADE + 30 * DAY, by="mallory", bound=bound)
    folder.put("a.asc", made)
    got = folder.judge(made.fingerprint)
    assert got.subkey == GOOD
    assert theirs not in fingerprints(got.certificate)
    (finding,) = folder.findings(made.fingerprint)
    assert finding.level is Level.WARN
    assert theirs[-16:] in finding.message
    assert "never used" in finding.message


def fingerprints(certificate: bytes) -> list[str]:
    keys = (writer.PUBLIC_KEY, writer.PUBLIC_SUBKEY)
    return [writer.fingerprint(body) for tag, body in writer.split(certificate) if tag in keys]


def test_a_forged_subkey_alone_gives_no_recipient(folder: Folder) -> None:
    made = Person("alice").start()
    made.subkey("mallory encrypts", by="mallory")
    folder.put("a.asc", made)
    assert "no genuine binding signature" in folder.refusal(made.fingerprint).message


def test_a_binding_signature_moved_to_another_subkey_does_not_count(folder: Folder) -> None:
    made = alice()
    binding = made.packets[-1]
    made.packets += [(writer.PUBLIC_SUBKEY, forge.body("x25519", "mallory", MADE + DAY)), binding]
    folder.put("a.asc", made)
    assert folder.judge(made.fingerprint).subkey == GOOD


def test_an_added_user_id_gives_nobody_another_name(folder: Folder) -> None:
    made = Person("alice")
    made.start()
    made.subkey("alice encrypts")
    forged = Person("alice")
    forged.identity("Bob <bob@example.com>", by="mallory")
    made.packets[1:1] = forged.packets
    folder.put("a.asc", made)
    got = folder.judge(made.fingerprint)
    assert got.name == "Alice <alice@example.com>"
    assert b"Bob" not in got.certificate


def test_a_forged_extension_of_an_expired_certificate_does_not_count(folder: Folder) -> None:
    made = person("alice", expires=100 * DAY)
    forged = Person("alice").identity(expires=9000 * DAY, at=MADE + 90 * DAY, by="mallory")
    made.packets[3:3] = forged.packets
    folder.put("a.asc", made)
    assert "expired" in folder.refusal(made.fingerprint).message


def test_a_forged_revocation_does_not_count(folder: Folder) -> None:
    made = alice()
    made.packets.insert(1, made.revocation(by="mallory"))
    folder.put("a.asc", made)
    assert folder.judge(made.fingerprint).fingerprint == made.fingerprint


def test_a_strangers_certificate_with_the_same_user_id_is_never_used_and_named(folder: Folder) -> None:
    made, stranger = alice(), Person("mallory")
    stranger.packets.append((writer.PUBLIC_KEY, stranger.primary))
    stranger.identity(made.user_id).subkey("mallory encrypts", made=MADE + DAY)
    folder.put("a.asc", made)
    path = folder.put("0.asc", stranger)
    assert folder.judge(made.fingerprint).subkey == GOOD
    (finding,) = folder.findings(made.fingerprint)
    assert finding.level is Level.WARN
    assert str(path) in finding.message
    assert stranger.fingerprint in finding.message
    assert f"it has the user id of custodian {made.user_id} ({made.fingerprint})" in finding.message


def test_a_strangers_certificate_alone_does_not_stand_in_for_a_custodian(folder: Folder) -> None:
    stranger = Person("mallory")
    stranger.packets.append((writer.PUBLIC_KEY, stranger.primary))
    stranger.identity(alice().user_id).subkey("mallory encrypts")
    folder.put("a.asc", stranger)
    assert "no certificate" in folder.refusal(alice().fingerprint).message


def test_a_folder_full_of_strangers_is_told_in_few_lines(folder: Folder) -> None:
    folder.put("a.asc", alice())
    folder.put("many.gpg", b"".join(person(f"stranger {number}").binary for number in range(30)))
    found = folder.findings(alice().fingerprint)
    assert len(found) == certificate_check.MOST_STRANGERS + 1
    assert found[-1].message.startswith("10 more")


def test_a_flood_of_signatures_cannot_hide_a_revocation(folder: Folder) -> None:
    made = alice()
    noise = [made.sign(forge.UID, b"", at=MADE + timedelta(seconds=number), by="m") for number in range(1001)]
    made.packets.insert(1, made.revocation())
    made.packets[3:3] = noise
    folder.put("a.asc", made)
    assert "has more than 1000 signatures in its own name" in folder.refusal(made.fingerprint).message


def test_two_custodians_with_one_encryption_key_are_refused(folder: Folder) -> None:
    one, other = Person("alice").start(), Person("bob").start()
    one.subkey("shared")
    other.subkey("shared", made=MADE + DAY)
    folder.put("ring.gpg", one.binary + other.binary)
    members = (one.fingerprint, other.fingerprint)
    with pytest.raises(UsageProblem, match="have the same encryption key"):
        certificates.recipients("custodians", folder.holder(*members), NOW)
    (finding,) = folder.findings(*members)
    assert finding.level is Level.FAIL
    assert one.user_id in finding.message
    assert other.user_id in finding.message


def test_one_person_with_two_certificates_is_pointed_out(folder: Folder) -> None:
    one, other = alice(), Person("alice again")
    other.packets.append((writer.PUBLIC_KEY, other.primary))
    other.identity(one.user_id).subkey("another key")
    folder.put("ring.gpg", one.binary + other.binary)
    (finding,) = folder.findings(one.fingerprint, other.fingerprint)
    assert finding.level is Level.WARN
    assert one.user_id in finding.message
    named = {"fingerprint": other.fingerprint, "name": "Alice of the other site"}
    assert [item.level for item in folder.findings(one.fingerprint, named)] == [Level.OK]


def test_what_anybody_can_change_in_a_genuine_signature_changes_nothing(folder: Folder) -> None:
    """Unhashed subpackets are not signed: key flags, an expiry or another time there do not count."""
    made = alice()
    tag, binding = made.packets[-1]
    start = 6 + int.from_bytes(binding[4:6], "big")
    area = b"\x02\x1b\x00" + b"\x05\x09" + (1).to_bytes(4, "big") + b"\x05\x02" + bytes(4)
    made.packets[-1] = (tag, binding[:start] + len(area).to_bytes(2, "big") + area + binding[start + 12 :])
    folder.put("a.asc", made)
    got = folder.judge(made.fingerprint)
    assert (got.subkey, got.expires, got.notes) == (GOOD, None, ())


# -- one certificate in several files ------------------------------------------------------------


@pytest.mark.parametrize("order", [("0", "1"), ("1", "0")])
def test_a_revocation_in_one_of_two_files_counts(folder: Folder, order: tuple[str, str]) -> None:
    good, bad = alice(), alice()
    bad.packets.insert(1, bad.revocation())
    folder.put(f"{order[0]}.asc", good)
    folder.put(f"{order[1]}.asc", bad)
    assert "revoked" in folder.refusal(good.fingerprint).message


@pytest.mark.parametrize("armored", [True, False])
def test_a_revocation_that_comes_alone_counts(folder: Folder, armored: bool) -> None:
    data = writer.join([alice().revocation()])
    folder.put("z.asc", writer.armor(data, "PUBLIC KEY BLOCK") if armored else data)
    folder.put("a.asc", alice())
    assert "revoked" in folder.refusal(alice().fingerprint).message


def test_a_lone_revocation_that_is_forged_does_not_count_and_one_of_nobody_is_told(folder: Folder) -> None:
    folder.put("a.asc", alice())
    folder.put("forged.gpg", writer.join([alice().revocation(by="mallory")]))
    assert folder.judge(alice().fingerprint).fingerprint == alice().fingerprint
    folder.put("nobody.gpg", writer.join([Person("nobody").revocation()]))
    (finding,) = folder.findings(alice().fingerprint)
    assert "a revocation of a key that is nobody's" in finding.message


def test_a_renewal_in_a_second_file_counts(folder: Folder) -> None:
    folder.put("old.asc", person("alice", expires=100 * DAY))
    new = Person("alice").start(expires=900 * DAY, at=MADE + 90 * DAY)
    folder.put("new.asc", new)
    assert folder.judge(new.fingerprint, MADE + 200 * DAY).expires == MADE + 900 * DAY


# -- files -------------------------------------------------------------------------------------


def test_a_secret_key_in_the_folder_fails_and_only_its_public_part_is_used(folder: Folder) -> None:
    path = folder.put("alice.key", people.secret_key("alice"))
    fingerprint = people.FINGERPRINTS["alice"]
    got = folder.judge(fingerprint)
    assert {tag for tag, _ in writer.split(got.certificate)}.isdisjoint({5, 7})
    (finding,) = folder.findings(fingerprint)
    assert (finding.level, finding.code) == (Level.FAIL, UsageProblem.code)
    assert f"{path} holds the SECRET key of custodian Alice Custodian" in finding.message
    assert fingerprint in finding.message


def test_the_secret_key_of_a_stranger_fails_too(folder: Folder) -> None:
    folder.put("a.asc", alice())
    folder.put("x.asc", people.secret_key("frank"))
    levels = [item.level for item in folder.findings(alice().fingerprint)]
    assert levels == [Level.FAIL, Level.WARN]


def test_a_link_to_a_file_is_read(folder: Folder, tmp_path: Path) -> None:
    (folder.place / "alice.asc").symlink_to(alice().write(tmp_path / "elsewhere"))
    assert folder.judge(alice().fingerprint).fingerprint == alice().fingerprint


def _dangling(path: Path) -> None:
    path.symlink_to(path.with_name("nothing"))


def _loop(path: Path) -> None:
    path.symlink_to(path)


def _endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _unreadable(path: Path) -> None:
    if os.geteuid() == 0:  # root reads everything; a name without a file behind it is as unreadable
        path.symlink_to("/proc/self/mem/none")
    else:
        path.touch(mode=0o000)


def _huge(path: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(certificate_store.MAX_BYTES + 1)


MISFITS: dict[str, tuple[Callable[[Path], object], str]] = {
    "dangling": (_dangling, "cannot be read"),
    "loop": (_loop, "cannot be read"),
    "endless": (_endless, "not a regular file"),
    "pipe": (os.mkfifo, "not a regular file"),
    "directory": (Path.mkdir, "not a regular file"),
    "unreadable": (_unreadable, "cannot be read"),
    "huge": (_huge, "more than 4 MiB"),
    "empty": (Path.touch, "no OpenPGP key"),
    "text": (lambda path: path.write_text("shopping list"), "no OpenPGP key"),
    "bytes": (lambda path: path.write_bytes(b"\xff" * 99), "cut off"),
    "cut": (lambda path: path.write_bytes(alice().binary[:-9]), "cut off"),
    "half": (lambda path: path.write_text("-----BEGIN PGP PUBLIC KEY BLOCK-----\n"), "cut off"),
    "version 6": (lambda path: path.write_bytes(writer.packet(6, b"\x06" + bytes(60))), "version 6"),
}


@pytest.mark.parametrize("kind", MISFITS)
def test_a_file_that_does_not_fit_is_named_and_the_others_are_used(folder: Folder, kind: str) -> None:
    make, reason = MISFITS[kind]
    path = folder.place / "0-bad.asc"
    make(path)
    folder.put("a.asc", alice())
    found = folder.findings(alice().fingerprint)
    assert found
    assert all(item.level is Level.WARN and str(path) in item.message for item in found)
    assert any(reason in item.message for item in found)
    assert folder.judge(alice().fingerprint).fingerprint == alice().fingerprint


def test_an_unsupported_subkey_is_told_and_does_not_stop_the_others(folder: Folder) -> None:
    made = alice()
    made.packets += [(writer.PUBLIC_SUBKEY, b"\x04" + bytes(4) + b"\x63" + bytes(40))]
    folder.put("a.asc", made)
    assert folder.judge(made.fingerprint).subkey == GOOD
    (finding,) = folder.findings(made.fingerprint)
    assert finding.level is Level.WARN
    assert "unknown algorithm 99" in finding.message


def test_files_with_other_endings_are_not_looked_at(folder: Folder) -> None:
    folder.put("a.asc", alice())
    folder.put("README", "who is who")
    folder.put("mallory.txt", person("mallory"))
    assert [item.level for item in folder.findings(alice().fingerprint)] == [Level.OK]


def test_a_missing_folder_is_a_failure_that_names_it(folder: Folder) -> None:
    folder.place.rmdir()
    with pytest.raises(UsageProblem, match=re.escape(str(folder.place))):
        certificate_store.read_store(folder.holder(alice().fingerprint))
    (finding,) = certificate_check.findings("custodians", folder.holder(alice().fingerprint), NOW, DAY)
    assert (finding.level, finding.code) == (Level.FAIL, UsageProblem.code)


def test_far_too_many_files_or_bytes_are_refused(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificate_store, "MAX_FILES", 3)
    for number in range(4):
        folder.put(f"{number}.asc", alice())
    with pytest.raises(UsageProblem, match="more than 3 files"):
        certificate_store.read_store(folder.holder(alice().fingerprint))
    monkeypatch.setattr(certificate_store, "MAX_FILES", 4)
    monkeypatch.setattr(certificate_store, "MAX_TOTAL", 100)
    with pytest.raises(UsageProblem, match="MiB"):
        certificate_store.read_store(folder.holder(alice().fingerprint))


# -- doctor ------------------------------------------------------------------------------------


def test_doctor_warns_ahead_of_an_expiry_of_key_or_subkey(folder: Folder) -> None:
    made = Person("alice").start(expires=900 * DAY)
    made.subkey("alice encrypts", expires=600 * DAY)
    folder.put("a.asc", made)
    ends = MADE + 600 * DAY
    assert [item.level for item in folder.findings(made.fingerprint, now=ends - 61 * DAY)] == [Level.OK]
    (finding,) = folder.findings(made.fingerprint, now=ends - 59 * DAY)
    assert finding.level is Level.WARN
    assert f"{made.user_id} ({made.fingerprint}) expires at 2026-08-24T12" in finding.message
    (finding,) = folder.findings(made.fingerprint, now=ends)
    assert finding.level is Level.FAIL


def test_doctor_names_everybody_who_fails(folder: Folder) -> None:
    folder.put("a.asc", person("alice", expires=DAY))
    bob = Person("bob").start()
    folder.put("b.asc", bob)
    found = folder.findings(alice().fingerprint, bob.fingerprint, BESIDE)
    assert [item.level for item in found] == [Level.FAIL] * 3
    assert all(item.code is UsageProblem.code and item.hint for item in found)
    assert [
        words in item.message
        for item, words in zip(found, (alice().user_id, bob.user_id, BESIDE), strict=True)
    ] == [True] * 3


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return Folder(tmp_path_factory.mktemp("scratch") / "certificates")


@given(st.data())
def test_whatever_bytes_change_nothing_else_is_ever_encrypted_to(
    scratch: Folder, data: st.DataObject
) -> None:
    """Mallory has the file, not Alice's key: no change of it gives another key, at worst none at all."""
    made = alice()
    made.subkey("mallory encrypts", by="mallory", made=MADE + DAY)
    raw = bytearray(made.binary)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        how = data.draw(st.sampled_from(["change", "cut", "double"]))
        if how == "change":
            raw[at] ^= data.draw(st.integers(1, 255))
        elif how == "cut":
            del raw[at : at + data.draw(st.integers(1, 200))]
            raw = raw or bytearray(b"\0")
        else:
            raw[at:at] = raw[at : at + data.draw(st.integers(1, 200))]
    scratch.put("a.gpg", bytes(raw))
    try:
        got = scratch.judge(made.fingerprint)
    except UsageProblem:
        return
    assert got.subkey == GOOD
    assert fingerprints(got.certificate) == [made.fingerprint, got.subkey]


def test_ciphers_that_are_overridden_are_named(folder: Folder) -> None:
    form = FORMS["preferences-of-old"]
    data = writer.join(writer.public_of(form.packets()))
    folder.put("old.gpg", data)
    fingerprint = writer.fingerprint(writer.split(data)[0][1])
    assert any("encrypted with AES-256 nevertheless" in note for note in folder.judge(fingerprint).notes)
