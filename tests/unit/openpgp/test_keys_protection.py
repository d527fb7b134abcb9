"""Every old protection is opened; what is written is the one modern form."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.errors import Unsupported, WrongPassphrase
from pipeline.core.secret import Secret
from pipeline.openpgp.format import ciphers, protection
from pipeline.openpgp.format.protection import ESCROW_COUNT_OCTET, MAX_COUNT_OCTET
from pipeline.openpgp.key.rewrap import load, prove_rewrap, unlock
from tests.support import openpgp_writer as writer

Packets = Callable[[str], list[writer.Packet]]

MATRIX = [
    *(writer.Protection(cipher=cipher, usage=usage) for cipher in writer.CIPHERS for usage in (254, 255, -1)),
    *(writer.Protection(digest=digest, s2k=s2k) for digest in writer.DIGESTS for s2k in (0, 1, 3)),
    *(writer.Protection(count=count) for count in (0, 0x60, 0x8C, 0xC0)),
]


@pytest.mark.parametrize(
    "how", MATRIX, ids=lambda how: f"{how.cipher}-{how.digest}-s2k{how.s2k}-{how.count:02x}-{how.usage}"
)
def test_old_protections(how: writer.Protection, packets: Packets, passphrase: Secret, now: datetime) -> None:
    data = writer.two_block(packets("ed25519"), how=how).encode()
    key = load(data, passphrase, pin=None, now=now)
    new = Secret("0" * 64)
    wrapped = key.protect(new, s2k_count_octet=ESCROW_COUNT_OCTET)
    prove_rewrap(key, wrapped, new, passphrase)
    described = unlock(wrapped, new).summary()["protection"]
    assert described == {
        "state": "protected",
        "cipher": "AES-256",
        "s2k": "iterated-salted",
        "digest": "SHA-256",
        "count": 65_536,
        "checksum": "SHA-1",
    }
    with pytest.raises(WrongPassphrase):
        load(data, Secret("wrong"), pin=None, now=now)


@pytest.mark.parametrize("cipher", ["cast5", "3des", "aes128"])
@pytest.mark.parametrize("name", ["rsa2048", "dsa2048", "brainpoolp256"])
def test_old_protections_of_old_keys(
    name: str, cipher: str, packets: Packets, passphrase: Secret, now: datetime
) -> None:
    how = writer.Protection(cipher=cipher, usage=255)
    key = load(writer.single(packets(name), how=how).encode(), passphrase, pin=None, now=now)
    new = Secret("1" * 64)
    prove_rewrap(key, key.protect(new, s2k_count_octet=0), new, passphrase)


@given(
    st.binary(max_size=40),
    st.sampled_from(list(writer.DIGESTS)),
    st.sampled_from([0, 1, 3]),
    st.integers(0, 0x70),
    st.sampled_from([7, 9]),
)
@settings(max_examples=60, deadline=None)
def test_derive_agrees_with_the_test_writer(
    passphrase: bytes, digest: str, kind: int, count: int, cipher: int
) -> None:
    salt = b"saltsalt" if kind else b""
    how = protection.Protection(
        protection.ProtectionState.PROTECTED, 254, cipher, kind, writer.DIGESTS[digest], salt, count
    )
    if not passphrase and not salt:
        assert len(protection.derive(how, passphrase)) == ciphers.CIPHERS[cipher][2]
        return
    size = ciphers.CIPHERS[cipher][2]
    assert protection.derive(how, passphrase) == writer.derive(passphrase, digest, kind, salt, count, size)


def test_the_maximum_count_is_fast_enough_for_a_person() -> None:
    how = protection.Protection(
        protection.ProtectionState.PROTECTED, 254, 9, 3, protection.SHA256, b"saltsalt", MAX_COUNT_OCTET
    )
    assert protection.decode_count(MAX_COUNT_OCTET) == 65_011_712
    before = time.process_time()
    protection.derive(how, b"passphrase")
    assert time.process_time() - before < 5


def test_a_retired_cipher_is_a_clear_refusal(
    packets: Packets, passphrase: Secret, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = writer.two_block(packets("ed25519"), how=writer.Protection(cipher="cast5")).encode()
    monkeypatch.setitem(ciphers.CIPHERS, 3, ("CAST5", "Gone", 16, 8))
    with pytest.raises(Unsupported, match="CAST5"):
        load(data, passphrase, pin=None, now=now)


def test_a_retired_digest_is_a_clear_refusal(
    packets: Packets, passphrase: Secret, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = writer.two_block(packets("ed25519"), how=writer.Protection(digest="ripemd160")).encode()
    real = hashlib.new

    def without(name: str, data: bytes = b"", *, usedforsecurity: bool = True) -> object:
        if name == "ripemd160":
            raise ValueError("unsupported hash type")
        return real(name, data, usedforsecurity=usedforsecurity)

    monkeypatch.setattr(hashlib, "new", without)
    with pytest.raises(Unsupported, match="RIPEMD-160"):
        load(data, passphrase, pin=None, now=now)


def test_salts_are_fresh() -> None:
    made = {protection.close_secret(Secret(b"\0\1\1"), Secret("x"), s2k_count_octet=0) for _ in range(4)}
    assert len(made) == 4
