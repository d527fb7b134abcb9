"""The proofs: every algorithm, every way in which they must fail, nothing that is skipped quietly."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline.core.clock import Deadline
from pipeline.core.errors import Code, DeadlinePassed
from pipeline.core.secret import Secret
from pipeline.openpgp.format.packets import build, join
from pipeline.openpgp.key import parsing
from pipeline.openpgp.proofs import Prestarted
from pipeline.openpgp.proofs.gnupg_proof import GnuPGProver
from pipeline.openpgp.proofs.interface import (
    DONE,
    Job,
    Made,
    Outcome,
    Prover,
    TakesNoPart,
    Task,
    Verdicts,
    produced,
    refuted,
)
from pipeline.openpgp.proofs.pgpy_proof import PgpyProver
from pipeline.openpgp.proofs.sequoia_proof import SequoiaProver

if TYPE_CHECKING:
    from tests.component.proofs.conftest import Stored

    Keys = Callable[[str], Stored]

ALL = ("gnupg", "pgpy", "sequoia")
TASKS = {"unlock", "fingerprint", "sign", "certify", "decrypt", "negative"}


@pytest.mark.parametrize(
    "name",
    ["rsa4096-two-block", "rsa2048-two-block", "ed25519-two-block", "nistp256-two-block",
     "nistp384-two-block",     "nistp521-two-block", "signing-subkey-unprotected", "renewed-two-block"],
)  # fmt: skip
def test_three_implementations_agree(stored: Keys, name: str) -> None:
    proofs = stored(name).prove()
    assert proofs.ok, proofs.problems
    assert set(proofs.results) == TASKS
    assert {task: proof.by for task, proof in proofs.results.items()} == dict.fromkeys(TASKS, ALL)
    assert proofs.single == ()
    assert proofs.code is Code.OK
    assert not proofs.expired_public
    assert set(proofs.seconds) == set(ALL)


def test_dsa_and_elgamal_decrypt_with_gnupg_alone(stored: Keys) -> None:
    proofs = stored("dsa2048-two-block").prove()
    assert proofs.ok, proofs.problems
    assert proofs.single == ("decrypt",)
    assert proofs.results["decrypt"].by == ("gnupg",)
    assert proofs.results["sign"].by == ALL
    assert proofs.code is Code.DEGRADED
    assert any(
        "pgpy takes no part in decrypt: does not support ElGamal-2048" in note for note in proofs.notes
    )
    assert stored("dsa2048-two-block").prove(single_ok=True).code is Code.OK


@pytest.mark.parametrize("name", ["brainpoolp256-two-block", "brainpoolp512-two-block"])
def test_curves_that_only_gnupg_knows(stored: Keys, name: str) -> None:
    proofs = stored(name).prove()
    assert proofs.ok, proofs.problems
    assert {"sign", "certify", "decrypt"} == set(proofs.single)
    assert proofs.results["sign"].by == ("gnupg",)
    assert proofs.results["unlock"].by == ("gnupg", "pgpy")
    assert any("gnupg judged itself in sign" in note for note in proofs.notes)
    assert any("sequoia takes no part" in note for note in proofs.notes)


def test_a_curve_that_sequoia_does_not_know(stored: Keys) -> None:
    proofs = stored("secp256k1-two-block").prove()
    assert proofs.ok, proofs.problems
    assert all(proof.by == ("gnupg", "pgpy") for proof in proofs.results.values())
    assert "sequoia takes no part: does not support ECDSA secp256k1" in proofs.notes


def test_sha1_self_signatures_are_no_failure_and_are_named(stored: Keys) -> None:
    proofs = stored("weak").prove()
    assert proofs.ok, proofs.problems
    assert proofs.single == ()
    assert proofs.results["sign"].by == ("gnupg", "pgpy")
    assert any("sequoia takes no part: its policy" in note for note in proofs.notes)


def test_an_expired_public_part_is_no_failure(stored: Keys) -> None:
    proofs = stored("expired-two-block").prove()
    assert proofs.ok, proofs.problems
    assert proofs.expired_public
    assert all(proof.by == ALL for proof in proofs.results.values())


def test_an_expired_key_with_the_live_public_part(stored: Keys) -> None:
    old, live = stored("expired-two-block"), stored("renewed-two-block")
    proofs = old.prove(public=live.public)
    assert proofs.ok, proofs.problems
    assert not proofs.expired_public
    assert all(proof.by == ALL for proof in proofs.results.values())


def test_a_revoked_key_can_still_be_proven(stored: Keys) -> None:
    proofs = stored("revoked-two-block").prove()
    assert proofs.ok, proofs.problems
    assert any("revoked" in note for note in proofs.notes)
    assert all(proof.by == ALL for proof in proofs.results.values())


def test_a_time_before_the_key_was_made(stored: Keys) -> None:
    proofs = stored("rsa2048-two-block").prove(now=datetime(2020, 1, 1, tzinfo=UTC))
    assert proofs.ok, proofs.problems


def test_a_wrong_passphrase_opens_nothing(stored: Keys) -> None:
    proofs = stored("rsa2048-two-block").prove(passphrase=Secret(secrets.token_hex(32)))
    assert not proofs.ok
    assert not any(proofs.results[task].ok for task in ("unlock", "sign", "certify", "decrypt"))
    problem = proofs.results["unlock"].problem or ""
    assert all(name in problem for name in ALL)


def test_another_key_under_the_pin(stored: Keys) -> None:
    wanted, other = stored("rsa2048-two-block"), stored("ed25519-two-block")
    proofs = other.prove(public=wanted.public, fingerprint=wanted.fingerprint)
    assert not any(proof.ok for proof in proofs.results.values())
    assert other.fingerprint in (proofs.results["fingerprint"].problem or "")
    assert not any(proof.ok for proof in other.prove(fingerprint=wanted.fingerprint).results.values())


def test_bytes_that_are_no_key(stored: Keys) -> None:
    proofs = stored("rsa2048-two-block").prove(tsk=b"\x00nothing")
    assert not any(proof.ok for proof in proofs.results.values())


def test_another_secret_under_the_right_public_numbers(stored: Keys) -> None:
    """A record of the right shape around a foreign secret: only using it can tell."""
    right, wrong = stored("nistp256-two-block"), stored("rsa2048-two-block")
    from pipeline.openpgp.format.protection import close_secret
    from pipeline.openpgp.key import rewrap

    foreign = rewrap.unlock(wrong.tsk, wrong.passphrase)
    twin = parsing.read_one(stored("rsa2048-two-block").tsk, "twin")
    clear = foreign.secrets
    # The subkey's numbers in the primary key and the other way round: whole, unlockable, wrong.
    packets = [
        build(one.packet.tag, one.public.raw + close_secret(secret, wrong.passphrase, s2k_count_octet=0))
        for one, secret in zip(twin.components, reversed(clear), strict=True)
    ]
    proofs = wrong.prove(tsk=join(twin.packets(packets)))
    assert not proofs.results["sign"].ok
    assert not proofs.results["certify"].ok
    assert not proofs.results["decrypt"].ok
    assert right.fingerprint != wrong.fingerprint


def test_a_dummy_primary_still_decrypts_and_fails(stored: Keys) -> None:
    good = stored("rsa2048-two-block")
    key = parsing.read_one(good.tsk, "key")
    dummy = key.primary.public.raw + bytes([255, 0, 101, 2]) + b"GNU\x01"
    packets = [build(5, dummy), *(one.packet for one in key.subkeys)]
    proofs = good.prove(tsk=join(key.packets(packets)))
    assert not proofs.results["sign"].ok
    assert not proofs.results["certify"].ok
    assert "gnupg" in proofs.results["decrypt"].by
    assert not proofs.ok


def test_without_gpg_it_is_gone_and_named(
    stored: Keys, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    proofs = stored("rsa2048-two-block").prove()
    assert proofs.ok, proofs.problems
    assert all(proof.by == ("pgpy", "sequoia") for proof in proofs.results.values())
    assert any("gnupg takes no part: not installed" in note for note in proofs.notes)


class Garbage(SequoiaProver):
    """Signs something else than it was told."""

    def make(self, job: Job) -> dict[Task, Outcome]:
        return super().make(replace(job, nonce=b"something else"))


class WrongUser(PgpyProver):
    """Certifies another user id."""

    def make(self, job: Job) -> dict[Task, Outcome]:
        other = next(one for one in job.user.user_ids.values() if one != job.user_id)
        user = replace(job.user, user_ids={**job.user.user_ids, self.name: other})
        return super().make(replace(job, user=user))


class Misreader(GnuPGProver):
    """Decrypts to something else."""

    def check(self, job: Job, others: Sequence[Made]) -> Verdicts:
        found = super().check(job, others)
        wrong = {key: produced(b"something else") for key in found if key[0] is Task.DECRYPT}
        return {**found, **wrong}


class OpenDoor(SequoiaProver):
    """Opens with any passphrase."""

    def make(self, job: Job) -> dict[Task, Outcome]:
        return super().make(replace(job, wrong=job.passphrase))


class NaySayer(PgpyProver):
    """Rejects everything."""

    def check(self, job: Job, others: Sequence[Made]) -> Verdicts:
        found = super().check(job, others)
        return {**found, **{key: refuted("no") for key in found if key[0] is Task.SIGN}}


class Stranger(SequoiaProver):
    """Sees another fingerprint."""

    def make(self, job: Job) -> dict[Task, Outcome]:
        return {**super().make(job), Task.FINGERPRINT: produced(b"0" * 40)}


class Boaster(SequoiaProver):
    """Says that it signed, without a signature."""

    def make(self, job: Job) -> dict[Task, Outcome]:
        return {**super().make(job), Task.SIGN: produced(b"trust me")}


class Crash(SequoiaProver):
    """Falls over."""

    def make(self, job: Job) -> dict[Task, Outcome]:
        raise ZeroDivisionError("oops")


class LateCrash(SequoiaProver):
    """Falls over while it judges what the others made."""

    def check(self, job: Job, others: Sequence[Made]) -> Verdicts:
        raise ZeroDivisionError("oops")


class Choosy(PgpyProver):
    """Does not take the key, in making and in checking alike."""

    def make(self, job: Job) -> dict[Task, Outcome]:
        raise TakesNoPart("14 is not a valid HashAlgorithm")


SABOTAGE: list[tuple[type[Prover], str]] = [
    (Garbage, "sign"),
    (WrongUser, "certify"),
    (Misreader, "decrypt"),
    (OpenDoor, "negative"),
    (NaySayer, "sign"),
    (Stranger, "fingerprint"),
    (Boaster, "sign"),
]


@pytest.mark.parametrize(("bad", "task"), SABOTAGE, ids=lambda one: getattr(one, "__name__", one))
def test_sabotage_fails_the_proof(stored: Keys, bad: type[Prover], task: str) -> None:
    provers: list[Prover] = [GnuPGProver(), PgpyProver(), SequoiaProver()]
    saboteur = bad()
    provers = [saboteur if one.name == saboteur.name else one for one in provers]
    proofs = stored("ed25519-two-block").prove(provers=provers)
    assert not proofs.ok
    assert not proofs.results[task].ok
    assert saboteur.name in (proofs.results[task].problem or "")
    assert [name for name, proof in proofs.results.items() if not proof.ok] == [task]


@pytest.mark.parametrize(
    ("odd", "note"),
    [
        (Crash, "sequoia takes no part: ZeroDivisionError: oops"),
        (LateCrash, "sequoia takes no part in checking: ZeroDivisionError: oops"),
        (Choosy, "pgpy takes no part: 14 is not a valid HashAlgorithm"),
    ],
)
def test_who_does_not_take_the_key_takes_no_part(stored: Keys, odd: type[Prover], note: str) -> None:
    mine = odd()
    provers: list[Prover] = [GnuPGProver(), PgpyProver(), SequoiaProver()]
    proofs = stored("ed25519-two-block").prove(
        provers=[mine if one.name == mine.name else one for one in provers]
    )
    assert proofs.code is Code.OK, proofs.problems
    assert note in proofs.notes


def test_what_nobody_can_show_is_no_contradiction(stored: Keys) -> None:
    proofs = stored("brainpoolp256-two-block").prove(provers=[PgpyProver(), SequoiaProver()])
    assert not proofs.ok
    assert proofs.code is Code.UNSUPPORTED
    assert "no implementation on this host" in (proofs.results["sign"].problem or "")


def test_an_implementation_alone_is_single_and_says_so(stored: Keys) -> None:
    proofs = stored("ed25519-two-block").prove(provers=[PgpyProver()])
    assert proofs.ok, proofs.problems
    assert proofs.single == ("unlock", "fingerprint", "sign", "certify", "decrypt")
    assert any("pgpy judged itself" in note for note in proofs.notes)


def test_what_nobody_can_judge_does_not_count(stored: Keys) -> None:
    proofs = stored("ed25519-two-block").prove(provers=[SequoiaProver()])
    assert not proofs.results["certify"].ok
    assert proofs.results["sign"].ok


def test_no_implementation_no_proof(stored: Keys) -> None:
    proofs = stored("ed25519-two-block").prove(provers=[])
    assert not any(proof.ok for proof in proofs.results.values())


def test_a_key_without_a_passphrase_fails_the_negative_control(stored: Keys) -> None:
    from pipeline.openpgp.key import rewrap

    good = stored("ed25519-two-block")
    opened = rewrap.unlock(good.tsk, good.passphrase)
    packets = []
    for one, clear in zip(opened.key.components, opened.secrets, strict=True):
        checksum = (sum(clear.reveal()) & 0xFFFF).to_bytes(2, "big")
        packets.append(build(one.packet.tag, one.public.raw + b"\x00" + clear.reveal() + checksum))
    proofs = good.prove(tsk=join(opened.key.packets(packets)))
    assert not proofs.results["negative"].ok


def test_started_ahead(stored: Keys) -> None:
    child = Prestarted()
    proofs = stored("rsa2048-two-block").prove(prestarted=child)
    assert proofs.ok, proofs.problems
    child.close()


def test_pgpys_process_ends_with_its_parent() -> None:
    code = (
        "import sys, time; sys.path.insert(0, sys.argv[1]); from pipeline.openpgp.proofs import Prestarted; "
        "child = Prestarted(); print(child._child.pid, flush=True); time.sleep(60)"
    )
    root = str(Path(__file__).parents[3])
    with subprocess.Popen([sys.executable, "-c", code, root], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    ends = time.monotonic() + 20
    while (Path("/proc") / str(pid) / "exe").exists() and time.monotonic() < ends:
        time.sleep(0.05)
    assert not (Path("/proc") / str(pid) / "exe").exists()


def test_the_deadline_ends_it(stored: Keys) -> None:
    with pytest.raises(DeadlinePassed):
        stored("rsa2048-two-block").prove(deadline=Deadline(0.05))


def test_an_interrupt_ends_what_the_threads_wait_for(stored: Keys) -> None:
    started = threading.Event()

    class Interrupting(SequoiaProver):
        def make(self, job: Job) -> dict[Task, Outcome]:
            started.set()
            return super().make(job)

    class Slow(GnuPGProver):
        def make(self, job: Job) -> dict[Task, Outcome]:
            from pipeline.core import process

            process.run(["sleep", "60"], timeout=60, cancellation=job.cancellation)
            return {Task.UNLOCK: DONE}

    def interrupt() -> None:
        started.wait(20)
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Thread(target=interrupt)
    timer.start()
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        stored("ed25519-two-block").prove(provers=[Slow(), Interrupting()])
    timer.join()
    assert time.monotonic() - begun < 20


def test_nothing_reaches_stderr(stored: Keys, capfd: pytest.CaptureFixture[str]) -> None:
    stored("ed25519-two-block").prove(now=datetime.now(UTC) + timedelta(0))
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")
