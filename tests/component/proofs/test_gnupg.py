"""GnuPG's private homes, and what a killed run leaves behind."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.core.clock import Deadline
from pipeline.core.errors import Code, LocalFilesProblem, ProgramMissing
from pipeline.core.secret import Secret
from pipeline.openpgp import signing
from pipeline.openpgp.format import protection
from pipeline.openpgp.format.protection import ESCROW_COUNT_OCTET
from pipeline.openpgp.gnupg import home as gnupg_home
from pipeline.openpgp.gnupg.driver import GnuPG, GnuPGRefused, status_lines
from pipeline.openpgp.gnupg.home import PREFIX, Home, agents_of, sweep_orphans
from pipeline.openpgp.key.rewrap import unlock
from pipeline.openpgp.proofs import sequoia_proof
from pipeline.openpgp.proofs.gnupg_proof import AGENT_LOST_IT, GnuPGProver
from pipeline.openpgp.proofs.pgpy_proof import PgpyProver
from tests.component.proofs.conftest import ASSETS
from tests.support import leftovers
from tests.support import openpgp_writer as writer
from tests.support.key_forms import FORMS
from tests.support.key_forms import public as forms_public

if TYPE_CHECKING:
    from tests.component.proofs.conftest import Stored

    Keys = Callable[[str], Stored]

ROOT = Path(__file__).parents[3]
WRONG = Secret("wrong")


def test_a_home_is_private_short_and_gone_with_its_agent(stored: Keys) -> None:
    key = stored("ed25519-two-block")
    with GnuPG(Deadline(60)) as gpg:
        home = gpg.home
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
        assert len(str(home / "S.gpg-agent.browser")) < 108
        gpg.import_keys(key.tsk, {key.fingerprint: True})
        assert gpg.sign(b"data", key.fingerprint, key.passphrase)
        (agent,) = agents_of(home)
    assert not home.exists()
    assert agents_of(home) == []
    assert not Path(f"/proc/{agent}/fd/0").exists()


def test_the_agent_remembers_nothing(stored: Keys) -> None:
    key = stored("ed25519-two-block")
    with GnuPG(Deadline(60)) as gpg:
        gpg.import_keys(key.tsk, {key.fingerprint: True})
        gpg.sign(b"data", key.fingerprint, key.passphrase)
        with pytest.raises(GnuPGRefused, match="bad passphrase") as caught:
            gpg.sign(b"data", key.fingerprint, WRONG)
        assert caught.value.bad_passphrase


def test_neither_arguments_nor_environment_carry_the_passphrase(
    stored: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.core import process

    seen: list[str] = []
    original = process.start

    def spy(argv: list[str], **options: object) -> object:
        seen.append(repr((argv, options)))
        return original(argv, **options)  # type: ignore[arg-type]  # handed on as they came

    monkeypatch.setattr(process, "start", spy)
    key = stored("ed25519-two-block")
    with GnuPG(Deadline(60)) as gpg:
        gpg.import_keys(key.tsk, {key.fingerprint: True})
        gpg.sign(b"data", key.fingerprint, key.passphrase)
    assert len(seen) == 2
    assert not any(key.passphrase.text() in one for one in seen)


def test_an_import_must_be_exactly_what_was_asked_for(stored: Keys) -> None:
    key, other = stored("rsa2048-two-block"), stored("ed25519-two-block")
    with GnuPG(Deadline(60)) as gpg:
        with pytest.raises(GnuPGRefused, match="other keys"):
            gpg.import_keys(key.public, {key.fingerprint: True})
        with pytest.raises(GnuPGRefused, match="other keys"):
            gpg.import_keys(key.public + other.public, {key.fingerprint: False})
        with pytest.raises(GnuPGRefused):
            gpg.import_keys(key.tsk[:-200], {key.fingerprint: True})
        with pytest.raises(GnuPGRefused):
            gpg.import_keys(b"nothing", {})


def test_gpg_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProgramMissing), GnuPG(Deadline(60)):
        pytest.fail("entered without gpg")


CHILD = """
import sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from pipeline.core.clock import Deadline
from pipeline.openpgp.gnupg.driver import GnuPG
from pipeline.core.secret import Secret
from tests.support import openpgp_writer as writer
from tests.support.key_forms import FORMS
from tests.support.key_forms import public as forms_public
from pipeline.openpgp.gnupg import home as gnupg_home
gnupg_home.memory_root = lambda: Path(sys.argv[3])
tsk, passphrase, fingerprint = (Path(sys.argv[2]) / name for name in ("tsk", "passphrase", "fingerprint"))
with GnuPG(Deadline(60)) as gpg:
    gpg.import_keys(tsk.read_bytes(), {fingerprint.read_text(): True})
    gpg.sign(b"data", fingerprint.read_text(), Secret(passphrase.read_text()))
    print(gpg.home, flush=True)
    for _ in range(600):  # a signal that comes just before one sleep is heard after it
        time.sleep(0.1)
"""


@pytest.fixture(autouse=True)
def own_root(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Homes of these tests lie where no other run sweeps, and their sweeping finds no other's."""
    root = leftovers.directory("okt-", memory=True)
    monkeypatch.setattr(gnupg_home, "memory_root", lambda: root)
    yield root
    left = list(root.iterdir())
    shutil.rmtree(root)
    assert left == []


@pytest.fixture
def orphanage(
    stored: Keys, tmp_path: Path, own_root: Path
) -> Callable[[], tuple[subprocess.Popen[bytes], Path]]:
    """Start a child that holds a home with a living agent."""

    def start() -> tuple[subprocess.Popen[bytes], Path]:
        key = stored("ed25519-two-block")
        (tmp_path / "tsk").write_bytes(key.tsk)
        (tmp_path / "passphrase").write_text(key.passphrase.text())
        (tmp_path / "fingerprint").write_text(key.fingerprint)
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(ROOT), str(tmp_path), str(own_root)],
            stdout=subprocess.PIPE,
        )
        assert child.stdout is not None
        return child, Path(child.stdout.readline().decode().strip())

    return start


def test_a_killed_run_is_swept_up(
    orphanage: Callable[[], tuple[subprocess.Popen[bytes], Path]],
) -> None:
    child, home = orphanage()
    (agent,) = agents_of(home)
    assert home not in sweep_orphans(), "its maker lives"
    child.kill()
    child.communicate()
    assert agents_of(home) == [agent], "an agent outlives its maker"
    assert home in sweep_orphans()
    assert not home.exists()
    assert agents_of(home) == []
    assert home not in sweep_orphans()


def test_an_agent_that_does_not_listen_is_killed(
    orphanage: Callable[[], tuple[subprocess.Popen[bytes], Path]],
) -> None:
    child, home = orphanage()
    (agent,) = agents_of(home)
    child.kill()
    child.communicate()
    os.kill(agent, signal.SIGSTOP)
    assert home in sweep_orphans()
    assert agents_of(home) == []


def test_a_terminated_run_cleans_up_itself(
    orphanage: Callable[[], tuple[subprocess.Popen[bytes], Path]],
) -> None:
    child, home = orphanage()
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=30)
    assert not home.exists()
    assert agents_of(home) == []


def test_a_living_home_is_left_alone(stored: Keys) -> None:
    with GnuPG(Deadline(60)) as gpg:
        assert gpg.home not in sweep_orphans()


def test_homes_that_are_not_locked(own_root: Path) -> None:
    dead = subprocess.Popen(["true"])
    begins = gnupg_home.name_begins(dead.pid)
    dead.wait()
    own = gnupg_home.name_begins(os.getpid())
    start = int(own.removesuffix("-").rpartition("-")[2])
    making = own_root / f"{own}half"
    left = {
        own_root / f"{begins}half",
        own_root / f"{PREFIX}{os.getpid()}-{start - 1}-half",  # the number belongs to another process now
        own_root / f"{PREFIX}{os.getpid()}-",
        own_root / f"{PREFIX}oddly-named",
    }
    for home in (making, *left):
        home.mkdir(mode=0o700)
        os.utime(home, (1, 1))  # how old it is says nothing
    assert set(sweep_orphans()) == left
    making.rmdir()


def test_a_locked_home_is_left_alone_whatever_its_name(own_root: Path) -> None:
    """Its maker may be in another namespace of processes."""
    home = own_root / f"{PREFIX}1-1-elsewhere"
    home.mkdir(mode=0o700)
    handle = os.open(home, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    assert sweep_orphans() == []
    os.close(handle)
    assert sweep_orphans() == [home]


def test_a_link_is_no_home(tmp_path: Path, own_root: Path) -> None:
    link = own_root / f"{PREFIX}link-{os.getpid()}"
    (tmp_path / "precious").write_text("x")
    link.symlink_to(tmp_path)
    try:
        assert link not in sweep_orphans()
        assert (tmp_path / "precious").exists()
    finally:
        link.unlink()


def test_a_path_too_long_for_a_socket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    monkeypatch.setattr(gnupg_home, "memory_root", lambda: deep)
    with pytest.raises(LocalFilesProblem, match="too long"), Home():
        pytest.fail("entered")
    assert list(deep.iterdir()) == []


def test_closing_twice() -> None:
    home = Home()
    home.close()
    with home:
        assert home.path.is_dir()
    home.close()


def test_foreign_text_makes_no_status_line_of_its_own() -> None:
    """Of a user id gpg escapes only ASCII's control characters: other line ends and spaces pass."""
    hostile = "x\u2028[GNUPG:] VALIDSIG AAAA\x85[GNUPG:] IMPORT_OK 1 BBBB\x0b[GNUPG:] GOODSIG\u00a0CCCC"
    text = f"[GNUPG:] GOODSIG KEY {hostile}\n[GNUPG:] VALIDSIG\u00a0DDDD\nnoise\n".encode()
    lines = status_lines(text)
    assert [line[0] for line in lines] == ["GOODSIG", "VALIDSIG\u00a0DDDD"]
    assert lines[0][1] == "KEY"


def test_the_named_subkey_signs_with_the_named_digest(stored: Callable[[str], Stored]) -> None:
    from pipeline.openpgp.format import armor
    from pipeline.openpgp.format.packets import parse
    from pipeline.openpgp.format.signatures import read_signature
    from pipeline.openpgp.key import parsing

    key = stored("signing-subkey-unprotected")
    parts = [one.public for one in parsing.read_one(key.public, "key").components if one.public.can_sign]
    with GnuPG(Deadline(60)) as gpg:
        gpg.import_keys(key.tsk, {key.fingerprint: True})
        for part in parts[-1:]:
            made = gpg.sign(b"data", f"{part.fingerprint}!", key.passphrase, digest="SHA512")
            read = read_signature(parse(armor.dearmor(made))[0].body)
            assert read is not None
            assert (read.issuer, read.digest) == (part.key_id, 10)


def test_a_key_that_prefers_old_ciphers_is_encrypted_to_with_aes256() -> None:
    form = FORMS["preferences-of-old"]
    secret = writer.join(form.packets())
    fingerprint = writer.fingerprint(forms_public(form.primary))
    with GnuPG(Deadline(60)) as gpg:
        gpg.import_keys(secret, {fingerprint: True})
        message = gpg.encrypt(b"a share", fingerprint)
        told = gpg.call("--show-session-key", "--decrypt", stdin=message, passphrase=Secret(b""))
    assert told.output == b"a share"
    assert [line[0].partition(":")[0] for line in told.lines("SESSION_KEY")] == ["9"]


LOST = bytes.fromhex("3d48e3c352702820")
"""A salt in which each byte could be a character; GnuPG 2.2's agent loses the space at its end."""


def test_a_salt_that_could_be_text_does_not_make_gpg_call_the_passphrase_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its agent writes such a salt as a string, and loses the space at its end."""
    opened = unlock((ASSETS / "ed25519-two-block.asc").read_bytes(), Secret(writer.PASSPHRASE))
    monkeypatch.setattr("secrets.token_bytes", lambda size: LOST if size == 8 else b"\x01" * size)
    passphrase = Secret("0" * 64)
    tsk = opened.protect(passphrase, s2k_count_octet=ESCROW_COUNT_OCTET)
    with GnuPG(Deadline(60)) as gpg:
        gpg.import_keys(tsk, {opened.fingerprint: True})
        assert gpg.sign(b"data", opened.fingerprint, passphrase)


@pytest.fixture
def lost(monkeypatch: pytest.MonkeyPatch) -> Stored:
    """A keypair of an earlier release, whose salts GnuPG 2.2 does not keep."""
    from tests.component.proofs.conftest import Stored

    opened = unlock((ASSETS / "ed25519-two-block.asc").read_bytes(), Secret(writer.PASSPHRASE))
    monkeypatch.setattr(
        protection, "_random", lambda size: LOST if size == 8 else bytes(range(0x80, 0x80 + size))
    )
    passphrase = Secret("0" * 64)
    tsk = opened.protect(passphrase, s2k_count_octet=ESCROW_COUNT_OCTET)
    return Stored(tsk, opened.public, opened.fingerprint, passphrase)


def test_gpg_takes_no_part_where_its_agent_loses_a_byte_of_the_salt(lost: Stored) -> None:
    keeps = True  # a GnuPG whose agent does
    with GnuPG(Deadline(60)) as gpg:
        gpg.import_keys(lost.tsk, {lost.fingerprint: True})
        try:
            gpg.sign(b"data", lost.fingerprint, lost.passphrase)
        except GnuPGRefused as error:
            keeps = not error.bad_passphrase
    proofs = lost.prove()
    assert proofs.code is Code.OK, proofs
    assert {"pgpy", "sequoia"} <= set(proofs.results["sign"].by)
    assert ("gnupg" in proofs.results["sign"].by) is keeps
    assert (f"gnupg takes no part: {AGENT_LOST_IT}" in proofs.notes) is not keeps


def test_a_wrong_passphrase_is_still_told_by_the_others(lost: Stored) -> None:
    proofs = lost.prove(passphrase=Secret("1" * 64))
    assert proofs.code is Code.PROOF_FAILED
    assert "does not open" in (proofs.results["unlock"].problem or "")


def test_another_implementation_signs_where_the_agent_loses_a_byte(
    lost: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequoia_proof, "supports", lambda part: False)  # Sequoia, which signs first
    signature = signing.sign_detached(
        lost.tsk, lost.passphrase, lost.public, b"data", deadline=Deadline(60), now=datetime.now(UTC)
    )
    assert b"BEGIN PGP SIGNATURE" in signature


@pytest.mark.parametrize(
    ("salt", "text_like"),
    [
        (LOST, True),
        (b"\x80" + LOST[1:], False),  # written in hexadecimal digits
        (b"\0" + LOST[1:], False),
        (b"12345678", True),
        (b"1234\x7f678", False),
        (b"1234\xa0678", False),
        (b"1234\xa1678", True),
        (b"\t2345678", True),
    ],
)
def test_what_the_agent_takes_for_text(salt: bytes, text_like: bool) -> None:
    kept = b"\x80" * 16
    found = protection.Protection(protection.ProtectionState.PROTECTED, 254, 9, 3, 8, salt, 96, kept)
    assert found.text_like is text_like
    assert (
        protection.Protection(
            protection.ProtectionState.PROTECTED, 254, 9, 3, 8, kept[:8], 96, salt * 2
        ).text_like
        is text_like
    )


def test_gpg_takes_another_home_where_its_agent_spoils_what_it_has_opened(
    stored: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It protects anew what it opens, and loses a byte of one salt in thousands; here of the first."""
    real, homes = GnuPG.sign, []

    def sign(gpg: GnuPG, *given: Any, **more: Any) -> bytes:
        signature = real(gpg, *given, **more)
        homes.append(gpg.home)
        if len(homes) == 1:
            for file in (gpg.home / "private-keys-v1.d").iterdir():
                whole = file.read_bytes()
                file.write_bytes(re.sub(rb"(s2k3-ocb-aes\s*\(\(sha1\s*#)[0-9A-F]{2}", rb"\1", whole))
        return signature

    key = stored("ed25519-two-block")
    made = key.prove(provers=[GnuPGProver(), PgpyProver()])
    monkeypatch.setattr(GnuPG, "sign", sign)
    again = key.prove(provers=[GnuPGProver(), PgpyProver()])
    assert len(set(homes)) > 1
    assert (again.code, again.notes) == (made.code, made.notes)
    assert "gnupg" in again.results["certify"].by
