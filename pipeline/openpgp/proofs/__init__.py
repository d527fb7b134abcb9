"""Proofs that a recovered key works, by implementations of OpenPGP that check each other.

The recovered key signs, certifies and decrypts in GnuPG, PGPy and Sequoia at the same time. What one
makes, the others judge by the public part; nothing counts because its maker says so. An implementation that
does not take the key, for whatever reason of its own, takes no part and is named: in making and in checking
alike. What fails a proof is a contradiction: a signature that does not hold, another content, an open door.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, TypeVar

from pipeline.core import errors
from pipeline.core.clock import Deadline
from pipeline.core.errors import Code, OrgkeyError
from pipeline.core.host_limits import exhaustion
from pipeline.core.process import Cancellation
from pipeline.core.secret import Secret
from pipeline.openpgp.key.rewrap import UnlockedKey, unlock
from pipeline.openpgp.proofs import arithmetic
from pipeline.openpgp.proofs.gnupg_proof import GnuPGProver
from pipeline.openpgp.proofs.guard import WHAT, ImplementationGuard, require_host
from pipeline.openpgp.proofs.interface import EXCHANGED, Job, Made, Prover, TakesNoPart, Task
from pipeline.openpgp.proofs.judgement import KeyProofs, Verdict, judge, settled, unproven
from pipeline.openpgp.proofs.pgpy_proof import PgpyProver, Prestarted
from pipeline.openpgp.proofs.renewal import resigned
from pipeline.openpgp.proofs.sequoia_proof import SequoiaProver
from pipeline.openpgp.proofs.userkey import fresh_user
from pipeline.openpgp.proofs.views import Views, view

__all__ = ["KeyProofs", "Prestarted", "Task", "prove"]

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
        jobs = _jobs(passphrase, views, [one.name for one in chosen], deadline, cancellation)
        proofs = replace(_Run(chosen, views, jobs, guard).prove(), single_ok=single_ok)
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
    passphrase: Secret, views: Views, names: Sequence[str], deadline: Deadline, cancellation: Cancellation
) -> dict[str, Job]:
    # A second earlier, so that the user key is not from the future in anybody's eyes.
    user = fresh_user(names, (views.moment or datetime.now(UTC)) - timedelta(seconds=1))
    wrong = Secret(secrets.token_hex(32))
    return {
        name: Job(
            name=name,
            views=views,
            resigned=None,
            passphrase=passphrase,
            wrong=wrong,
            user=user,
            nonce=secrets.token_bytes(32),
            plaintext=secrets.token_hex(32).encode(),
            deadline=deadline,
            cancellation=cancellation,
        )
        for name in names
    }


class _Run:
    """One set of proofs: make, exchange, check, judge."""

    def __init__(
        self, provers: Sequence[Prover], views: Views, jobs: Mapping[str, Job], guard: ImplementationGuard
    ) -> None:
        self.provers = {one.name: one for one in provers}
        self.views = views
        self.jobs = dict(jobs)
        self.guard = guard
        self.notes: list[str] = []
        self.seconds = dict.fromkeys(jobs, 0.0)
        self.opened: UnlockedKey | None = None

    def prove(self) -> KeyProofs:
        refused = self._read()
        self._renew()
        for name in list(self.provers):
            reason = self.guard(partial(self.provers[name].absent, self.jobs[name]))
            if reason is not None:
                self._leave(name, str(reason))
        made = self._make()
        verdicts = []
        for name, found in self._each(lambda name: self._check(name, _others(made, name))).items():
            verdicts += self._taken(name, found)
        for name, one in made.items():
            # Who is the only one that can judges itself; it is noted.
            alone = {task: one.outcomes[task] for task in EXCHANGED if one.product(task)}
            alone = {task: it for task, it in alone.items() if not settled(verdicts, task, name)}
            if alone:
                own = replace(one, outcomes=alone)
                verdicts += self._taken(name, self.guard(partial(self._check, name, [own])))
        wrong = {
            (task, name): reason
            for name, one in made.items()
            for task, reason in arithmetic.refute(one, self.views.parts).items()
        }
        proofs = judge(self.views.fingerprint, made, verdicts, refused, wrong)
        return replace(
            proofs,
            expired_public=self.views.expired,
            notes=(*self.notes, *proofs.notes),
            seconds={name: self.seconds[name] for name in made},
        )

    def _read(self) -> str | None:
        """Open the stored keypair here, and say what speaks against it: who takes no part need not say so."""
        job = next(iter(self.jobs.values()), None)
        if job is None:
            return None
        try:
            self.opened = unlock(job.views.stored, job.passphrase)
        except errors.Unsupported as error:
            self.notes.append(f"this program takes no part: {error.message}")
        except OrgkeyError as error:
            return error.message
        else:
            if not self.opened.canonical:
                self.notes.append(_NOT_CANONICAL)
        return None

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
        problem = "the key does not open"
        if self.opened is not None:
            try:
                copy = resigned(self.opened, self.views)
                self.jobs = {name: replace(job, resigned=copy) for name, job in self.jobs.items()}
                return
            except OrgkeyError as error:
                problem = error.message
        self.notes.append(f"the copy could not be signed: {problem}")

    def _leave(self, name: str, reason: str) -> None:
        self.notes.append(f"{name} takes no part: {reason}")
        del self.provers[name]

    def _make(self) -> dict[str, Made]:
        made = {}
        for name, outcomes in self._each(lambda name: self.provers[name].make(self.jobs[name])).items():
            if isinstance(outcomes, TakesNoPart):
                self._leave(name, str(outcomes))
                continue
            own = [one for task, one in outcomes.items() if task is not Task.DECRYPT]
            if any(one.ok is not None for one in own):
                made[name] = Made(self.jobs[name], outcomes)
            else:
                self._leave(name, own[0].reason if own else "it can do nothing with this key")
        return made

    def _check(self, name: str, others: Sequence[Made]) -> list[Verdict]:
        found = self.provers[name].check(self.jobs[name], others)
        return [Verdict(name, task, maker, outcome) for (task, maker), outcome in found.items()]

    def _taken(self, name: str, found: list[Verdict] | TakesNoPart) -> list[Verdict]:
        if isinstance(found, TakesNoPart):
            self.notes.append(f"{name} takes no part in checking: {found}")
            return []
        return found

    def _each(self, act: Callable[[str], T]) -> dict[str, T | TakesNoPart]:
        """Run something for every implementation at the same time."""

        def timed(name: str) -> T | TakesNoPart:
            begun = time.monotonic()
            found = self.guard(partial(act, name))
            self.seconds[name] += time.monotonic() - begun
            return found

        if not self.provers:
            return {}
        with ThreadPoolExecutor(len(self.provers), "prover") as pool:
            try:
                futures = {name: pool.submit(timed, name) for name in self.provers}
                return {name: future.result() for name, future in futures.items()}
            except BaseException:
                # Threads do not see an interrupt: end what they wait for, or leaving the block hangs.
                next(iter(self.jobs.values())).cancellation.cancel()
                raise


def _others(made: Mapping[str, Made], name: str) -> list[Made]:
    return [one for maker, one in made.items() if maker != name]
