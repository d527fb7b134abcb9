"""What the implementations' work amounts to: who agrees, who could not take part, what failed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from pipeline.core.errors import Code
from pipeline.core.proof import Proof
from pipeline.openpgp.proofs.interface import Made, Outcome, Task, refuted

AGREEING: Final = (Task.UNLOCK, Task.FINGERPRINT, Task.SIGN, Task.CERTIFY, Task.DECRYPT)
"""The proofs that need two implementations."""


@dataclass(frozen=True)
class KeyProofs:
    """All that the recovered key has shown.

    Attributes:
        results: By name: unlock, fingerprint, sign, certify, decrypt, negative.
        single: Names of proofs that hold, but with one implementation only.
        single_ok: Whether the policy accepts that.
        expired_public: Whether the public part has expired; proven at a time inside its validity.
        notes: Why an implementation took no part in something, and what else a reader should know.
        seconds: Wall time by implementation.
        refuted: Whether something speaks against the key; otherwise what is missing could not be shown here.
    """

    results: Mapping[str, Proof]
    single: tuple[str, ...] = ()
    single_ok: bool = False
    expired_public: bool = False
    notes: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    refuted: bool = False

    @property
    def code(self) -> Code:
        """What a drill with these proofs ends with."""
        if self.ok:
            return Code.DEGRADED if self.single and not self.single_ok else Code.OK
        return Code.PROOF_FAILED if self.refuted else Code.UNSUPPORTED

    @property
    def ok(self) -> bool:
        """Whether every proof holds."""
        return all(proof.ok for proof in self.results.values())

    @property
    def problems(self) -> tuple[str, ...]:
        """What failed, each with its proof's name."""
        return tuple(f"{name}: {proof.problem}" for name, proof in self.results.items() if not proof.ok)


def unproven(problem: str) -> KeyProofs:
    """The result when the stored keypair is not even the key that it should be."""
    return KeyProofs({task.value: Proof(False, (), problem) for task in Task}, refuted=True)


class Verdict(NamedTuple):
    """What one implementation, the judge, says about what another one made for a task."""

    judge: str
    task: Task
    maker: str
    outcome: Outcome


def settled(verdicts: Iterable[Verdict], task: Task, name: str) -> bool:
    """Whether somebody could judge what ``name`` made, or ``name`` could decrypt what somebody made."""
    return any(
        one.outcome.ok is not None
        and one.task is task
        and (one.judge if task is Task.DECRYPT else one.maker) == name
        for one in verdicts
    )


@dataclass
class _Tally:
    """One proof while its evidence is being gathered."""

    task: Task
    by: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, outcome: Outcome | None, wanted: bytes | None = None, other: str = "") -> None:
        if outcome and outcome.ok and wanted is not None and outcome.product != wanted:
            outcome = refuted(other)
        if outcome and outcome.ok:
            self.by.append(name)
        elif outcome and outcome.ok is None:
            self.notes.append(f"{name} takes no part in {self.task}: {outcome.reason}")
        elif outcome:
            self.failures.append(f"{name}: {outcome.reason}")

    def weigh(self, maker: str, said: Sequence[Verdict], wrong: str | None) -> None:
        """Count what one implementation made by what the others say of it."""
        if wrong is not None:
            self.failures.append(f"what {maker} made does not hold: {wrong}")
        for one in said:
            if one.outcome.ok is False:
                self.failures.append(f"{one.judge} rejects what {maker} made: {one.outcome.reason}")
            elif one.outcome.ok is None:
                told = f"what {maker} made for {self.task}: {one.outcome.reason}"
                self.notes.append(f"{one.judge} takes no part in judging {told}")
        agreeing = [one.judge for one in said if one.outcome.ok]
        if agreeing:
            self.by.append(maker)
            if agreeing == [maker]:
                self.notes.append(f"{maker} judged itself in {self.task}: no other implementation could")
        elif wrong is None and all(one.outcome.ok is None for one in said):
            self.notes.append(f"what {maker} made for {self.task} could not be judged by any implementation")

    def proof(self) -> Proof:
        # Who has shown it with another message has taken part.
        parts = tuple(f"{name} takes no part in {self.task}:" for name in self.by)
        self.notes = [note for note in dict.fromkeys(self.notes) if not note.startswith(parts)]
        if self.by and not self.failures:
            return Proof(True, tuple(self.by))
        reasons = self.failures or ["no implementation on this host could show it"]
        return Proof(False, tuple(self.by), "; ".join([*reasons, *self.notes]))


def judge(
    fingerprint: str,
    made: Mapping[str, Made],
    verdicts: Sequence[Verdict],
    refused: str | None,
    wrong: Mapping[tuple[Task, str], str],
) -> KeyProofs:
    """Weigh the evidence.

    Args:
        fingerprint: The fingerprint that the key must have.
        made: What was made, by implementation.
        verdicts: What each implementation found.
        refused: What this program's own reading of the stored keypair says against it.
        wrong: Why a product does not hold by this program's own arithmetic, by task and maker.

    Returns:
        The proofs, with what the evidence tells.
    """
    tallies = {task: _Tally(task) for task in Task}
    if refused is not None:
        tallies[Task.UNLOCK].failures.append(refused)
    for name, one in made.items():
        for task in (Task.UNLOCK, Task.NEGATIVE):
            tallies[task].add(name, one.outcomes.get(task))
        shown = one.outcomes.get(Task.FINGERPRINT)
        tallies[Task.FINGERPRINT].add(name, shown, fingerprint.encode(), "it is another key")
        for task in (Task.SIGN, Task.CERTIFY):
            outcome = one.outcomes.get(task)
            if outcome and outcome.ok:  # nothing counts because its maker says so
                said = [verdict for verdict in verdicts if (verdict.task, verdict.maker) == (task, name)]
                tallies[task].weigh(name, said, wrong.get((task, name)))
            else:
                tallies[task].add(name, outcome)
    decrypted = tallies[Task.DECRYPT]
    for verdict in verdicts:
        if verdict.task is Task.DECRYPT:
            wanted = made[verdict.maker].job.plaintext
            decrypted.add(verdict.judge, verdict.outcome, wanted, "decrypts to something else")
    for name, one in made.items():
        message = one.outcomes.get(Task.DECRYPT)
        if message and not message.ok and name not in decrypted.by:
            decrypted.add(name, message)
    results = {task.value: tally.proof() for task, tally in tallies.items()}
    return KeyProofs(
        results,
        single=tuple(task.value for task in AGREEING if results[task].ok and len(results[task].by) < 2),
        notes=tuple(note for tally in tallies.values() for note in tally.notes),
        refuted=any(tally.failures for tally in tallies.values()),
    )
