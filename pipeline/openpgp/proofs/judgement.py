"""What the implementations' work amounts to: who agrees, who could not take part, what failed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from pipeline.core.errors import Code
from pipeline.openpgp.proofs.interface import (
    CheckedExhibits,
    Done,
    Exhibit,
    ExhibitVerdict,
    Made,
    NoPart,
    Outcome,
    Product,
    Refutation,
    Task,
)

AGREEING: Final = (Task.UNLOCK, Task.FINGERPRINT, Task.SIGN, Task.CERTIFY, Task.DECRYPT)
"""The proofs that need two implementations."""


@dataclass(frozen=True)
class KeyProof:
    """One thing that the recovered key has shown, or not.

    Attributes:
        ok: Whether it was shown, with no implementation to the contrary.
        by: The implementations that it was shown with.
        problem: Why it was not, or what an implementation said to the contrary.
    """

    ok: bool
    by: tuple[str, ...] = ()
    problem: str | None = None


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

    results: Mapping[str, KeyProof]
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
            return Code.DEGRADED if self.degraded else Code.OK
        return Code.PROOF_FAILED if self.refuted else Code.UNSUPPORTED

    @property
    def ok(self) -> bool:
        """Whether every proof holds."""
        return all(proof.ok for proof in self.results.values())

    @property
    def degraded(self) -> bool:
        """Whether every proof holds, but some with fewer implementations than the policy wants."""
        return self.ok and bool(self.single) and not self.single_ok

    @property
    def problems(self) -> tuple[str, ...]:
        """What failed, each with its proof's name."""
        return tuple(f"{name}: {proof.problem}" for name, proof in self.results.items() if not proof.ok)

    def document(self) -> dict[str, dict[str, object]]:
        """The results as they stand in a drill's JSON document."""
        return {
            name: {
                "ok": proof.ok,
                "by": list(proof.by),
                **({"problem": proof.problem} if proof.problem else {}),
            }
            for name, proof in self.results.items()
        }


def unproven(problem: str) -> KeyProofs:
    """The result when the stored keypair is not even the key that it should be."""
    return KeyProofs({task.value: KeyProof(False, (), problem) for task in Task}, refuted=True)


@dataclass
class _Tally:
    """One proof while its evidence is being gathered."""

    by: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, task: Task, name: str, outcome: Outcome | None) -> None:
        if isinstance(outcome, Done | Product):
            self.by.append(name)
        elif isinstance(outcome, Refutation):
            self.failures.append(f"{name}: {outcome.reason}")
        elif isinstance(outcome, NoPart):
            self.notes.append(f"{name} takes no part in {task}: {outcome.reason}")

    def proof(self) -> KeyProof:
        if self.by and not self.failures:
            return KeyProof(True, tuple(self.by))
        reasons = self.failures or ["no implementation on this host could show it"]
        return KeyProof(False, tuple(self.by), "; ".join([*reasons, *_unique(self.notes)]))


@dataclass(frozen=True)
class ProofEvidence:
    """All that was made and found.

    Attributes:
        fingerprint: The fingerprint that the key must have.
        made: By implementation.
        exhibits: What was made, by maker.
        plaintexts: What each implementation encrypted, by maker.
        checked: What each implementation found, in rounds.
        refused: What this program's own reading of the stored keypair says against it.
        refuted: Why a product does not hold by this program's own arithmetic, by maker and task.
    """

    fingerprint: str
    made: Mapping[str, Made]
    exhibits: Mapping[str, Exhibit]
    plaintexts: Mapping[str, bytes]
    checked: tuple[tuple[str, CheckedExhibits], ...]
    refused: str | None = None
    refuted: Mapping[str, Mapping[Task, str]] = field(default_factory=dict)

    def verdicts(self, task: Task, maker: str) -> list[tuple[str, ExhibitVerdict]]:
        """What was said about a maker's signature or certification, and by whom."""
        found = []
        for name, checked in self.checked:
            by_maker = checked.signatures if task is Task.SIGN else checked.certifications
            if maker in by_maker:
                found.append((name, by_maker[maker]))
        return found

    def unjudged(self, task: Task, maker: str) -> bool:
        """Whether there is a product that nobody could judge."""
        made = isinstance(self.made[maker].outcomes.get(task), Product)
        return made and all(verdict.ok is None for _, verdict in self.verdicts(task, maker))

    def idle(self, name: str) -> bool:
        """Whether an implementation found no message of others to decrypt, although it made one itself."""
        found = [checked.plaintexts.values() for judge, checked in self.checked if judge == name]
        settled = any(isinstance(one, Product | Refutation) for ones in found for one in ones)
        return not settled and isinstance(self.made[name].message, Product)


def judge(evidence: ProofEvidence) -> KeyProofs:
    """Weigh the evidence.

    Returns:
        The proofs, with what the evidence tells.
    """
    tallies = {task: _Tally() for task in Task}
    if evidence.refused is not None:
        tallies[Task.UNLOCK].failures.append(evidence.refused)
    for name, made in evidence.made.items():
        for task in (Task.UNLOCK, Task.NEGATIVE):
            tallies[task].add(task, name, made.outcomes.get(task))
        tallies[Task.FINGERPRINT].add(
            Task.FINGERPRINT,
            name,
            _same(made.outcomes.get(Task.FINGERPRINT), evidence.fingerprint.encode(), "it is another key"),
        )
        for task in (Task.SIGN, Task.CERTIFY):
            _weigh(tallies[task], task, name, evidence)
    for name, checked in evidence.checked:
        for maker, found in checked.plaintexts.items():
            wanted = evidence.plaintexts.get(maker, b"")
            tallies[Task.DECRYPT].add(Task.DECRYPT, name, _same(found, wanted, "decrypts to something else"))
    for name, made in evidence.made.items():
        if isinstance(made.message, NoPart) and name not in tallies[Task.DECRYPT].by:
            tallies[Task.DECRYPT].add(Task.DECRYPT, name, made.message)
    for task, tally in tallies.items():  # who has shown it with another message has taken part
        parts = tuple(f"{name} takes no part in {task}:" for name in tally.by)
        tally.notes = [note for note in tally.notes if not note.startswith(parts)]
    results = {task.value: tally.proof() for task, tally in tallies.items()}
    return KeyProofs(
        results,
        single=tuple(task.value for task in AGREEING if results[task].ok and len(results[task].by) < 2),
        notes=tuple(note for tally in tallies.values() for note in _unique(tally.notes)),
        refuted=any(tally.failures for tally in tallies.values()),
    )


def _same(outcome: Outcome | None, wanted: bytes, otherwise: str) -> Outcome | None:
    if isinstance(outcome, Product) and outcome.data != wanted:
        return Refutation(otherwise)
    return outcome


def _weigh(tally: _Tally, task: Task, maker: str, evidence: ProofEvidence) -> None:
    """Count what one implementation made by what the others say of it."""
    outcome = evidence.made[maker].outcomes.get(task)
    if not isinstance(outcome, Product):
        tally.add(task, maker, outcome)
        return
    verdicts = evidence.verdicts(task, maker)
    wrong = evidence.refuted.get(maker, {}).get(task)
    if wrong is not None:
        tally.failures.append(f"what {maker} made does not hold: {wrong}")
    tally.failures += [
        f"{judge} rejects what {maker} made: {verdict.reason}"
        for judge, verdict in verdicts
        if verdict.ok is False
    ]
    agreeing = [judge for judge, verdict in verdicts if verdict.ok]
    tally.notes += [
        f"{judge} takes no part in judging what {maker} made for {task}: {verdict.reason}"
        for judge, verdict in verdicts
        if verdict.ok is None
    ]
    if agreeing:
        tally.by.append(maker)
        if agreeing == [maker]:
            tally.notes.append(f"{maker} judged itself in {task}: no other implementation could")
    elif wrong is None and all(verdict.ok is None for _, verdict in verdicts):
        tally.notes.append(f"what {maker} made for {task} could not be judged by any implementation")


def _unique(notes: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(notes))
