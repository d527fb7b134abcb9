"""Forms of messages that are rare: opened, or named; never called an alteration."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.clock import Deadline
from pipeline.core.errors import Degraded, IntegrityProblem, OrgkeyError, Unsupported
from pipeline.core.secret import Secret
from pipeline.openpgp.format.packets import join
from pipeline.openpgp.key import parsing
from pipeline.openpgp.proofs.renewal import signed_anew
from pipeline.sources.backups import message_header, read_backup, session_keys
from pipeline.sources.backups.byte_stream import of_bytes
from pipeline.sources.backups.engine import SessionKey
from pipeline.sources.backups.session_keys import SessionKeys
from pipeline.sources.backups.sources import BackupFile
from pipeline.sources.backups.worker_client import WorkerClient
from tests.component.backups.conftest import KEYS, fingerprint, read
from tests.support import message_writer as writer
from tests.support import openpgp_writer
from tests.support.key_forms import FORMS

MESSAGES = KEYS.with_name("messages")
TEXT = b"".join(b"user %d has a key\n" % number for number in range(40))
AES256 = SessionKey(9, Secret(bytes(range(32))))
SESSION_KEYS = {
    "b18b-zip-dummy-byte": "c372cfb194ebb8bac81a6a46b29066eb7cf66a76160c24bc200bc96387303a11",
    "b18c-zlib-noadler": "c372cfb194ebb8bac81a6a46b29066eb7cf66a76160c24bc200bc96387303a11",
    "b21a-compressed-outside": "cce9306a02137b301e39439e38321c0a58b7fa5514ebd4e6d8960d377e99650a",
    "b21b-signed-outside": "cce9306a02137b301e39439e38321c0a58b7fa5514ebd4e6d8960d377e99650a",
    "b23-bc1027-zero-part": "cce9306a02137b301e39439e38321c0a58b7fa5514ebd4e6d8960d377e99650a",
}


@pytest.fixture(scope="module")
def aead_keys() -> dict[str, SessionKey]:
    """The session keys of all that is authenticated, by one gpg."""
    found = {}
    pair = (KEYS / "rsa2048-unprotected.asc").read_bytes()
    with SessionKeys(pair, Secret(b""), fingerprint("rsa2048"), Deadline(60)) as opened:
        for path in [*MESSAGES.glob("gpg24-*.pgp"), *MESSAGES.glob("rnp-*.pgp")]:
            key = opened.session_key(message_header.read(of_bytes(path.read_bytes())))
            assert key is not None, path
            found[path.stem] = key
    return found


@pytest.mark.parametrize(
    "name",
    ["gpg24-ocb", "gpg24-ocb-chunks", "gpg24-ocb-even", "rnp-ocb", "rnp-ocb-big", "rnp-eax", "rnp-eax-big"],
)
def test_authenticated_messages_are_opened(name: str, aead_keys: dict[str, SessionKey]) -> None:
    expected = TEXT
    if name.endswith(("big", "chunks")):
        expected = random.Random(1).randbytes(5000)  # noqa: S311 - the same in every run
    elif name.endswith("even"):
        expected = random.Random(2).randbytes(4088)  # noqa: S311
    data = (MESSAGES / f"{name}.pgp").read_bytes()
    found, plain = read(data, aead_keys[name])
    assert (plain, found.integrity, found.engine) == (expected, "aead", "orgkey")
    with pytest.raises(IntegrityProblem):
        read(data + b"more", aead_keys[name])
    with pytest.raises(IntegrityProblem, match="integrity code is wrong"):
        read(data, SessionKey(9, Secret(bytes(32))))


@pytest.mark.parametrize("path", sorted((MESSAGES / "makers").iterdir()), ids=lambda path: path.stem)
def test_a_message_of_each_maker(path: Path, session_key: Callable[[bytes, str], SessionKey | None]) -> None:
    """Opened to its end, or refused with its form: not taken for another key's, nor for an altered one."""
    data = path.read_bytes()
    name = "ed25519" if path.stem.endswith("binary") else "rsa2048"
    if path.stem == "openpgpjs6-aead":
        with pytest.raises(Unsupported, match="in the form of RFC 9580"):
            session_key(data, name)
        return
    key = session_key(data, name)
    assert key is not None
    found, plain = read(data, key)
    assert plain.replace(b"\r\n", b"\n") == TEXT
    assert found.integrity == ("aead" if path.stem.endswith(("aead", "ocb")) else "mdc")


@pytest.mark.parametrize("refused", ["every self-signature", "the subkey's alone"])
def test_a_key_whose_self_signatures_gpg_refuses_opens_what_is_for_it(refused: str) -> None:
    """PGPy signs P-521 with SHA-256, which other programs take; gpg, which opens messages here, does not."""
    import pysequoia

    pair = (KEYS / "makers" / "pgpy-nistp521.asc").read_bytes()
    word = Secret(openpgp_writer.PASSPHRASE)
    key = parsing.read_one(pair, "the key")
    message = pysequoia.encrypt(TEXT, [pysequoia.Cert.from_bytes(key.public())], armor=False)
    if refused == "the subkey's alone":
        anew = parsing.read_one(signed_anew(pair, word), "the copy")
        key = replace(anew, subkeys=key.subkeys)
    with SessionKeys(
        join(key.packets(one.packet for one in key.components)), word, key.fingerprint, Deadline(60)
    ) as opened:
        session = opened.session_key(message_header.read(of_bytes(message)))
    assert session is not None
    assert read(message, session)[1] == TEXT


@pytest.mark.parametrize("form", ["issuer-hashed", "critical-key-server-preferences"])
def test_a_form_of_key_that_gpg_alone_refuses_opens_what_is_for_it(form: str) -> None:
    message = (MESSAGES / "makers" / "rnp-bzip2.pgp").read_bytes()
    pair, word = FORMS[form].export(), Secret(openpgp_writer.PASSPHRASE)
    with SessionKeys(pair, word, parsing.read_one(pair, "the key").fingerprint, Deadline(60)) as opened:
        assert opened.session_key(message_header.read(of_bytes(message))) is not None


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from(["gpg24-ocb-chunks", "rnp-eax-big", "rnp-ocb"]))
def test_no_change_of_an_authenticated_message_is_ever_good(
    aead_keys: dict[str, SessionKey], data: st.DataObject, name: str
) -> None:
    message = bytearray((MESSAGES / f"{name}.pgp").read_bytes())
    start = 271  # behind the recipient's packet
    at = data.draw(st.integers(start, len(message) - 1))
    if data.draw(st.booleans()):
        message[at] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del message[at:]
    with pytest.raises(OrgkeyError):
        read(bytes(message), aead_keys[name])


@pytest.mark.parametrize("by", ["orgkey", "gnupg"])
@pytest.mark.parametrize("name", sorted(SESSION_KEYS))
def test_odd_wrappings_and_tails_are_opened(name: str, by: str) -> None:
    key = SessionKey(9, Secret(bytes.fromhex(SESSION_KEYS[name])))
    found, _ = read((MESSAGES / f"{name}.pgp").read_bytes(), key, by)
    assert (found.integrity, found.found.size) == ("mdc", 20480)


def test_a_tail_is_the_maker_s_only_where_a_code_says_so() -> None:
    inside = writer.compressed(writer.literal(TEXT), writer.ZIP)
    tail = inside[:1] + bytes([inside[1] + 1]) + inside[2:] + b"x"
    assert read(writer.message(writer.protected(tail, AES256.key.reveal())), AES256)[1] == TEXT
    with pytest.raises(IntegrityProblem, match="follows"):
        read(writer.message(writer.unprotected(tail, AES256.key.reveal())), AES256)


def stored(folder: Path, data: bytes) -> BackupFile:
    (folder / "backup.pgp").write_bytes(data)
    return BackupFile(folder / "backup.pgp")


def verified(folder: Path, data: bytes) -> Any:
    source = stored(folder, data)
    with WorkerClient() as reader:
        return read_backup.read(
            source, read_backup.header_of(source), AES256, reader, deadline=Deadline(60)
        ).result()


@pytest.mark.parametrize(
    ("inside", "told"),
    [
        (writer.message(writer.protected(writer.literal(b"x"), bytes(32))), "encrypted twice"),
        (writer.protected(writer.literal(b"x"), bytes(32)), "encrypted twice"),
        (writer.literal(b"x") + writer.literal(b"y"), "more than one content"),
        (writer.Framing().packet(8, b"\x09xyz"), "compressed with algorithm 9"),
    ],
)
def test_an_unknown_form_inside_is_19_and_named(inside: bytes, told: str, tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match=told):
        verified(tmp_path, writer.message(writer.protected(inside, AES256.key.reveal())))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (
            writer.Framing().packet(3, b"\x04\x09\x00\x08") + writer.protected(b"", bytes(32)),
            "a passphrase alone",
        ),
        (writer.literal(b"x"), "data that is not encrypted"),
        (writer.compressed(writer.literal(b"x"), writer.ZIP), "data that is not encrypted"),
        (writer.Framing().packet(8, b"\x09xyz"), "compressed with algorithm 9"),
        (writer.Framing().packet(6, bytes(20)), "a public key"),
    ],
)
def test_a_message_of_another_kind_is_19_and_named(data: bytes, told: str, tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match=told):
        read_backup.header_of(stored(tmp_path, data))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (["9:" + "00" * 32], (9, 32)),
        (["9.2:" + "00" * 32], (9, 32)),
        (["9.x:00"], None),
        (["9:0"], None),
        ([], None),
        (["9:00", "more"], None),
    ],
)
def test_a_session_key_is_parsed_or_the_failure_named(
    line: list[str], expected: tuple[int, int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Gpg:
        def __init__(self, _: Deadline) -> None:
            pass

        def call(self, *_: str, **__: object) -> SimpleNamespace:
            return SimpleNamespace(lines=lambda word: [line])

    monkeypatch.setattr(session_keys, "GnuPG", Gpg)
    about = message_header.read(of_bytes(writer.message(writer.protected(b"", bytes(32)))))
    made = SessionKeys(b"", Secret(b""), "A" * 40, Deadline(60))
    if expected is None:
        with pytest.raises(Unsupported, match="form"):
            made.session_key(about)
    else:
        key = made.session_key(about)
        assert key is not None
        assert (key.algorithm, len(key.key)) == expected


def test_a_recipient_of_rfc_9580_is_named_by_key_and_version(
    session_key: Callable[[bytes, str], SessionKey | None],
) -> None:
    own = bytes.fromhex(fingerprint("rsa2048"))
    packet = writer.Framing().packet(1, b"\x06\x15\x04" + own + b"\x19" + bytes(72))
    message = packet + writer.Framing().packet(18, b"\x02\x09\x02\x06" + bytes(80))
    about = message_header.read(of_bytes(message))
    assert (about.key_ids, about.protection, about.newer) == ((own[-8:].hex().upper(),), "aead-2", True)
    with pytest.raises(Unsupported, match="RFC 9580"):
        session_key(message, "rsa2048")


# -- files in motion --------------------------------------------------------------------------------


def whole() -> bytes:
    return writer.message(writer.protected(writer.literal(bytes(50_000)), AES256.key.reveal()))


@pytest.mark.parametrize("kept", [0, 100, 300, 40_000])
def test_a_file_that_ends_too_early_and_changed_moments_ago_is_24(kept: int, tmp_path: Path) -> None:
    with pytest.raises(Degraded, match=r"it changed \d+ s ago, perhaps it is still being uploaded: it is"):
        verified(tmp_path, whole()[:kept])
    long_ago = time.time() - 3600
    stored(tmp_path, whole()[:kept])
    os.utime(tmp_path / "backup.pgp", (long_ago, long_ago))
    source = BackupFile(tmp_path / "backup.pgp")
    with pytest.raises(IntegrityProblem), WorkerClient() as reader:
        read_backup.read(
            source, read_backup.header_of(source), AES256, reader, deadline=Deadline(60)
        ).result()


def test_a_file_that_was_altered_is_23_however_new_it_is(tmp_path: Path) -> None:
    data = bytearray(whole())
    data[-1000] ^= 1
    with pytest.raises(IntegrityProblem, match="integrity code is wrong"):
        verified(tmp_path, bytes(data))


def test_a_file_that_changes_while_it_is_read_is_24(tmp_path: Path) -> None:
    data = bytearray(whole())
    data[-1000] ^= 1
    source = stored(tmp_path, bytes(data))
    about = read_backup.header_of(source)
    with pytest.raises(Degraded, match="it changed while it was read"), WorkerClient() as reader:
        read_backup.read(
            source, about, AES256, reader, deadline=Deadline(60),
            meter=lambda _: os.utime(tmp_path / "backup.pgp", (1, 1)),
        ).result()  # fmt: skip


def test_a_file_that_was_replaced_after_its_beginning_was_read_is_24(tmp_path: Path) -> None:
    source = stored(tmp_path, whole())
    about = read_backup.header_of(source)
    other = writer.message(writer.protected(writer.literal(bytes(60_000)), bytes(32)))
    (tmp_path / "new").write_bytes(other)
    (tmp_path / "new").rename(tmp_path / "backup.pgp")
    with pytest.raises(Degraded, match="it changed while it was read"), WorkerClient() as reader:
        read_backup.read(source, about, AES256, reader, deadline=Deadline(60)).result()
