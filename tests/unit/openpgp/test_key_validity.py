"""What genuine self-signatures say of a key, form by form, and which do not count."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pipeline.openpgp.format.material import PublicPart
from pipeline.openpgp.key import parsing, validity
from pipeline.openpgp.key.validity import ComponentValidity
from tests.support import key_forms as forms
from tests.support import openpgp_writer as writer
from tests.support.key_forms import BINDING, CERT_SIGN, DAY, DIRECT, FORMS, LATER, MADE, Form, Sig, sub, uid

NOW = datetime(2026, 6, 1, tzinfo=UTC)
REVOKED_UID = Sig(forms.REVOKED_UID, at=LATER, expires=None)
STRANGER = bytes.fromhex(writer.fingerprint(forms.public(forms.E)))


def named(*extra: bytes) -> Form:
    """A stranger has revoked it, whom its self-signature may name as revoker."""
    plain = Form([uid(Sig(flags=3, extra=extra))])
    revocation = Sig(forms.REVOKED_KEY, at=LATER, expires=None).packet(forms.E, b"")
    return Form(plain.uids, more=lambda packets: [packets[0], revocation, *packets[1:]])


OWN: dict[str, Form] = FORMS | {
    "claims-what-it-cannot": Form(
        [uid(Sig(flags=0x0F))],
        [(forms.ENCRYPT_ONLY, (Sig(BINDING, flags=0x0F),))],
        primary=forms.SIGN_ONLY,
    ),
    "says-nothing-and-can-less": Form(
        [uid(Sig())], [(forms.ENCRYPT_ONLY, (Sig(BINDING),))], primary=forms.SIGN_ONLY
    ),
    "revoked": Form(direct=[Sig(forms.REVOKED_KEY, at=LATER, expires=None)]),
    "revoked-in-the-same-second": Form([uid(CERT_SIGN, Sig(forms.REVOKED_UID, expires=None))]),
    "revoked-and-certified-again": Form([uid(CERT_SIGN, REVOKED_UID, Sig(flags=3, at=LATER + DAY))]),
    "signed-back-by-another": Form(subkeys=[(forms.S, (Sig(BINDING, flags=2, back=forms.E),))]),
    "signs-and-encrypts": Form(subkeys=[(forms.S, (Sig(BINDING, flags=0x0E),))]),
    "prefers": forms.with_(sub(11, bytes([9, 7]))),
    "revoked-by-whom-it-names": named(sub(12, b"\x80\x01" + STRANGER)),
    "revoked-by-whom-it-does-not-name": named(sub(12, b"\x80\x01" + bytes(20))),
    "revoked-by-whom-it-names-in-another-form": named(sub(12, b"\x80" + STRANGER)),
    "revoked-by-anybody": named(),
}


def told(one: ComponentValidity, part: PublicPart) -> str:
    """Flags, days until it expires, and what else is so."""
    days = [f"{(one.expires - part.created).days}d"] if one.expires else []
    words = {"unbound": not one.bound, "later": one.later, "revoked": one.revoked, "weak": one.weak}
    return " ".join([f"{one.flags:02x}", *days, *(word for word, so in words.items() if so)])


@pytest.mark.parametrize(
    ("name", "now", "standings", "identities", "notes"),
    [
        ("plain", NOW, "03 10950d, 0c 10950d", "y", ""),
        ("plain", None, "03 10950d, 0c 10950d", "y", ""),
        ("plain", MADE, "03 10950d, 0c 10950d", "y", ""),
        ("plain", MADE - DAY, "00 unbound later, 00 unbound later", "n", ""),
        ("no-flags", NOW, "0f 10950d, 0c 10950d", "y", ""),
        ("flags-of-zero", NOW, "00 10950d, 00 10950d", "y", ""),
        ("encrypts-for-storage-only", NOW, "03 10950d, 08 10950d", "y", ""),
        ("claims-what-it-cannot", NOW, "03 10950d, 0c 10950d", "y", ""),
        ("says-nothing-and-can-less", NOW, "03 10950d, 0c 10950d", "y", ""),
        ("never-expires", NOW, "03, 0c", "y", ""),
        ("renewed", NOW, "03 10950d, 0c 10950d", "y", ""),
        ("renewed", LATER - DAY, "03 30d, 0c 30d", "y", ""),
        ("renewed", None, "03 10950d, 0c 10950d", "y", ""),
        ("renewed-on-one-user-id", NOW, "03 10950d, 0c 10950d", "yy", ""),
        ("self-signature-expired", NOW, "00 unbound, 0c 10950d", "n", ""),
        ("self-signature-expired", None, "03 10950d, 0c 10950d", "y", ""),
        ("two-encryption-subkeys-one-revoked", NOW, "03 10950d, 0c 10950d, 0c 10950d revoked", "y", ""),
        ("direct-key-signature-alone", NOW, "03 10950d, 0c 10950d", "n", "self-signature that counts: 1"),
        ("one-user-id-revoked", NOW, "03 10950d, 0c 10950d", "yn", "self-signature that counts: 1"),
        ("every-user-id-revoked", NOW, "00 unbound, 0c 10950d", "n", ""),
        ("revoked-in-the-same-second", NOW, "00 unbound, 0c 10950d", "n", ""),
        ("revoked-and-certified-again", NOW, "03 10950d, 0c 10950d", "y", ""),
        ("a-user-attribute-too", NOW, "03 10950d, 0c 10950d", "yy", ""),
        ("revoked", NOW, "03 10950d revoked, 0c 10950d", "y", ""),
        ("sha1", NOW, "03 10950d weak, 0c 10950d weak", "y", "use SHA-1"),
        ("sha1-on-subkey", NOW, "03 10950d, 0c 10950d weak", "y", "use SHA-1"),
        ("md5", NOW, "00 unbound, 00 unbound", "n", "2 self-signatures do not verify and were not counted"),
        ("one-bad-signature-more", NOW, "03 10950d, 0c 10950d", "y", "1 self-signatures do not verify"),
        ("no-issuer", NOW, "00 unbound, 0c 10950d", "n", "they do not name who made them"),
        ("critical-unknown-subpacket", NOW, "00 unbound, 0c 10950d", "n", "they carry the critical"),
        ("signing-subkey", NOW, "03 10950d, 0c 10950d, 02 10950d", "y", ""),
        ("signing-subkey-without-back-signature", NOW, "03 10950d, 0c 10950d, 00 10950d", "y", "not signed"),
        ("signed-back-by-another", NOW, "03 10950d, 00 10950d", "y", "has not signed for the primary key"),
        ("signs-and-encrypts", NOW, "03 10950d, 0c 10950d", "y", "has not signed for the primary key"),
        ("unbound-subkey", NOW, "03 10950d, 0c 10950d, 00 unbound", "y", ""),
        ("revoked-by-whom-it-names", NOW, "03 10950d revoked, 0c 10950d", "y", "designated revoker has"),
        ("revoked-by-whom-it-does-not-name", NOW, "03 10950d, 0c 10950d", "y", ""),
        ("revoked-by-whom-it-names-in-another-form", NOW, "03 10950d, 0c 10950d", "y", ""),
        ("revoked-by-anybody", NOW, "03 10950d, 0c 10950d", "y", ""),
    ],
)  # fmt: skip
def test_what_self_signatures_say(
    name: str, now: datetime | None, standings: str, identities: str, notes: str
) -> None:
    key = parsing.read_one(writer.join(writer.public_of(OWN[name].packets())), "the key")
    found = validity.judge(key, now)
    parts = [key.primary.public, *(subkey.public for subkey in key.subkeys)]
    assert ", ".join(map(told, found.standings, parts)) == standings
    assert found.identities == tuple(letter == "y" for letter in identities)
    assert len(found.notes) == bool(notes), found.notes
    assert notes in "".join(found.notes)


def test_what_it_prefers_and_may_be_used_for() -> None:
    key = parsing.read_one(writer.join(writer.public_of(OWN["prefers"].packets())), "the key")
    primary, subkey = validity.judge(key, NOW).standings
    assert (primary.ciphers, subkey.ciphers) == ((9, 7), ())
    assert (primary.usable(2), primary.usable(4), subkey.usable(4), subkey.usable(2)) == (
        True,
        False,
        True,
        False,
    )
    part = primary.component
    assert not ComponentValidity(part, flags=2).usable(2), "not bound"
    assert not ComponentValidity(part, bound=True, flags=2, revoked=True).usable(2)


def test_only_the_direct_kind_binds_directly() -> None:
    """A certification's kind on the primary key, or a subkey's binding on a user id, binds nothing."""
    odd = Form([uid(Sig(BINDING, flags=3))], [(forms.E, (Sig(DIRECT, flags=12),))], direct=[CERT_SIGN])
    found = validity.judge(parsing.read_one(writer.join(writer.public_of(odd.packets())), "the key"), NOW)
    assert not any(one.bound for one in found.standings)
    assert found.notes == ()
