"""Who made a backup: only a signature inside, by a key that is named beforehand, says it."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable

import pgpy
import pytest

from pipeline.core.secret import Secret
from pipeline.sources.backups.engine import Expectations, SessionKey
from tests.component.backups.conftest import KEYS, Gpg, fingerprint, read
from tests.support import message_writer as writer
from tests.support import openpgp_writer

KEY = SessionKey(9, Secret(bytes(range(32))))
GetKey = Callable[[bytes, str], SessionKey | None]


def public(gpg: Gpg, name: str) -> bytes:
    return gpg.run("--export", fingerprint(name))


def signer(gpg: Gpg, message: bytes, session_key: GetKey, *names: str, by: str = "orgkey") -> str | None:
    """Who has signed it, of these."""
    key = session_key(message, "rsa2048")
    assert key is not None
    expected = Expectations(signers=tuple(public(gpg, name) for name in names))
    return read(message, key, by, expected=expected)[0].signed_by


@pytest.mark.parametrize("name", ["rsa2048", "ed25519", "nistp256"])
@pytest.mark.parametrize("size", [0, 1, 3_000_000])
@pytest.mark.parametrize("options", [(), ("--compress-algo", "none"), ("--digest-algo", "SHA512")])
def test_a_signature_inside_names_its_maker(
    gpg: Gpg, session_key: GetKey, name: str, size: int, options: tuple[str, ...]
) -> None:
    message = gpg.encrypt(bytes(size), "--local-user", fingerprint(name), "--sign", *options)
    others = [other for other in ("rsa2048", "ed25519", "nistp256") if other != name]
    assert signer(gpg, message, session_key, *others, name) == fingerprint(name)
    assert signer(gpg, message, session_key, *others) is None
    assert signer(gpg, message, session_key) is None


def test_what_is_not_signed_has_no_maker(gpg: Gpg, session_key: GetKey) -> None:
    """Anybody who has the public key can make it."""
    message = gpg.encrypt(b"forged" * 1000)
    assert signer(gpg, message, session_key, "rsa2048") is None


def test_a_weak_digest_proves_nothing(gpg: Gpg, session_key: GetKey) -> None:
    options = ("--local-user", fingerprint("rsa2048"), "--sign", "--digest-algo", "SHA1")
    assert signer(gpg, gpg.encrypt(b"x", *options), session_key, "rsa2048") is None


def test_two_signatures_are_both_looked_at(gpg: Gpg, session_key: GetKey) -> None:
    makers = [word for name in ("ed25519", "rsa2048") for word in ("--local-user", fingerprint(name))]
    message = gpg.encrypt(b"x" * 5000, *makers, "--sign")
    assert signer(gpg, message, session_key, "rsa2048") == fingerprint("rsa2048")
    assert signer(gpg, message, session_key, "ed25519") == fingerprint("ed25519")


def test_what_gpg_reads_has_no_maker(gpg: Gpg, session_key: GetKey) -> None:
    message = gpg.encrypt(b"x", "--local-user", fingerprint("rsa2048"), "--sign")
    assert signer(gpg, message, session_key, "rsa2048", by="gnupg") is None


def test_a_signer_s_file_that_is_not_a_key_takes_nothing_away(gpg: Gpg, session_key: GetKey) -> None:
    message = gpg.encrypt(b"x", "--local-user", fingerprint("rsa2048"), "--sign")
    key = session_key(message, "rsa2048")
    assert key is not None
    several = public(gpg, "rsa2048") + public(gpg, "ed25519")
    expected = Expectations(signers=(b"not a key", several, public(gpg, "rsa2048")))
    assert read(message, key, expected=expected)[0].signed_by == fingerprint("rsa2048")


@pytest.mark.parametrize("announced", [True, False])
def test_a_signature_over_nothing_does_not_sign_what_stands_before_it(gpg: Gpg, announced: bool) -> None:
    """One of an empty file is easily had; a hash that begins behind the content is of nothing, too."""
    options = ("--local-user", fingerprint("rsa2048"), "--digest-algo", "SHA512", "--compress-algo", "none")
    before, nothing, made = openpgp_writer.split(gpg.run(*options, "--sign"))
    assert (before[0], nothing[0], made[0]) == (4, 11, 2)
    signature = openpgp_writer.join([before, made] if announced else [made])
    expected = Expectations(signers=(public(gpg, "rsa2048"),))
    for content, maker in ((b"", fingerprint("rsa2048")), (b"forged", None)):
        inner = writer.literal(content) + signature
        inner = inner if content or not announced else openpgp_writer.join([before, nothing, made])
        message = writer.message(writer.protected(inner, KEY.key.reveal()))
        assert read(message, KEY, expected=expected)[0].signed_by == maker


def test_a_revoked_signer_proves_nothing(gpg: Gpg, session_key: GetKey) -> None:
    message = gpg.encrypt(b"x", "--local-user", fingerprint("ed25519"), "--sign")
    key = session_key(message, "rsa2048")
    assert key is not None
    revoked, _ = pgpy.PGPKey.from_file(str(KEYS / "ed25519-unprotected.asc"))
    revoked |= revoked.revoke(revoked)
    for known, maker in ((public(gpg, "ed25519"), fingerprint("ed25519")), (bytes(revoked.pubkey), None)):
        assert read(message, key, expected=Expectations(signers=(known,)))[0].signed_by == maker


LONG = "srv/" + "d" * 120 + "/" + "f" * 120 + ".sql"


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize("by", ["orgkey", "gnupg"])
def test_expected_entries_are_looked_for(gpg: Gpg, session_key: GetKey, form: int, by: str) -> None:
    out = io.BytesIO()
    names = ["./settings.xml", "db/users.sql", *([] if form == tarfile.USTAR_FORMAT else [LONG])]
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for at, name in enumerate(names):
            info = tarfile.TarInfo(name)
            info.size, info.mtime = 10, 1_700_000_000 + at
            tar.addfile(info, io.BytesIO(bytes(10)))
    message = gpg.encrypt(out.getvalue())
    key = session_key(message, "rsa2048")
    assert key is not None
    wanted = ("settings.xml", "db/*", "*/none.xml", "srv/*.sql")
    found = read(message, key, by, expected=Expectations(wanted))[0].found
    lacks = ("*/none.xml",) if len(names) == 3 else ("*/none.xml", "srv/*.sql")
    assert (found.missing, found.newest) == (lacks, 1_700_000_000 + len(names) - 1)
    plain = gpg.encrypt(b"x" * 5000)
    key = session_key(plain, "rsa2048")
    assert key is not None
    assert read(plain, key, by, expected=Expectations(wanted))[0].found.missing == wanted
