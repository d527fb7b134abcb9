"""Signatures by the Org Key, and everything that must not pass for one."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline.core.clock import Deadline
from pipeline.core.errors import ClockProblem, IntegrityProblem, NotPinned, Unsupported, WrongPassphrase
from pipeline.core.secret import Secret
from pipeline.openpgp.format import armor
from pipeline.openpgp.gnupg.driver import GnuPG
from pipeline.openpgp.key import parsing
from pipeline.openpgp.signing import sign_detached, verify_detached

if TYPE_CHECKING:
    from tests.component.proofs.conftest import Stored

    Keys = Callable[[str], Stored]

DATA = b"manifest\n"


def _sign(key: Stored, data: bytes = DATA, **more: object) -> bytes:
    given = {"deadline": Deadline(60), "now": datetime.now(UTC)} | more
    return sign_detached(key.tsk, key.passphrase, key.public, data, **given)  # type: ignore[arg-type]  # as named


def _verify(key: Stored, signature: bytes, data: bytes = DATA, **more: object) -> None:
    given = {
        "public": key.public,
        "fingerprint": key.fingerprint,
        "deadline": Deadline(60),
        "now": datetime.now(UTC),
    } | more
    verify_detached(data=data, signature=signature, **given)  # type: ignore[arg-type]  # as named


@pytest.mark.parametrize(
    "name",
    ["rsa4096-two-block", "ed25519-two-block", "nistp521-two-block", "dsa2048-two-block",
     "brainpoolp384-two-block", "secp256k1-two-block", "signing-subkey-unprotected", "weak",
     "expired-two-block", "renewed-two-block", "revoked-two-block"],
)  # fmt: skip
def test_round_trip(stored: Keys, name: str) -> None:
    key = stored(name)
    signature = _sign(key)
    assert signature.startswith(b"-----BEGIN PGP SIGNATURE-----\n")
    _verify(key, signature)
    _verify(key, armor.dearmor(signature))
    _verify(key, signature, fingerprint=key.fingerprint.lower())
    with pytest.raises(IntegrityProblem):
        _verify(key, signature, data=DATA + b"x")


def test_gpg_agrees(stored: Keys) -> None:
    key = stored("rsa2048-two-block")
    signature = _sign(key)
    with GnuPG(Deadline(60)) as gpg:
        gpg.import_keys(key.public, {key.fingerprint: False})
        found = gpg.verify(DATA, signature)
    assert found is not None
    assert (found.state, found.primary) == ("good", key.fingerprint)


@pytest.mark.parametrize("name", ["ed25519-two-block", "expired-two-block"])
def test_without_gpg_the_others_sign(
    stored: Keys, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    key = stored(name)
    _verify(key, _sign(key))


def test_without_gpg_a_brainpool_key_signs_nothing_but_is_still_judged(
    stored: Keys, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key = stored("brainpoolp256-two-block")
    signature = _sign(key)
    monkeypatch.setenv("PATH", str(tmp_path))
    _verify(key, signature)
    with pytest.raises(Unsupported, match=r"no implementation on this host signs.*the program gpg is not"):
        _sign(key)


@pytest.mark.parametrize(
    "name", ["ed25519-two-block", "brainpoolp256-two-block", "weak", "dsa2048-two-block"]
)
def test_a_signature_is_judged_in_this_process(
    stored: Keys, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = stored(name)
    signature = _sign(key)

    def no_process(*_: object, **__: object) -> None:
        raise AssertionError("a program was started for a signature")

    monkeypatch.setattr("pipeline.core.process.start", no_process)
    _verify(key, signature)
    with pytest.raises(IntegrityProblem, match="not by this key"):
        _verify(key, signature, data=b"other data")


def test_a_wrong_passphrase(stored: Keys) -> None:
    with pytest.raises(WrongPassphrase):
        _sign(replace(stored("ed25519-two-block"), passphrase=Secret("wrong")))


def test_two_parts_of_two_keys(stored: Keys) -> None:
    key = stored("ed25519-two-block")
    with pytest.raises(NotPinned):
        _sign(replace(key, public=stored("rsa2048-two-block").public))


def test_another_key(stored: Keys) -> None:
    key, other = stored("ed25519-two-block"), stored("rsa2048-two-block")
    signature = _sign(other)
    with pytest.raises(IntegrityProblem, match="another key"):
        _verify(key, signature, public=other.public)
    with pytest.raises(IntegrityProblem, match="not by this key"):
        _verify(key, signature)


def test_several_keys_in_the_public_part(stored: Keys) -> None:
    key, other = stored("ed25519-two-block"), stored("rsa2048-two-block")
    for public in (key.public + other.public, other.public + key.public):
        with pytest.raises(IntegrityProblem, match="2 keys"):
            _verify(key, _sign(other), public=public)
    with pytest.raises(IntegrityProblem):
        _verify(key, _sign(key), public=b"")


def _more(signature: bytes) -> list[bytes]:
    binary = armor.dearmor(signature)
    return [
        b"",
        b"\n",
        signature[:-20],
        signature + b"trailing\n",
        b"leading\n" + signature,
        signature + signature,
        binary + binary,
        binary + b"\x00",
        binary[:-1],
        armor.armor(binary + binary, "SIGNATURE"),
        armor.armor(binary, "MESSAGE"),
        signature.replace(b"\n\n", b"\nComment: x\n\n", 1).replace(b"=", b"", 1),
        binary[:3] + b"\x01" + binary[4:],
    ]


def test_exactly_one_signature_and_nothing_else(stored: Keys) -> None:
    key = stored("ed25519-two-block")
    for one in _more(_sign(key)):
        with pytest.raises(IntegrityProblem):
            _verify(key, one)


def test_every_bit_of_the_signature_counts(stored: Keys) -> None:
    """Flips in the hashed part and in the numbers: nothing passes, nothing else is raised."""
    key = stored("ed25519-two-block")
    binary = armor.dearmor(_sign(key))
    for at in [*range(2, 12), *range(len(binary) - 8, len(binary))]:
        flipped = binary[:at] + bytes([binary[at] ^ 1]) + binary[at + 1 :]
        with pytest.raises(IntegrityProblem):
            _verify(key, flipped)


def test_a_foreign_subkey_without_a_binding(stored: Keys) -> None:
    """An attacker's primary key, put under the pinned one as a subkey, with and without its signatures."""
    from pipeline.openpgp.format.packets import Tag, build, join

    key, other = stored("ed25519-two-block"), stored("rsa2048-two-block")
    foreign = parsing.read_one(other.public, "other")
    subkey = build(Tag.PUBLIC_SUBKEY, foreign.primary.public.raw)
    signature = _sign(other)
    bindings = foreign.subkeys[0].signatures
    for public in (
        key.public + subkey.raw,
        key.public + subkey.raw + join(bindings),
        key.public + subkey.raw + join(parsing.read_one(key.public, "key").subkeys[0].signatures),
    ):
        with pytest.raises(IntegrityProblem):
            _verify(key, signature, public=public)


def test_a_weak_digest_does_not_count(stored: Keys) -> None:
    key = stored("rsa2048-two-block")
    with GnuPG(Deadline(60)) as gpg:
        gpg.import_keys(key.tsk, {key.fingerprint: True})
        maker = ("--local-user", key.fingerprint, "--detach-sign")
        made = gpg.call("--digest-algo", "SHA1", *maker, stdin=DATA, passphrase=key.passphrase)
        text = gpg.call("--textmode", *maker, stdin=DATA, passphrase=key.passphrase)
    assert made.returncode == text.returncode == 0
    for one in (made.output, text.output):
        with pytest.raises(IntegrityProblem, match="SHA-256 or stronger"):
            _verify(key, one)


def test_what_an_expired_key_signed_inside_and_after_its_validity(stored: Keys) -> None:
    key = stored("expired-two-block")
    inside, after = datetime(2025, 6, 1, tzinfo=UTC), datetime.now(UTC)
    with GnuPG(Deadline(60), moment=inside) as gpg:
        gpg.import_keys(key.tsk, {key.fingerprint: True})
        good = gpg.sign(DATA, key.fingerprint, key.passphrase)
    _verify(key, good)
    renewed = stored("renewed-two-block")
    _verify(key, good, public=renewed.public)
    late = _sign(renewed, now=after)
    _verify(renewed, late)
    with pytest.raises(IntegrityProblem):
        _verify(key, late)


def test_an_expired_key_signs_inside_its_validity(stored: Keys) -> None:
    from pipeline.openpgp.format.packets import parse
    from pipeline.openpgp.format.signatures import read_signature

    made = read_signature(parse(armor.dearmor(_sign(stored("expired-two-block"))))[0].body)
    assert made is not None
    assert made.created.year in (2025, 2026)
    assert made.created < datetime(2026, 1, 2, tzinfo=UTC)


def test_a_signature_from_the_future(stored: Keys) -> None:
    key = stored("ed25519-two-block")
    with pytest.raises(ClockProblem, match="future"):
        _verify(key, _sign(key), now=datetime.now(UTC) - timedelta(days=3))


def test_a_signature_with_crlf_line_ends_is_still_one(stored: Keys) -> None:
    key = stored("ed25519-two-block")
    _verify(key, _sign(key).replace(b"\n", b"\r\n"))


def test_armor_with_a_wrong_checksum(stored: Keys) -> None:
    key = stored("ed25519-two-block")
    lines = _sign(key).split(b"\n")
    at = next(number for number, line in enumerate(lines) if line.startswith(b"="))
    lines[at] = b"=" + base64.b64encode(b"\0\0\0")
    with pytest.raises(IntegrityProblem):
        _verify(key, b"\n".join(lines))


@pytest.mark.parametrize("name", ["ed25519-two-block", "brainpoolp256-two-block", "weak"])
def test_a_false_signature_costs_no_process(stored: Keys, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever can write to a target can plant thousands of false records; judging them must stay cheap."""
    key, attacker = stored(name), stored("rsa2048-two-block")
    false = [_sign(attacker), _sign(key, b"something else")]

    def no_process(*_: object, **__: object) -> None:
        raise AssertionError("a program was started for a false signature")

    monkeypatch.setattr("pipeline.core.process.start", no_process)
    for signature in false:
        with pytest.raises(IntegrityProblem, match="not by this key"):
            _verify(key, signature)
