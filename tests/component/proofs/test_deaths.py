"""However an implementation ends, it takes no part and is named, and the others decide."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from pipeline.core import process
from pipeline.core.clock import Deadline
from pipeline.core.errors import Code, DeadlinePassed, LocalFilesProblem, OrgkeyError, WrongPassphrase
from pipeline.core.signals import Signalled
from pipeline.openpgp import signing
from pipeline.openpgp.proofs import Prestarted, pgpy_proof, sequoia_proof
from pipeline.openpgp.proofs.guard import ImplementationGuard
from pipeline.openpgp.proofs.interface import (
    DONE,
    Job,
    Made,
    Outcome,
    TakesNoPart,
    Task,
    Verdicts,
    refuted,
)
from pipeline.openpgp.proofs.pgpy_proof import PgpyProver
from pipeline.openpgp.proofs.sequoia_proof import SequoiaProver

if TYPE_CHECKING:
    from tests.component.proofs.conftest import Stored

    Keys = Callable[[str], Stored]


class Panic(BaseException):
    """What pyo3 makes of a panic of Rust's: not an Exception."""


class First(SequoiaProver):
    """One that works in this process, and takes certifications on trust: its binding cannot check them."""

    name = "first"

    def check(self, job: Job, others: Sequence[Made]) -> Verdicts:
        return {**super().check(job, others), **{(Task.CERTIFY, one.job.name): DONE for one in others}}


class Second(First):
    """Another one."""

    name = "second"


class Dying(SequoiaProver):
    """Ends in some way at some stage."""

    name = "dying"

    def __init__(self, stage: str, how: BaseException) -> None:
        super().__init__()
        self.stage, self.how = stage, how

    def _reach(self, stage: str) -> None:
        if stage == self.stage:
            raise self.how

    def absent(self, job: Job) -> str | None:
        self._reach("absent")
        return super().absent(job)

    def make(self, job: Job) -> dict[Task, Outcome]:
        self._reach("make")
        return super().make(job)

    def check(self, job: Job, others: Sequence[Made]) -> Verdicts:
        self._reach("check")
        return super().check(job, others)

    def close(self) -> None:
        self._reach("close")


HOST = (MemoryError(), OSError(errno.EMFILE, "Too many open files"), LocalFilesProblem("no room", hint="h"))
OWN = (Panic("index out of bounds"), RecursionError("too deep"), DeadlinePassed("too late", hint="h"))


@pytest.mark.parametrize("how", [*HOST, *OWN], ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("stage", ["absent", "make", "check", "close"])
def test_two_others_are_enough(stored: Keys, stage: str, how: BaseException) -> None:
    proofs = stored("ed25519-two-block").prove(provers=[First(), Second(), Dying(stage, how)])
    assert proofs.code is Code.OK, proofs.problems
    assert any(note.startswith("dying takes no part") for note in proofs.notes) is (stage != "close")


@pytest.mark.parametrize("how", HOST, ids=lambda one: type(one).__name__)
def test_one_other_is_not_enough_and_the_host_is_to_blame(stored: Keys, how: BaseException) -> None:
    with pytest.raises(LocalFilesProblem):
        stored("ed25519-two-block").prove(provers=[First(), Dying("make", how)])


@pytest.mark.parametrize("how", OWN, ids=lambda one: type(one).__name__)
def test_one_other_is_not_enough_and_nothing_speaks_against_the_key(stored: Keys, how: BaseException) -> None:
    proofs = stored("ed25519-two-block").prove(provers=[First(), Dying("make", how)])
    assert proofs.code is Code.DEGRADED


def test_what_is_about_the_run_ends_it() -> None:
    def end(error: BaseException) -> object:
        def act() -> None:
            raise error

        return ImplementationGuard(Deadline(60))(act)

    for error in (Signalled(), KeyboardInterrupt(), SystemExit()):
        with pytest.raises(type(error)):
            end(error)
    with pytest.raises(DeadlinePassed):
        ImplementationGuard(Deadline(0))(lambda: Deadline(0).check())


CHILDREN = {
    "crash": (["sh", "-c", "kill -SEGV $$"], TakesNoPart, "ended without an answer .status -11"),
    "killed": (["sh", "-c", "kill -KILL $$"], LocalFilesProblem, "its process was killed"),
    "garbage": (
        ["sh", "-c", "head -c 300000 >/dev/null; printf 'nope\\n'; exec sleep 60"],
        TakesNoPart,
        "gives no answer",
    ),
    "silent": (["sh", "-c", "cat >/dev/null; exec sleep 60"], DeadlinePassed, "did not finish in time"),
    "deaf": (["sleep", "60"], DeadlinePassed, "did not finish in time"),
}


@pytest.mark.parametrize("name", CHILDREN)
def test_pgpys_process(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    argv, kind, told = CHILDREN[name]
    monkeypatch.setattr(process, "isolated", lambda _: argv)
    monkeypatch.setattr(pgpy_proof, "_SECONDS", 0.2)
    monkeypatch.setattr(pgpy_proof, "_GRACE_SECONDS", 0.1)
    with Prestarted() as child:
        with pytest.raises(kind, match=told):
            child.ask({"op": "make", "filler": "x" * 300_000}, Deadline(60))
        # What it was asked is over: a late answer to it is never taken for the answer to something else.
        with pytest.raises(TakesNoPart, match="gives no answer"):
            child.ask({"op": "check"}, Deadline(60))


def test_a_process_that_hangs_takes_no_part(stored: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "isolated", lambda _: ["sleep", "60"])
    monkeypatch.setattr(pgpy_proof, "_SECONDS", 0.1)
    proofs = stored("ed25519-two-block").prove(provers=[First(), Second(), PgpyProver()])
    assert proofs.code is Code.OK
    assert "pgpy takes no part: PGPy did not finish in time" in proofs.notes


class Struck(PgpyProver):
    """Somebody ends its process before it checks: one question is lost."""

    def check(self, job: Job, others: Sequence[Made]) -> Verdicts:
        child = self._child
        assert child is not None
        os.kill(child._child.pid, signal.SIGSEGV)
        with pytest.raises(TakesNoPart, match="status -11"):
            super().check(job, others)
        return super().check(job, others)


def test_what_ended_pgpys_process_does_not_end_what_it_is_asked_next(stored: Keys) -> None:
    proofs = stored("ed25519-two-block").prove(provers=[First(), Struck()])
    assert proofs.code is Code.OK, proofs.problems
    assert not any("takes no part in checking" in note for note in proofs.notes), proofs.notes


def signed(stored: Keys, monkeypatch: pytest.MonkeyPatch, **engines: BaseException | Outcome) -> bytes:
    """Sign, with implementations that raise or say something."""

    def ending(how: BaseException | Outcome) -> Callable[..., Outcome]:
        def engine(*_: object) -> Outcome:
            if isinstance(how, Outcome):
                return how
            raise how

        return engine

    key = stored("ed25519-two-block")
    for name, how in engines.items():
        monkeypatch.setattr(getattr(signing, f"{name}_proof"), "sign", ending(how))
    return signing.sign_detached(
        key.tsk,
        key.passphrase,
        key.public,
        b"x",
        deadline=Deadline(60),
        now=datetime.now(UTC),
    )


def test_another_implementation_signs(stored: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pgpy_proof, "sign", sequoia_proof.sign)
    assert signed(stored, monkeypatch, sequoia=Panic("oops"), gnupg=DeadlinePassed("too late", hint="h"))


@pytest.mark.parametrize(
    ("last", "kind"),
    [
        (MemoryError(), LocalFilesProblem),
        (refuted("bad passphrase"), WrongPassphrase),
        (Panic("oops"), OrgkeyError),
    ],
)
def test_nobody_signs(
    stored: Keys, monkeypatch: pytest.MonkeyPatch, last: BaseException | Outcome, kind: type[OrgkeyError]
) -> None:
    with pytest.raises(kind):
        signed(stored, monkeypatch, sequoia=Panic("oops"), gnupg=last, pgpy=RecursionError("deep"))


def test_a_signature_is_verified_here_where_sequoia_dies(
    stored: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise Panic("oops")

    monkeypatch.setattr(signing, "_verified_by_sequoia", die)
    assert signed(stored, monkeypatch).startswith(b"-----BEGIN PGP SIGNATURE")
