"""The re-wrap changes the protected parts only, and says so with proof."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest

from pipeline.core.errors import Incomplete, NotAKey, NotPinned, UsageProblem, WrongPassphrase
from pipeline.core.secret import Secret
from pipeline.openpgp.format import armor
from pipeline.openpgp.format.protection import ESCROW_COUNT_OCTET
from pipeline.openpgp.key.rewrap import load, prove_rewrap, unlock
from tests.support import openpgp_writer as writer
from tests.support.rewrapping import NAMES, NEW, Export, loaded

Packets = Callable[[str], list[writer.Packet]]


@pytest.mark.parametrize("name", NAMES)
def test_every_algorithm(name: str, export: Export, packets: Packets, now: datetime) -> None:
    key = loaded(export, name, now)
    wrapped = key.protect(NEW, s2k_count_octet=ESCROW_COUNT_OCTET)
    prove_rewrap(key, wrapped, NEW, Secret(writer.PASSPHRASE))
    again = unlock(wrapped, NEW)
    assert (again.fingerprint, again.key_state, again.public) == (key.fingerprint, key.key_state, key.public)
    # Independently: public parts and secret numbers are those that gpg exported.
    expected = [(tag, body[: writer.public_size(body)]) for tag, body in packets(name) if tag in (5, 7)]
    made = [(tag, body[: writer.public_size(body)]) for tag, body in writer.split(wrapped) if tag in (5, 7)]
    assert made == expected
    numbers = [body[writer.public_size(body) + 1 : -2] for tag, body in packets(name) if tag in (5, 7)]
    assert [clear.reveal() for clear in key.secrets] == numbers
    # All else is byte for byte the same, in the same order.
    rest = [one for one in writer.split(wrapped) if one[0] not in (5, 7)]
    assert rest == [one for one in packets(name) if one[0] not in (5, 7)]
    with pytest.raises(WrongPassphrase):
        unlock(wrapped, Secret(writer.PASSPHRASE))


def test_what_is_written(export: Export, now: datetime) -> None:
    wrapped = loaded(export, "rsa2048", now).protect(NEW, s2k_count_octet=0xFF)
    for tag, body in writer.split(wrapped):
        if tag in (5, 7):
            after = body[writer.public_size(body) :]
            assert after[:4] == bytes([254, 9, 3, 8])
            assert after[12] == 0xFF


def test_header_form_is_kept(packets: Packets, now: datetime, passphrase: Secret) -> None:
    for new in (False, True):
        data = writer.join(writer.protect_all(packets("ed25519")), new=new)
        key = load(data, passphrase, pin=None, now=now)
        wrapped = key.protect(NEW, s2k_count_octet=0)
        assert bool(wrapped[0] & 0x40) is new
        assert bool(key.public[0] & 0x40) is new
        prove_rewrap(key, wrapped, NEW, passphrase)
        assert key.original == data


def test_key_state_is_independent_of_form(packets: Packets, now: datetime) -> None:
    found = packets("rsa2048")
    forms = [
        writer.two_block(found).encode(),
        writer.single(found, b"another", writer.Protection("cast5", "md5", 1, usage=255)).encode(),
        writer.join(writer.protect_all(found), new=True),
    ]
    states = set()
    for data, word in zip(forms[:3], (writer.PASSPHRASE, b"another", writer.PASSPHRASE), strict=True):
        states.add(load(data, Secret(word), pin=None, now=now).key_state)
    assert len(states) == 1
    assert len(states.pop()) == 64


def test_key_state_ignores_the_order_of_signatures(export: Export, now: datetime) -> None:
    old, new = export("expired-two-block"), export("renewed-two-block")
    one, other = (
        load(data, Secret(writer.PASSPHRASE), pin=None, now=now).key_state for data in (old + new, new + old)
    )
    assert one == other


def test_key_state_changes_with_a_renewal(export: Export, now: datetime, passphrase: Secret) -> None:
    accept = frozenset({"expired"})
    old = load(export("expired-two-block"), passphrase, pin=None, now=now, accept=accept)
    new = load(export("renewed-two-block"), passphrase, pin=None, now=now)
    assert old.fingerprint == new.fingerprint
    assert old.key_state != new.key_state


def test_merge_public(export: Export, now: datetime, passphrase: Secret) -> None:
    accept = frozenset({"expired"})
    old = load(export("expired-two-block"), passphrase, pin=None, now=now, accept=accept)
    new = load(export("renewed-two-block"), passphrase, pin=None, now=now)
    assert old.summary()["expires"] == "2026-01-01T12:00:00Z"
    for public in (new.public, armor.armor(new.public, "PUBLIC KEY BLOCK")):
        merged = old.merge_public(public)
        assert merged.summary()["expires"] == new.summary()["expires"]
        assert merged.secrets == old.secrets
        assert merged.original == old.original
        wrapped = merged.protect(NEW, s2k_count_octet=0)
        prove_rewrap(merged, wrapped, NEW, None)
    assert old.merge_public(old.public).key_state == old.key_state


def test_merge_public_takes_nothing_that_the_key_has_not_signed(
    export: Export, packets: Packets, now: datetime
) -> None:
    key = loaded(export, "rsa2048", now)
    public = writer.public_of(packets("rsa2048"))
    foreign = writer.public_of(packets("ed25519"))
    stranger = [(writer.USER_ID, b"Mallory"), foreign[2]]
    forged = public[2][1][:-1] + bytes([public[2][1][-1] ^ 1])
    data = writer.join([*public[:3], (2, forged), *stranger, *public[3:], *foreign[3:]])
    assert key.merge_public(data).key_state == key.key_state
    with pytest.raises(NotPinned):
        key.merge_public(writer.join(foreign))
    with pytest.raises(NotAKey):
        key.merge_public(b"nonsense")


def test_original(export: Export, now: datetime, passphrase: Secret) -> None:
    data = export("rsa2048-two-block")
    assert load(data, passphrase, pin=None, now=now).original == data


def test_unlock_judges_no_dates(export: Export, packets: Packets, passphrase: Secret) -> None:
    assert unlock(writer.join(writer.protect_all(packets("rsa2048"))), passphrase)
    assert unlock(writer.single(packets("ed25519")).encode(), passphrase)
    with pytest.raises(Incomplete):
        unlock(writer.join(writer.public_of(packets("ed25519"))), passphrase)
    with pytest.raises(NotAKey):
        unlock(writer.single(packets("ed25519")).encode() + export("rsa2048-single"), passphrase)
    with pytest.raises(NotAKey):
        unlock(b"", passphrase)


def test_nothing_shows_a_secret(packets: Packets, now: datetime) -> None:
    found = packets("ed25519")
    data = writer.join(found)
    key = load(data, Secret(b""), pin=None, accept=frozenset({"unprotected"}), now=now)
    seed = key.secrets[0].reveal()[2:]
    shown = repr(key) + str(key) + repr(key.key) + repr(key.key.components) + f"{key}" + repr(key.summary())
    for form in (repr(seed)[2:-1], seed.hex(), str(int.from_bytes(seed, "big"))):
        assert form not in shown


def test_a_key_is_never_written_without_a_passphrase(export: Export, now: datetime) -> None:
    key = loaded(export, "ed25519", now)
    with pytest.raises(UsageProblem):
        key.protect(Secret(b""), s2k_count_octet=0)
    with pytest.raises(UsageProblem):
        key.protect(NEW, s2k_count_octet=256)


# --- other programs read what is written ---


@pytest.mark.parametrize("name", ["rsa4096", "rsa2048", "ed25519", "nistp256", "nistp384", "nistp521"])
def test_sequoia_and_pgpy_read_it(name: str, export: Export, now: datetime) -> None:
    import pgpy
    import pysequoia

    wrapped = loaded(export, name, now).protect(NEW, s2k_count_octet=ESCROW_COUNT_OCTET)
    tsk = pysequoia.Tsk.from_bytes(wrapped)
    assert pysequoia.sign(tsk.signer(NEW.text()), b"data")
    with pytest.raises(Exception, match=r".+"):
        tsk.signer("wrong")
    key, _ = pgpy.PGPKey.from_blob(wrapped)
    with key.unlock(NEW.text()):
        assert key.sign("data")
