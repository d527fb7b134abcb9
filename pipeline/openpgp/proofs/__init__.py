"""Proofs that a recovered key works, by implementations of OpenPGP that check each other.

The recovered key signs, certifies and decrypts in GnuPG, PGPy and Sequoia at the same time. What one
makes, the others judge by the public part; nothing counts because its maker says so. An implementation that
does not take the key, for whatever reason of its own, takes no part and is named: in making and in checking
alike. What fails a proof is a contradiction: a signature that does not hold, another content, an open door.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, TypeVar

from pipeline.core import errors
from pipeline.core.clock import Deadline
from pipeline.core.errors import Code, OrgkeyError
from pipeline.core.files import exhaustion
from pipeline.core.process import Cancellation
from pipeline.core.secret import Secret
from pipeline.openpgp.key.rewrap import UnlockedKey, unlock
from pipeline.openpgp.proofs import arithmetic
from pipeline.openpgp.proofs.gnupg_proof import GnuPGProver
from pipeline.openpgp.proofs.guard import ImplementationGuard
from pipeline.openpgp.proofs.host import WHAT, require_host
from pipeline.openpgp.proofs.interface import (
    CheckedExhibits,
    Exhibit,
    Job,
    Made,
    NoPart,
    Product,
    Prover,
    TakesNoPart,
    Task,
)
from pipeline.openpgp.proofs.judgement import KeyProof, KeyProofs, ProofEvidence, judge, unproven
from pipeline.openpgp.proofs.pgpy_proof import PgpyProver, Prestarted
from pipeline.openpgp.proofs.renewal import resigned
from pipeline.openpgp.proofs.sequoia_proof import SequoiaProver
from pipeline.openpgp.proofs.userkey import fresh_user
from pipeline.openpgp.proofs.views import Views, view

__all__ = ["KeyProof", "KeyProofs", "Prestarted", "Task", "prove"]

T = TypeVar("T")
_NOT_CANONICAL: Final = (
    "its secret numbers are not in canonical form, which strict programs (Sequoia) refuse: "
    "`orgkey refresh` writes them anew"
)


def prove(
    tsk: bytes,
    passphrase: Secret,
    public: bytes,
    fingerprint: str,
    *,
    deadline: Deadline,
    now: datetime,
    single_ok: bool = False,
    prestarted: Prestarted | None = None,
    provers: Sequence[Prover] | None = None,
) -> KeyProofs:
    """Prove that a stored keypair, opened by a passphrase, is a key and works.

    Args:
        tsk: The stored transferable secret key.
        passphrase: What opens it.
        public: The public part to judge by: the live key's, or the record's.
        fingerprint: The fingerprint that it must have.
        deadline: When to stop.
        now: The present time.
        single_ok: Whether the policy accepts proofs with a single implementation.
        prestarted: PGPy's process, started earlier; it is ended here.
        provers: Other implementations than the three, for tests.

    Returns:
        The proofs. A proof that fails is a result, not an error.

    Raises:
        DeadlinePassed: Time ran out.
        Interrupted: The run was interrupted.
        LocalFilesProblem: This host has no room, memory or descriptors left, and those that did not need more
            are not enough: no verdict on the key.
    """
    require_host()
    chosen: list[Prover] = [GnuPGProver(), PgpyProver(prestarted), SequoiaProver()]
    if provers is not None:
        chosen = list(provers)
    cancellation = Cancellation()
    guard = ImplementationGuard(deadline)
    try:
        try:
            views = view(tsk, public, now)
        except OrgkeyError as error:
            return unproven(error.message)
        for found in (views.stored_fingerprint, views.fingerprint):
            if found != fingerprint:
                return unproven(f"it is another key, {found}")
        jobs = _jobs(passphrase, views, [one.name for one in chosen], deadline, now, cancellation)
        proofs = replace(_Run(chosen, views, jobs, cancellation, guard).prove(), single_ok=single_ok)
        if guard.trouble is not None and proofs.code is not Code.OK:
            raise guard.trouble
        return proofs
    except BaseException as error:
        cancellation.cancel()
        trouble = exhaustion(error, WHAT)
        if trouble is not None:
            raise trouble from error
        raise
    finally:
        for one in chosen:  # what one leaves behind, the next run sweeps up
            guard(one.close)


def _jobs(
    passphrase: Secret,
    views: Views,
    names: Sequence[str],
    deadline: Deadline,
    now: datetime,
    cancellation: Cancellation,
) -> dict[str, Job]:
    # A second earlier, so that the user key is not from the future in anybody's eyes.
    user = fresh_user(names, (views.moment or datetime.now(UTC)) - timedelta(seconds=1))
    wrong = Secret(secrets.token_hex(32))
    return {
        name: Job(
            tsk=views.stored,
            views=views,
            resigned=None,
            passphrase=passphrase,
            wrong=wrong,
            user=user,
            user_id=user.user_ids[name],
            nonce=secrets.token_bytes(32),
            plaintext=secrets.token_hex(32).encode(),
            now=now,
            deadline=deadline,
            cancellation=cancellation,
        )
        for name in names
    }


class _Run:
    """One set of proofs: make, exchange, check, judge."""

    def __init__(
        self,
        provers: Sequence[Prover],
        views: Views,
        jobs: Mapping[str, Job],
        cancellation: Cancellation,
        guard: ImplementationGuard,
    ) -> None:
        self.provers = {one.name: one for one in provers}
        self.views = views
        self.jobs = dict(jobs)
        self.cancellation = cancellation
        self.guard = guard
        self.notes: list[str] = []
        self.opened: UnlockedKey | None = None

    def prove(self) -> KeyProofs:
        refused = self._read()
        self._renew()
        for name in list(self.provers):
            reason = self.guard(partial(self.provers[name].absent, self.jobs[name]))
            if reason is not None:
                self._leave(name, str(reason))
        made = {}
        for name, one in self._each(lambda name: self.provers[name].make(self.jobs[name])).items():
            if isinstance(one, Made) and not all(isinstance(it, NoPart) for it in one.outcomes.values()):
                made[name] = one
            else:
                self._leave(name, str(one) if isinstance(one, TakesNoPart) else _reason(one))
        exhibits = {name: self._exhibit(name, one) for name, one in made.items()}
        checked = self._each(lambda name: self._check(name, _others(exhibits, name)))
        evidence = ProofEvidence(
            self.views.fingerprint,
            made,
            exhibits,
            {name: job.plaintext for name, job in self.jobs.items()},
            tuple((name, self._found(name, one)) for name, one in checked.items()),
            refused,
            {name: arithmetic.refute(exhibit, self.views.parts) for name, exhibit in exhibits.items()},
        )
        evidence = self._alone(evidence)
        proofs = judge(evidence)
        seconds = {name: one.seconds for name, one in made.items()}
        for name, found in evidence.checked:
            seconds[name] += found.seconds
        return replace(
            proofs,
            expired_public=self.views.expired,
            notes=(*self.notes, *proofs.notes),
            seconds=seconds,
        )

    def _read(self) -> str | None:
        """Open the stored keypair here, and say what speaks against it: who takes no part need not say so."""
        job = next(iter(self.jobs.values()), None)
        if job is None:
            return None
        try:
            self.opened = unlock(job.tsk, job.passphrase)
        except errors.Unsupported as error:
            self.notes.append(f"this program takes no part: {error.message}")
        except OrgkeyError as error:
            return error.message
        else:
            if not self.opened.canonical:
                self.notes.append(_NOT_CANONICAL)
        return None

    def _leave(self, name: str, reason: str) -> None:
        self.notes.append(f"{name} takes no part: {reason}")
        del self.provers[name]

    def _found(self, name: str, one: CheckedExhibits | TakesNoPart) -> CheckedExhibits:
        if isinstance(one, CheckedExhibits):
            return one
        self.notes.append(f"{name} takes no part in checking: {one}")
        return CheckedExhibits()

    def _renew(self) -> None:
        """Give those that have no clock to turn back a copy of an expired key that is valid now."""
        if self.views.revoked:
            self.notes.append("the key is revoked: proven with a copy in memory without the revocation")
        if self.views.moment is None or not self.jobs:
            return
        self.notes.append(
            "the public part is not valid now: proven at a time inside its validity, "
            "and with a copy in memory that the recovered key has signed again"
        )
        if self.opened is None:
            self.notes.append("the copy could not be signed: the key does not open")
            return
        try:
            copy = resigned(self.opened, self.views)
        except OrgkeyError as error:
            self.notes.append(f"the copy could not be signed: {error.message}")
            return
        self.jobs = {name: replace(job, resigned=copy) for name, job in self.jobs.items()}

    def _exhibit(self, name: str, made: Made) -> Exhibit:
        job = self.jobs[name]
        return Exhibit(
            name,
            job.nonce,
            _product(made.outcomes.get(Task.SIGN)),
            job.user_id,
            _product(made.outcomes.get(Task.CERTIFY)),
            _product(made.message),
        )

    def _check(self, name: str, exhibits: list[Exhibit]) -> CheckedExhibits:
        return self.provers[name].check(self.jobs[name], exhibits)

    def _alone(self, evidence: ProofEvidence) -> ProofEvidence:
        """Let an implementation judge itself where it is the only one that can; it is noted."""
        more = []
        for name, exhibit in evidence.exhibits.items():
            own = replace(
                exhibit,
                signature=exhibit.signature if evidence.unjudged(Task.SIGN, name) else None,
                certified=exhibit.certified if evidence.unjudged(Task.CERTIFY, name) else None,
                message=exhibit.message if evidence.idle(name) else None,
            )
            if own.signature or own.certified or own.message:
                more.append((name, self._found(name, self.guard(partial(self._check, name, [own])))))
        return replace(evidence, checked=(*evidence.checked, *more))

    def _each(self, act: Callable[[str], T]) -> dict[str, T | TakesNoPart]:
        """Run something for every implementation at the same time."""
        if not self.provers:
            return {}
        with ThreadPoolExecutor(len(self.provers), "prover") as pool:
            try:
                futures = {name: pool.submit(self.guard, partial(act, name)) for name in self.provers}
                return {name: future.result() for name, future in futures.items()}
            except BaseException:
                # Threads do not see an interrupt: end what they wait for, or leaving the block hangs.
                self.cancellation.cancel()
                raise


def _reason(made: Made) -> str:
    reasons = [one.reason for one in made.outcomes.values() if isinstance(one, NoPart)]
    return reasons[0] if reasons else "it can do nothing with this key"


def _others(exhibits: Mapping[str, Exhibit], name: str) -> list[Exhibit]:
    return [one for maker, one in exhibits.items() if maker != name]


def _product(outcome: object) -> bytes | None:
    return outcome.data if isinstance(outcome, Product) else None
