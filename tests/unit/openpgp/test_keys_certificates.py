"""Organization Certificates on the key."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pipeline.core.errors import Code, TooManyCertificates
from pipeline.core.secret import Secret
from pipeline.openpgp.key.inspection import inspect
from pipeline.openpgp.key.rewrap import load
from tests.support import openpgp_writer as writer

Packets = Callable[[str], list[writer.Packet]]


@cache
def certificate(
    name: str, serial: int, encoding: serialization.Encoding = serialization.Encoding.DER
) -> bytes:
    key = ec.derive_private_key(serial, ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(datetime(2025, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2035, 1, 1, tzinfo=UTC))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(encoding)


def subpacket(kind: int, body: bytes) -> bytes:
    size = len(body) + 1
    head = bytes([size]) if size < 192 else bytes([((size - 192) >> 8) + 192, (size - 192) & 0xFF])
    return head + bytes([kind]) + body


def as_signature(der: bytes, *, lead: bytes = b"\x01\x01\x04", kind: int = 100) -> writer.Packet:
    """As the vendor's published sources write it."""
    hashed = subpacket(2, bytes([0x67, 0x75, 0x2E, 0x40])) + subpacket(kind, lead + der)
    body = b"\x04\x10\x00\x02" + len(hashed).to_bytes(2, "big") + hashed + b"\0\0" + b"\0\0" + b"\0\1\1"
    return writer.SIGNATURE, body


def with_extra(packets: list[writer.Packet], *extra: writer.Packet) -> bytes:
    """The extra packets follow the first user id's own signature."""
    return writer.two_block(packets, public=writer.public_of([*packets[:3], *extra, *packets[3:]])).encode()


ONE, TWO = ("One", 11), ("Two", 12)


def forms(name: str, serial: int) -> list[list[writer.Packet]]:
    der = certificate(name, serial)
    uid = (writer.USER_ID, f"CN={name}".encode())
    return [
        [uid, as_signature(der)],
        [as_signature(der)],
        [uid, as_signature(der, lead=b"")],
        [uid, as_signature(der, kind=105, lead=b"\x07")],
        [(writer.USER_ATTRIBUTE, subpacket(100, b"\x01\x01\x04" + der))],
        [(writer.USER_ATTRIBUTE, subpacket(2, der))],
        [(writer.USER_ID, der)],
        [(writer.USER_ID, certificate(name, serial, serialization.Encoding.PEM))],
    ]


@pytest.mark.parametrize("form", range(8))
def test_one_is_listed(form: int, packets: Packets, now: datetime, passphrase: Secret) -> None:
    data = with_extra(packets("rsa2048"), *forms(*ONE)[form])
    found = inspect(data, passphrase=passphrase, now=now)
    assert found.ok, found.problems
    (listed,) = found.document["organization_certificates"]
    assert listed["subject"] == listed["issuer"] == "CN=One"
    assert listed["serial"] == "B"
    assert (listed["not_before"], listed["not_after"]) == ("2025-01-01T00:00:00Z", "2035-01-01T00:00:00Z")
    key = load(data, passphrase, pin=None, now=now)
    assert key.summary()["organization_certificates"] == [listed]


@pytest.mark.parametrize(
    ("days", "said"), [(0, None), (4000, "CN=One expired at 2035-01-01"), (-4000, "valid from 2025-01-01")]
)
def test_one_that_is_not_valid_now_is_a_warning(
    packets: Packets, now: datetime, passphrase: Secret, days: int, said: str | None
) -> None:
    data = with_extra(packets("rsa2048"), *forms(*ONE)[0])
    moment = now + timedelta(days=days)
    (listed,) = inspect(data, now=moment).document["organization_certificates"]
    assert listed["not_after"] == "2035-01-01T00:00:00Z"
    notes = [note for note in inspect(data, now=moment).document["notes"] if "CN=One" in note]
    assert [str(said) in note for note in notes] == ([True] if said else [])
    assert inspect(data, now=moment).code is not Code.CERTIFICATES
    accepted = load(data, passphrase, pin=None, now=moment, accept=frozenset({"expired"}))
    assert [f"warning: {warning}" for warning in accepted.warnings if "CN=One" in warning] == notes


@pytest.mark.parametrize("form", range(8))
def test_two_are_refused(form: int, packets: Packets, now: datetime, passphrase: Secret) -> None:
    data = with_extra(packets("rsa2048"), *forms(*ONE)[form], *forms(*TWO)[form])
    found = inspect(data, now=now)
    assert found.code is Code.CERTIFICATES
    assert "CN=One (serial B); CN=Two (serial C)" in found.problems[0]["message"]
    with pytest.raises(TooManyCertificates):
        load(data, passphrase, pin=None, now=now)
    assert load(data, passphrase, pin=None, now=now, accept=frozenset({"certificates"}))


def test_the_same_one_twice_is_one(packets: Packets, now: datetime) -> None:
    data = with_extra(packets("rsa2048"), *forms(*ONE)[0], *forms(*ONE)[6])
    assert len(inspect(data, now=now).document["organization_certificates"]) == 1


def test_marked_but_unreadable_ones_count(packets: Packets, now: datetime) -> None:
    junk = [as_signature(bytes([number]) * 50) for number in (1, 2)]
    found = inspect(with_extra(packets("rsa2048"), *junk), now=now)
    assert found.code is Code.CERTIFICATES
    assert found.document["organization_certificates"][0]["subject"] == "(unreadable certificate)"


def test_a_photo_is_none(packets: Packets, now: datetime) -> None:
    photo = (writer.USER_ATTRIBUTE, subpacket(1, b"\x10\0\1\1" + bytes(12) + certificate(*ONE)))
    found = inspect(with_extra(packets("rsa2048"), photo, (writer.USER_ATTRIBUTE, b"\xff\0")), now=now)
    assert found.ok
    assert found.document["organization_certificates"] == []
