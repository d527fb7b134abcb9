"""Numbers that are not canonical: read, and written anew only in secret parts (RFC 9580 section 3.2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import pytest

from pipeline.core.errors import ProofFailed
from pipeline.core.secret import Secret
from pipeline.openpgp.format.packets import build, join
from pipeline.openpgp.format.protection import close_secret
from pipeline.openpgp.key.inspection import inspect
from pipeline.openpgp.key.rewrap import UnlockedKey, load, prove_rewrap, unlock
from tests.support import openpgp_writer as writer

Packets = Callable[[str], list[writer.Packet]]
NEW = Secret("5d" * 32)
KNOWN_TO_SEQUOIA = ["ed25519", "nistp256", "nistp384", "nistp521", "rsa2048"]
NAMES = [*KNOWN_TO_SEQUOIA, "brainpoolp256", "brainpoolp512", "secp256k1", "dsa2048"]


def whole_octets(number: bytes) -> bytes:
    """As GnuPG 2.3 and newer writes elliptic secrets: the bit count of whole octets."""
    return (len(number) * 8).to_bytes(2, "big") + number


def zero_before(number: bytes) -> bytes:
    """As GnuPG wrote some before: an octet of zeros in front."""
    return whole_octets(b"\0" + number)


ODD = [whole_octets, zero_before]


def odd(clear: bytes, form: Callable[[bytes], bytes]) -> bytes:
    """Secret numbers that are not canonical."""
    made, at = b"", 0
    while at < len(clear):
        size = (int.from_bytes(clear[at : at + 2], "big") + 7) // 8
        made += form(clear[at + 2 : at + 2 + size])
        at += 2 + size
    return made


def odd_export(packets: list[writer.Packet], form: Callable[[bytes], bytes]) -> bytes:
    """An export whose secret numbers are not canonical."""
    made = []
    for tag, body in packets:
        if tag in (writer.SECRET_KEY, writer.SECRET_SUBKEY):
            clear = body[writer.public_size(body) + 1 : -2]
            body = writer.protect(body, secret=odd(clear, form))
        made.append((tag, body))
    return writer.join(made)


@pytest.mark.parametrize("form", ODD)
@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_is_canonical(
    name: str, form: Callable[[bytes], bytes], packets: Packets, passphrase: Secret, now: datetime
) -> None:
    data = odd_export(packets(name), form)
    assert inspect(data, passphrase=passphrase, now=now).ok
    key = load(data, passphrase, pin=None, now=now)
    plain = load(writer.join(writer.protect_all(packets(name))), passphrase, pin=None, now=now)
    # A number of full octets has the same bytes in both forms.
    assert (key.canonical, plain.canonical) == ((name, form) == ("secp256k1", whole_octets), True)
    # The same key as far as "already escrowed" goes, and the same numbers in what is written.
    assert (key.key_state, key.secrets) == (plain.key_state, plain.secrets)
    wrapped = key.protect(NEW, s2k_count_octet=0)
    prove_rewrap(key, wrapped, NEW, passphrase)
    again = unlock(wrapped, NEW)
    expected = [body[writer.public_size(body) + 1 : -2] for tag, body in packets(name) if tag in (5, 7)]
    assert [clear.reveal() for clear in again.secrets] == expected
    assert again.canonical
    if name in KNOWN_TO_SEQUOIA:
        import pysequoia

        tsk = pysequoia.Tsk.from_bytes(wrapped)
        assert pysequoia.sign(tsk.signer(NEW.text()), b"data")


@pytest.mark.parametrize("name", ["ed25519", "nistp256"])
def test_a_rewrap_that_is_not_canonical_is_not_proven(
    name: str, packets: Packets, passphrase: Secret, now: datetime
) -> None:
    key = load(odd_export(packets(name), whole_octets), passphrase, pin=None, now=now)
    with pytest.raises(ProofFailed, match="canonical"):
        prove_rewrap(key, as_release_0_1(key, NEW), NEW, passphrase)


def as_release_0_1(key: UnlockedKey, passphrase: Secret) -> bytes:
    """Re-wrapped with the numbers as GnuPG exports them."""
    packets = [
        build(
            one.packet.tag,
            one.public.raw
            + close_secret(Secret(odd(clear.reveal(), whole_octets)), passphrase, s2k_count_octet=0),
        )
        for one, clear in zip(key.key.components, key.secrets, strict=True)
    ]
    return join(key.key.packets(packets))


def test_a_public_point_keeps_its_bytes(packets: Packets, passphrase: Secret, now: datetime) -> None:
    """The fingerprint covers them: an engine that refuses such a key takes no part."""
    (tag, body), *_ = packets("ed25519")
    point = 6 + 1 + body[6]
    octets = body[point + 2 : point + 35]
    strange = body[:point] + whole_octets(octets) + body[point + 35 :]
    found = inspect(writer.join([(tag, writer.protect(strange))]), passphrase=passphrase, now=now)
    assert [problem["name"] for problem in found.problems] == ["incomplete"] * len(found.problems)
    key = unlock(writer.join([(tag, writer.protect(strange))]), passphrase)
    assert key.key.primary.public.raw == strange[: writer.public_size(strange)]
    assert replace(key.key.primary.public, raw=b"").point == octets
