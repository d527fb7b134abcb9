"""Classification: every row of how other programs write keys."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipeline.core.errors import Code, Expired, OrgkeyError, UsageProblem
from pipeline.core.exit_codes import INSPECT_PRECEDENCE
from pipeline.core.secret import Secret
from pipeline.openpgp.key.inspection import inspect
from pipeline.openpgp.key.rewrap import load
from tests.support import openpgp_writer as writer

Packets = Callable[[str], list[writer.Packet]]
Export = Callable[[str], bytes]

DOCUMENT = {
    "schema",
    "verdict",
    "exit_code",
    "fingerprint",
    "key_id",
    "user_ids",
    "algorithm",
    "created",
    "expires",
    "layout",
    "protection",
    "subkeys",
    "organization_certificates",
    "problems",
    "notes",
}


def codes(found: Any) -> list[int]:
    return [problem["code"] for problem in found.problems]


def blocks(text: str) -> tuple[str, str]:
    first, second = text.split("-----BEGIN PGP PUBLIC")
    return first, "-----BEGIN PGP PUBLIC" + second


def refused(data: bytes, code: Code, now: datetime, passphrase: Secret | None = None) -> str:
    """Inspect and load agree on the code; returns the first problem's message and hint."""
    found = inspect(data, passphrase=passphrase, now=now)
    assert found.code is code, found.problems
    assert set(found.document) == DOCUMENT
    assert found.document["verdict"] == code.label
    assert found.document["exit_code"] == code
    with pytest.raises(OrgkeyError) as caught:
        load(data, passphrase or Secret(writer.PASSPHRASE), pin=None, now=now)
    assert caught.value.code is code
    first = found.problems[0]
    assert first["hint"]
    return f"{first['message']} | {first['hint']}"


def test_the_products_layout(export: Export, passphrase: Secret, now: datetime) -> None:
    found = inspect(export("rsa4096-two-block"), passphrase=passphrase, now=now)
    assert found.ok
    document = found.document
    assert set(document) == DOCUMENT
    assert document["schema"] == "orgkey.inspect/1"
    assert (document["verdict"], document["exit_code"]) == ("ok", 0)
    assert document["fingerprint"] == "AE89C18CCF57B4288C563393CE33570546590FDC"
    assert document["key_id"] == "CE33570546590FDC"
    assert document["user_ids"] == ["rsa4096 Organization Key <keys@example.com>"]
    assert (document["algorithm"], document["layout"]) == ("RSA-4096", "two-block")
    assert (document["created"], document["expires"]) == ("2025-01-01T12:00:00Z", "2054-12-25T12:00:00Z")
    assert document["protection"] == {
        "state": "protected",
        "cipher": "AES-256",
        "s2k": "iterated-salted",
        "digest": "SHA-1",
        "count": 1_572_864,
        "checksum": "SHA-1",
    }
    assert [subkey["usage"] for subkey in document["subkeys"]] == [["encrypt"]]
    assert document["organization_certificates"] == document["problems"] == document["notes"] == []


def test_either_order_and_binary(export: Export, passphrase: Secret, now: datetime) -> None:
    text = export("rsa2048-two-block").decode()
    private, public = blocks(text)
    binary = writer.dearmor(private) + writer.dearmor(public)
    swapped = writer.dearmor(public) + writer.dearmor(private)
    states = set()
    for data in (text.encode(), (public + private).encode(), binary, swapped):
        key = load(data, passphrase, pin=None, now=now)
        states.add(key.key_state)
        assert key.summary()["layout"] == "two-block"
        assert key.original == data
    single = load(export("rsa2048-single"), passphrase, pin=None, now=now)
    assert single.summary()["layout"] == "single"
    assert states == {single.key_state}


def test_private_block_alone(export: Export, now: datetime) -> None:
    private, _ = blocks(export("rsa2048-two-block").decode())
    assert "export the public key too" in refused(private.encode(), Code.INCOMPLETE, now)


def test_public_only(export: Export, now: datetime) -> None:
    _, public = blocks(export("rsa2048-two-block").decode())
    assert "keypair" in refused(public.encode(), Code.PUBLIC_ONLY, now)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: (
            "\n\n  \nsome comment\n" + text.replace("-----BEGIN PGP PUBLIC", "\nmore\n-----BEGIN PGP PUBLIC")
        ),
        lambda text: "\n".join(line for line in text.split("\n") if not line.startswith("=")),
        lambda text: text.replace("Version: Encryption Server 3.4.2 (Build 1)", "Version: ÄÖÜ 1.0 (x=y)"),
    ],
)
def test_forms_of_text(
    change: Callable[[str], str], export: Export, passphrase: Secret, now: datetime
) -> None:
    data = change(export("rsa2048-two-block").decode()).encode()
    assert inspect(data, passphrase=passphrase, now=now).ok


def test_damage(export: Export, now: datetime) -> None:
    text = export("rsa2048-two-block").decode()
    middle = text.index("\n\n") + 200
    flipped = text[:middle] + ("A" if text[middle] != "A" else "B") + text[middle + 1 :]
    crc = text.index("\n=") + 2
    wrong_crc = text[:crc] + ("A" if text[crc] != "A" else "B") + text[crc + 1 :]
    for bad in (flipped, wrong_crc, text[: len(text) // 3], text[:-200]):
        refused(bad.encode(), Code.NOT_A_KEY, now)
    binary = writer.dearmor(text)
    refused(binary[:-1], Code.NOT_A_KEY, now)
    refused(binary[: len(binary) // 2], Code.NOT_A_KEY, now)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"not a key",
        b"\x00" * 100,
        b"\xff" * 100,
        b"\xef\xbb\xbf",
        b"PK\x03\x04",
        b"\x89PNG\r\n\x1a\n",
    ],
)
def test_no_key(data: bytes, now: datetime) -> None:
    refused(data, Code.NOT_A_KEY, now)


def test_a_backup_is_named(now: datetime) -> None:
    data = writer.packet(1, b"\x03" + bytes(20), new=True) + writer.packet(18, bytes(30), new=True)
    assert "backup" in refused(data, Code.NOT_A_KEY, now)


def test_too_large(now: datetime) -> None:
    assert "more than any key" in refused(b"\x95" * (5 << 20), Code.NOT_A_KEY, now)


def test_unprotected(export: Export, now: datetime) -> None:
    data = export("rsa2048-unprotected")
    assert "--accept unprotected" in refused(data, Code.UNPROTECTED, now)
    key = load(data, Secret(b""), pin=None, accept=frozenset({"unprotected"}), now=now)
    assert key.fingerprint == inspect(data, now=now).fingerprint


def test_half_unprotected(packets: Packets, now: datetime, passphrase: Secret) -> None:
    found = packets("rsa2048")
    mixed = [(tag, writer.protect(body)) if tag == writer.SECRET_KEY else (tag, body) for tag, body in found]
    message = refused(writer.join(mixed), Code.UNPROTECTED, now, passphrase)
    assert "the subkey 79BD922D463301C6" in message
    assert "primary" not in message


def test_wrong_passphrase(export: Export, now: datetime) -> None:
    message = refused(export("rsa2048-two-block"), Code.WRONG_PASSPHRASE, now, Secret("nonsense"))
    assert "the primary key and the subkey 79BD922D463301C6" in message
    assert "nonsense" not in message


def test_different_passphrases(packets: Packets, now: datetime, passphrase: Secret) -> None:
    found = packets("rsa2048")
    mixed = [
        (tag, writer.protect(body, writer.PASSPHRASE if tag == writer.SECRET_KEY else b"other"))
        if tag in (writer.SECRET_KEY, writer.SECRET_SUBKEY)
        else (tag, body)
        for tag, body in found
    ]
    message = refused(writer.join(mixed), Code.WRONG_PASSPHRASE, now, passphrase)
    assert "does not open the subkey 79BD922D463301C6, though it opens the primary key" in message


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        (b"x\r", "carriage return"),
        (b"x\r\n", "carriage return"),
        (b"x\n", "line feed"),
        (b" x", "white space"),
    ],
)
def test_hints_at_the_edges(given: bytes, hint: str, export: Export, now: datetime) -> None:
    assert hint in refused(export("ed25519-two-block"), Code.WRONG_PASSPHRASE, now, Secret(given))


@pytest.mark.parametrize(
    "written", ["schlüssel".encode(), "schlu\u0308ssel".encode(), "schlüssel".encode("latin-1")]
)
@pytest.mark.parametrize(
    "given", ["schlüssel".encode(), "schlu\u0308ssel".encode(), "schlüssel".encode("latin-1")]
)
def test_encodings_of_a_passphrase(written: bytes, given: bytes, packets: Packets, now: datetime) -> None:
    data = writer.two_block(packets("ed25519"), written).encode()
    assert load(data, Secret(given), pin=None, now=now).key_id == "08E6316C03A0DB7D"


# --- 13: checksums, and numbers that do not fit ---


def spoilt(packets: list[writer.Packet], how: writer.Protection, change: Callable[[bytes], bytes]) -> bytes:
    """The primary key's secret numbers changed, with a checksum that fits the change."""
    done = []
    for tag, body in packets:
        if tag == writer.SECRET_KEY:
            clear = change(body[writer.public_size(body) + 1 : -2])
            done.append((tag, writer.protect(body, how=how, secret=clear)))
        elif tag == writer.SECRET_SUBKEY:
            done.append((tag, writer.protect(body, how=how)))
        else:
            done.append((tag, body))
    return writer.join(done)


@pytest.mark.parametrize("usage", [0, 254, 255])
@pytest.mark.parametrize(
    "name", ["rsa2048", "dsa2048", "nistp256", "nistp521", "brainpoolp256", "secp256k1", "ed25519"]
)
def test_secret_and_public_do_not_fit(
    name: str, usage: int, packets: Packets, now: datetime, passphrase: Secret
) -> None:
    how = writer.Protection(usage=usage)
    data = spoilt(packets(name), how, lambda clear: clear[:-1] + bytes([clear[-1] ^ 2]))
    assert "the primary key: its secret numbers do not belong" in refused(
        data, Code.NOT_A_KEY, now, passphrase
    )


def test_subkey_does_not_fit(packets: Packets, now: datetime, passphrase: Secret) -> None:
    for name in ("ed25519", "dsa2048", "nistp384"):
        done = []
        for tag, body in packets(name):
            if tag == writer.SECRET_SUBKEY:
                clear = body[writer.public_size(body) + 1 : -2]
                body = writer.protect(body, secret=clear[:-1] + bytes([clear[-1] ^ 64]))
            elif tag == writer.SECRET_KEY:
                body = writer.protect(body)
            done.append((tag, body))
        message = refused(writer.join(done), Code.NOT_A_KEY, now, passphrase)
        assert message.startswith("the subkey")


def test_wrong_checksum_is_damage_when_the_passphrase_is_right(
    packets: Packets, now: datetime, passphrase: Secret
) -> None:
    done = writer.protect_all(packets("rsa2048"))
    tag, body = done[0]
    for at in (-1, -100):  # in the checksum, and in the numbers
        broken = body[:at] + bytes([body[at] ^ 1]) + (body[at + 1 :] if at != -1 else b"")
        message = refused(writer.join([(tag, broken), *done[1:]]), Code.NOT_A_KEY, now, passphrase)
        assert "checksum" in message


def test_wrong_checksum_of_an_unprotected_key(packets: Packets, now: datetime) -> None:
    tag, body = packets("rsa2048")[0]
    broken = writer.join([(tag, body[:-1] + bytes([body[-1] ^ 1])), *packets("rsa2048")[1:]])
    assert "checksum" in refused(broken, Code.NOT_A_KEY, now)


def test_sixteen_bit_checksums_cannot_tell(packets: Packets, now: datetime) -> None:
    data = writer.single(packets("rsa2048"), how=writer.Protection(usage=255)).encode()
    assert "16-bit" in refused(data, Code.WRONG_PASSPHRASE, now, Secret("wrong"))


# --- 14 and 18 ---


def test_pin(export: Export, passphrase: Secret, now: datetime) -> None:
    data = export("rsa2048-two-block")
    own = inspect(data, now=now).fingerprint
    assert own is not None
    spaced = " ".join(own[at : at + 4] for at in range(0, 40, 4)).lower()
    for pin in (own, own.lower(), "0x" + own, spaced):
        assert load(data, passphrase, pin=pin, now=now).fingerprint == own
    other = "A" * 40
    found = inspect(data, pin=other, now=now)
    assert found.code is Code.NOT_PINNED
    assert own in found.problems[0]["message"]
    assert found.fingerprint == own
    with pytest.raises(UsageProblem):
        inspect(data, pin=own[-16:], now=now)


def test_several_keys(export: Export, packets: Packets, passphrase: Secret, now: datetime) -> None:
    one, two = writer.protect_all(packets("rsa2048")), writer.protect_all(packets("ed25519"))
    binary = writer.join([*one, *two])
    together = writer.armor(binary, "PRIVATE KEY BLOCK").encode()
    apart = export("rsa2048-two-block") + export("ed25519-two-block")
    first = inspect(export("rsa2048-two-block"), now=now).fingerprint
    for data in (binary, together, apart):
        message = refused(data, Code.SEVERAL_KEYS, now)
        assert first is not None
        assert first in message
        chosen = load(data, passphrase, pin=first, now=now)
        assert chosen.fingerprint == first
        assert len(chosen.original) < len(data)
        assert load(chosen.original, passphrase, pin=None, now=now).key_state == chosen.key_state
        assert any("1 other key in the file was ignored" in note for note in chosen.notes)
        assert codes(inspect(data, pin="B" * 40, now=now)) == [18, 14]


def test_foreign_public_key_is_ignored(export: Export, passphrase: Secret, now: datetime) -> None:
    _, foreign = blocks(export("ed25519-two-block").decode())
    data = foreign.encode() + export("rsa2048-two-block")
    found = inspect(data, passphrase=passphrase, now=now)
    assert found.ok
    assert any("1 other key in the file was ignored" in note for note in found.document["notes"])
    pinned = inspect(foreign.encode(), now=now).fingerprint
    assert inspect(data, pin=pinned, now=now).code is Code.PUBLIC_ONLY


# --- 15 ---


def test_expired(export: Export, passphrase: Secret, now: datetime) -> None:
    data = export("expired-two-block")
    assert "expired at 2026-01-01T12:00:00Z" in refused(data, Code.EXPIRED, now)
    assert codes(inspect(data, now=now)) == [15]
    assert load(data, passphrase, pin=None, accept=frozenset({"expired"}), now=now).key_id
    before = now - timedelta(days=300)
    assert inspect(data, now=before).ok


def test_renewed(export: Export, now: datetime) -> None:
    old, new = inspect(export("expired-two-block"), now=now), inspect(export("renewed-two-block"), now=now)
    assert old.fingerprint == new.fingerprint
    assert new.ok
    # Before the renewal only the older self-signature counts.
    both = export("expired-two-block") + export("renewed-two-block")
    early = inspect(both, now=datetime(2025, 6, 1, tzinfo=UTC))
    assert early.ok
    assert inspect(both, now=now).document["expires"] == new.document["expires"]
    assert early.document["expires"] == "2026-01-01T12:00:00Z"


def test_not_yet_valid(export: Export, passphrase: Secret) -> None:
    early = datetime(2024, 1, 1, tzinfo=UTC)
    data = export("rsa2048-two-block")
    assert "not yet valid" in refused(data, Code.EXPIRED, early)
    assert codes(inspect(data, now=early)) == [15]
    assert load(data, passphrase, pin=None, accept=frozenset({"expired"}), now=early)


def test_revoked_in_the_second_block(export: Export, passphrase: Secret, now: datetime) -> None:
    data = export("revoked-two-block")
    assert "revoked" in refused(data, Code.EXPIRED, now)
    with pytest.raises(Expired, match="revoked"):
        load(
            data, passphrase, pin=None, accept=frozenset({"expired", "unprotected", "certificates"}), now=now
        )


def test_revocation_certificate_as_a_block_of_its_own(export: Export, now: datetime) -> None:
    private, public = blocks(export("revoked-two-block").decode())
    found = writer.split(writer.dearmor(public))
    assert [tag for tag, _ in found[:3]] == [writer.PUBLIC_KEY, writer.SIGNATURE, writer.USER_ID]
    revocation = writer.armor(writer.join([found[1]]), "PUBLIC KEY BLOCK")
    rest = private + writer.armor(writer.join([found[0], *found[2:]]), "PUBLIC KEY BLOCK")
    assert inspect(rest.encode(), now=now).ok
    for data in (rest + revocation, revocation + rest):
        refused(data.encode(), Code.EXPIRED, now)
    assert inspect(revocation.encode(), now=now).code is Code.NOT_A_KEY


# --- 16 ---


def stub(body: bytes, mode: int) -> bytes:
    tail = b"\x10" + bytes(16) if mode == 2 else b""
    return body[: writer.public_size(body)] + b"\xff\x00\x65\x02GNU" + bytes([mode]) + tail


@pytest.mark.parametrize(("mode", "word"), [(1, "gnu-dummy"), (2, "smart card")])
@pytest.mark.parametrize("which", [writer.SECRET_KEY, writer.SECRET_SUBKEY])
def test_stubs(which: int, mode: int, word: str, packets: Packets, now: datetime) -> None:
    data = writer.join(
        (tag, stub(body, mode) if tag == which else writer.protect(body))
        if tag in (writer.SECRET_KEY, writer.SECRET_SUBKEY)
        else (tag, body)
        for tag, body in packets("rsa2048")
    )
    assert word in refused(data, Code.INCOMPLETE, now)


def test_a_real_secret_is_preferred_to_a_stub(packets: Packets, now: datetime, passphrase: Secret) -> None:
    whole = packets("rsa2048")
    stubs = writer.join(
        (tag, stub(body, 1)) if tag in (writer.SECRET_KEY, writer.SECRET_SUBKEY) else (tag, body)
        for tag, body in whole
    )
    assert load(stubs + writer.join(writer.protect_all(whole)), passphrase, pin=None, now=now)


def test_missing_secret_of_a_subkey(packets: Packets, now: datetime) -> None:
    whole = packets("rsa2048")
    without = [one for one in whole if one[0] != writer.SECRET_SUBKEY]
    data = writer.two_block(without, public=writer.public_of(whole)).encode()
    assert "the secret part of the subkey 79BD922D463301C6 is missing" in refused(data, Code.INCOMPLETE, now)


def test_foreign_subkey_is_left_out(packets: Packets, passphrase: Secret, now: datetime) -> None:
    whole = packets("rsa2048")
    foreign = [one for one in writer.public_of(packets("ed25519")) if one[0] == writer.PUBLIC_SUBKEY]
    data = writer.two_block(whole, public=[*writer.public_of(whole), *foreign]).encode()
    key = load(data, passphrase, pin=None, now=now)
    assert len(key.summary()["subkeys"]) == 1
    assert any("left out" in note for note in key.notes)


def test_no_user_id(packets: Packets, now: datetime) -> None:
    found = packets("rsa2048")
    # The signature on the user id goes with it.
    data = writer.single([found[0], *found[3:]]).encode()
    assert "no user id" in refused(data, Code.INCOMPLETE, now)


def test_forged_self_signature(packets: Packets, now: datetime) -> None:
    found = packets("rsa2048")
    other_uid = [(tag, b"Mallory <m@example.com>" if tag == writer.USER_ID else body) for tag, body in found]
    assert "genuine self-signature" in refused(writer.single(other_uid).encode(), Code.INCOMPLETE, now)
    for name in ("rsa2048", "dsa2048", "nistp256", "ed25519"):
        found = packets(name)
        tag, body = found[2]
        forged = writer.single([*found[:2], (tag, body[:-1] + bytes([body[-1] ^ 1])), *found[3:]]).encode()
        refused(forged, Code.INCOMPLETE, now)


def test_unsigned_user_ids_are_noted(packets: Packets, passphrase: Secret, now: datetime) -> None:
    found = packets("rsa2048")
    data = writer.single([*found[:3], (writer.USER_ID, b"nobody signed this"), *found[3:]]).encode()
    key = load(data, passphrase, pin=None, now=now)
    assert any("without a self-signature" in note for note in key.notes)


def test_cannot_encrypt(packets: Packets, now: datetime) -> None:
    assert "cannot encrypt" in refused(writer.single(packets("rsa2048")[:3]).encode(), Code.INCOMPLETE, now)


def test_cannot_sign(packets: Packets, now: datetime) -> None:
    data = writer.single(packets("certify-only")).encode()
    assert "cannot sign" in refused(data, Code.INCOMPLETE, now)


def test_signing_subkey_must_sign_back(packets: Packets, passphrase: Secret, now: datetime) -> None:
    found = packets("signing-subkey")
    key = load(writer.single(found).encode(), passphrase, pin=None, now=now)
    assert [subkey["usage"] for subkey in key.summary()["subkeys"]] == [["encrypt"], ["sign"]]
    tag, body = found[-1]
    assert tag == writer.SIGNATURE
    hashed = 6 + int.from_bytes(body[4:6], "big")
    unhashed = int.from_bytes(body[hashed : hashed + 2], "big")
    bare = body[:hashed] + b"\0\0" + body[hashed + 2 + unhashed :]
    found[-1] = (tag, bare)
    assert "cannot sign" in refused(writer.single(found).encode(), Code.INCOMPLETE, now)


# --- 19 ---


def replaced(packets: list[writer.Packet], change: Callable[[bytes], bytes]) -> bytes:
    done = writer.protect_all(packets)
    return writer.join([(done[0][0], change(done[0][1])), *done[1:]])


@pytest.mark.parametrize(
    ("after", "word"),
    [
        (b"\xfd\x09\x02\x03\x08" + bytes(200), "AEAD"),
        (b"\xfe\x09\x04" + bytes(200), "Argon2"),
        (b"\xfe\x09\x02" + bytes(200), "string-to-key 2"),
        (b"\xfe\x09\x65\x02GNU\x03" + bytes(20), "GNU extension"),
        (b"\xfe\x0a\x03\x02" + bytes(200), "Twofish"),
        (b"\xfe\x63\x03\x02" + bytes(200), "number 99"),
        (b"\xfe\x09\x03\x63" + bytes(200), "digest"),
        (b"\x63" + bytes(200), "usage octet 99"),
    ],
)
def test_unknown_protections(after: bytes, word: str, packets: Packets, now: datetime) -> None:
    data = replaced(packets("rsa2048"), lambda body: body[: writer.public_size(body)] + after)
    message = refused(data, Code.UNSUPPORTED, now)
    assert word in message
    assert inspect(data, now=now).document["protection"]["state"] == "unsupported"


@pytest.mark.parametrize("version", [2, 3, 5, 6])
def test_other_versions(version: int, packets: Packets, now: datetime) -> None:
    data = replaced(packets("rsa2048"), lambda body: bytes([version]) + body[1:])
    assert f"version {version}" in refused(data, Code.UNSUPPORTED, now)


def test_unknown_algorithms_and_curves(packets: Packets, now: datetime) -> None:
    for data in (
        replaced(packets("rsa2048"), lambda body: body[:5] + b"\x63" + body[6:]),
        replaced(packets("nistp256"), lambda body: body[:7] + b"\x2b" + body[8:]),
        replaced(packets("ed25519"), lambda body: body[:5] + b"\x13" + body[6:]),
    ):
        refused(data, Code.UNSUPPORTED, now)
    subkey = [
        (tag, body[:5] + b"\x19" + body[6:]) if tag == writer.SECRET_SUBKEY else (tag, body)
        for tag, body in writer.protect_all(packets("ed25519"))
    ]
    assert "a subkey" in refused(writer.join(subkey), Code.UNSUPPORTED, now)


# --- several at once ---


def test_precedence(export: Export, packets: Packets, now: datetime) -> None:
    found = inspect(export("expired-two-block"), pin="C" * 40, passphrase=Secret("wrong"), now=now)
    assert codes(found) == [14, 12, 15]
    order = [int(code) for code in INSPECT_PRECEDENCE]
    assert codes(found) == sorted(codes(found), key=order.index)
    with pytest.raises(UsageProblem, match="everything"):
        load(export("expired-two-block"), Secret("x"), pin=None, accept=frozenset({"everything"}), now=now)


def test_text_from_the_key_cannot_drive_a_terminal(packets: Packets, now: datetime) -> None:
    nasty = [(tag, b"\x1b[2Jx\xff\n" if tag == writer.USER_ID else body) for tag, body in packets("rsa2048")]
    (shown,) = inspect(writer.single(nasty).encode(), now=now).document["user_ids"]
    assert shown.isprintable()
    assert shown == "\N{REPLACEMENT CHARACTER}[2Jx\xff\N{REPLACEMENT CHARACTER}"


def test_fingerprints_are_those_of_the_test_writer(export: Export, packets: Packets, now: datetime) -> None:
    for name in ("rsa2048", "dsa2048", "ed25519", "nistp384", "brainpoolp512"):
        document = inspect(export(f"{name}-two-block"), now=now).document
        expected = [writer.fingerprint(body) for tag, body in packets(name) if tag in (5, 7)]
        assert [document["fingerprint"], *(one["fingerprint"] for one in document["subkeys"])] == expected


def test_the_committed_keys_are_what_tests_expect(export: Export) -> None:
    # They are waited for by name and content in many places: a regenerated one should be noticed here.
    assert hashlib.sha256(export("rsa4096-two-block")).hexdigest()[:8] == "a236cd76"
