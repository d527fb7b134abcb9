"""What strangers add to a key changes nothing: junk, a flood, an issuer that is not hashed, odd packets."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from pipeline.archive import live_key as live
from pipeline.core.errors import Code
from pipeline.core.secret import Secret
from pipeline.openpgp.format.packets import Tag, build, join, parse
from pipeline.openpgp.format.signatures import read_signature
from pipeline.openpgp.key import inspection, parsing, validity
from pipeline.openpgp.proofs.sequoia_proof import SequoiaProver
from tests.support import key_forms as forms
from tests.support import openpgp_writer as writer
from tests.support.key_forms import FORMS, LATER, Form, P, Sig, sub, uid

NOW = datetime(2026, 6, 1, tzinfo=UTC)
PASSPHRASE = Secret(writer.PASSPHRASE)
REVOKED = Form(direct=[Sig(forms.REVOKED_KEY, at=LATER, expires=None)])


def public(form: Form) -> bytes:
    return writer.join(writer.public_of(form.packets()))


def junk(count: int) -> list[writer.Packet]:
    """Signatures in the key's own name that do not hold, all different."""
    (_, body) = Sig(flags=3, broken=True).packet(P, b"")
    return [(writer.SIGNATURE, body[:-4] + number.to_bytes(4, "big")) for number in range(count)]


def flooded(form: Form, count: int) -> bytes:
    """Junk before and behind every signature."""
    made = []
    for packet in form.packets():
        made.append(packet)
        if packet[0] != writer.SIGNATURE:
            made += junk(count)
    return writer.join(writer.protect_all(made))


def test_a_flood_hides_no_revocation() -> None:
    found = inspection.inspect(flooded(REVOKED, 1000), passphrase=PASSPHRASE, now=NOW)
    assert found.code is Code.UNSUPPORTED
    assert "more than 1000 signatures in its own name" in found.problems[0]["message"]
    assert inspection.inspect(flooded(REVOKED, 300), passphrase=PASSPHRASE, now=NOW).code is Code.EXPIRED
    with pytest.raises(parsing.Flooded):
        parsing.read_one(flooded(REVOKED, 1000), "the live key")


def test_signatures_of_others_are_no_flood() -> None:
    (_, body) = Sig(forms.POSITIVE).packet(forms.E, b"")
    other = [(writer.SIGNATURE, body[:-4] + number.to_bytes(4, "big")) for number in range(1500)]
    data = writer.join([*writer.protect_all(FORMS["plain"].packets()[:3]), *other])
    assert not any(isinstance(one, parsing.Flooded) for one in parsing.read_all(data).keys[0].problems)


def test_an_issuer_that_is_not_hashed_does_not_override_the_hashed_one() -> None:
    (_, body) = Sig(flags=3).packet(P, b"")
    made = read_signature(body)
    assert made is not None
    size = 6 + int.from_bytes(body[4:6], "big")
    stranger = sub(33, b"\x04" + bytes(20))
    moved = body[:size] + len(stranger).to_bytes(2, "big") + stranger + body[size + 2 + 10 :]
    again = read_signature(moved)
    assert again is not None
    assert again.issuer == made.issuer


def strange(form: Form) -> bytes:
    """The public part with what a stranger may upload: an unbound subkey, odd signatures, an own user id."""
    packets = writer.public_of(form.packets())
    odd = (writer.SIGNATURE, b"\x04\x13\x63\x63" + bytes(40))
    made = [packets[0], odd, *packets[1:3], odd, (writer.USER_ID, b"Stranger"), odd, *packets[3:], odd]
    unbound = (writer.PUBLIC_SUBKEY, forms.public(forms.bodies("certify-only")[0]))
    return writer.join([*made, unbound, odd, junk(1)[0]])


def test_the_live_key_is_reduced_to_what_it_has_signed() -> None:
    key = parsing.read_one(public(FORMS["plain"]), "key")
    assert live._own(strange(FORMS["plain"]), key.fingerprint) == public(FORMS["plain"])


def test_sequoia_reads_what_is_left_of_it() -> None:
    import pysequoia

    key = parsing.read_one(public(FORMS["plain"]), "key")
    left = live._own(strange(FORMS["plain"]), key.fingerprint)
    assert left is not None
    assert pysequoia.encrypt(b"x", [pysequoia.Cert.from_bytes(left)])
    assert SequoiaProver.name == "sequoia"


def test_revocations_stay() -> None:
    key = parsing.read_one(public(REVOKED), "key")
    left = live._own(strange(REVOKED), key.fingerprint)
    assert left is not None
    assert validity.judge(parsing.read_one(left, "live"), None).primary.revoked


def test_a_revocation_by_a_designated_revoker_stays() -> None:
    revoker = bytes.fromhex(writer.fingerprint(forms.public(forms.E)))
    named = Form([uid(Sig(flags=3, extra=(sub(12, b"\x80\x01" + revoker),)))])
    packets = writer.public_of(named.packets())
    by_another = Sig(forms.REVOKED_KEY, at=LATER, expires=None).packet(forms.E, b"")
    data = writer.join([packets[0], by_another, *packets[1:]])
    left = live._own(data, parsing.read_one(data, "key").fingerprint)
    assert left is not None
    assert validity.judge(parsing.read_one(left, "live"), None).primary.revoked


def test_a_key_that_cannot_be_judged_is_left_to_its_reader() -> None:
    key = parsing.read_one(public(FORMS["plain"]), "key")
    more = join([*parse(public(FORMS["plain"])), *(build(Tag.SIGNATURE, body) for _, body in junk(1100))])
    assert live._own(more, key.fingerprint) == replace(parsing.read_all(more).keys[0]).public()
