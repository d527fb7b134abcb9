"""The quick provers of these tests tell a wrong key, passphrase and product from the right ones."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from pipeline.core.clock import Deadline
from pipeline.core.secret import Secret
from pipeline.openpgp import proofs
from pipeline.openpgp.proofs.interface import Job, Outcome, Prover, Task, produced
from tests.support.inmemory import ATTACKER, ORG, unlocked
from tests.support.provers import QuickProver, quick

PASSPHRASE = Secret(b"right")


class Bending(QuickProver):
    """Hands out something else for one task."""

    def __init__(self, task: Task) -> None:
        super().__init__("bending")
        self.task = task

    def make(self, job: Job) -> dict[Task, Outcome]:
        """Make everything, then bend one product."""
        made = super().make(job)
        product = produced(job.user.public)  # without a certification
        if self.task is Task.DECRYPT:
            product = super().make(replace(job, plaintext=b"something else"))[Task.DECRYPT]
        if self.task is Task.SIGN:
            product = super().make(replace(job, nonce=b"another nonce"))[Task.SIGN]
        return {**made, self.task: product}


def prove(
    name: str = ORG, public: str = ORG, passphrase: Secret = PASSPHRASE, first: Prover | None = None
) -> proofs.KeyProofs:
    tsk = unlocked(name).protect(PASSPHRASE, s2k_count_octet=0)
    pair = quick()
    return proofs.prove(
        tsk, passphrase, unlocked(public).public, unlocked(ORG).fingerprint,
        deadline=Deadline(60), now=datetime.now(UTC), provers=[first, pair[1]] if first else pair,
    )  # fmt: skip


def test_the_right_key_shows_everything_twice() -> None:
    found = prove()
    assert found.ok, found.problems
    assert {task: proof.by for task, proof in found.results.items()} == dict.fromkeys(
        Task, ("first", "second")
    )
    assert found.single == ()


def test_a_wrong_key_and_a_wrong_passphrase_prove_nothing() -> None:
    for found in (prove(ATTACKER), prove(ORG, ATTACKER), prove(passphrase=Secret(b"wrong"))):
        shown = {name for name, proof in found.results.items() if proof.ok}
        assert shown <= {"fingerprint"}, shown  # it stands in the open


@pytest.mark.parametrize(
    ("task", "fails"), [(Task.SIGN, "sign"), (Task.CERTIFY, "certify"), (Task.DECRYPT, "decrypt")]
)
def test_what_one_makes_wrongly_the_other_refuses(task: Task, fails: str) -> None:
    found = prove(first=Bending(task))
    assert [name for name, proof in found.results.items() if not proof.ok] == [fails]
