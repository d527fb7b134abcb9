"""The report as values: computed once, rendered as HTML, PDF, JSON, CSV and OSCAL.

Every claim names the evidence that it rests on, by the evidence's id in :attr:`Report.evidence`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from pipeline.core.documents import plain
from pipeline.core.text import json_lines, spaced
from pipeline.report.backup_facts import BackupFacts
from pipeline.report.custody_facts import CustodianFacts, CustodyFacts
from pipeline.report.drill_facts import Cell, DrillFacts, DrillRun, Missed, seconds_text
from pipeline.report.ledger_facts import LedgerChange, LedgerFacts, VaultSide

SCHEMA: Final = "orgkey.report/1"


class Restorability(StrEnum):
    """Whether the key can be restored today."""

    YES = "yes"
    GAPS = "yes, with gaps"
    UNPROVEN = "not proven"
    UNKNOWN = "unknown"
    NO = "no"


class Support(StrEnum):
    """How far there is evidence for a control; never that it is met."""

    SUPPORTED = "supported"
    PARTIAL = "partly supported"
    NONE = "not supported"
    UNKNOWN = "not known"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True)
class ReportVerdict:
    """The answer on the first page: can the key be restored today?

    Attributes:
        answer: In a word.
        sentence: In one sentence.
        where: Targets whose copies are good today.
        paths: Custody paths that were proven within the limits.
        people: Whether one of these needs people.
        proven_at: When the newest passed test restore was made; ``None`` when there is none.
        rto_seconds: The slowest of the last passed test restores of each copy and path, in seconds.
        rto_objective: What the policy allows, in seconds.
        gaps: What is missing, failed or overdue, in words, worst first.
        evidence: Ids.
        by: The same paths, each with who has to act, in words.
    """

    answer: Restorability
    sentence: str
    where: tuple[str, ...]
    paths: tuple[str, ...]
    people: bool
    proven_at: datetime | None
    rto_seconds: float | None
    rto_objective: float | None
    gaps: tuple[str, ...]
    evidence: tuple[str, ...] = ()
    by: tuple[str, ...] = ()

    @property
    def from_text(self) -> str:
        """From where, in words."""
        return ", ".join(self.where) or self._not("nowhere")

    @property
    def proven_text(self) -> str:
        """When it was last proven, in words."""
        return f"{self.proven_at:%Y-%m-%d %H:%M} UTC" if self.proven_at else self._not("never")

    @property
    def by_text(self) -> str:
        """By whom, in words."""
        return " or ".join(self.by or self.paths) or self._not("nobody")

    def _not(self, word: str) -> str:
        return "not known" if self.answer is Restorability.UNKNOWN else word

    @property
    def rto_text(self) -> str:
        """How fast, in words."""
        return seconds_text(self.rto_seconds)

    @property
    def objective_text(self) -> str:
        """How fast it has to be, in words."""
        known = self.rto_objective is not None
        return f"objective {seconds_text(self.rto_objective)}" if known else "no objective set"


@dataclass(frozen=True)
class OrgKeyFacts:
    """The Org Key.

    Attributes:
        fingerprint: 40 hexadecimal digits.
        user_ids: Its names.
        algorithm: For people, for example ``RSA-4096``.
        created: When it was made.
        expires: When its present self-signatures end.
        capabilities: For the primary key and each subkey: its fingerprint, algorithm and what it may do.
        live: ``same``, ``renewed``, ``replaced`` or ``unknown``.
        live_reason: Why, in words.
        renewal: What is foretold of its renewal, in words.
        former: Earlier Org Keys that old backups need: fingerprint, and what is stored of it.
    """

    fingerprint: str
    user_ids: tuple[str, ...]
    algorithm: str
    created: datetime | None
    expires: datetime | None
    capabilities: tuple[tuple[str, str, str], ...]
    live: str
    live_reason: str | None
    renewal: str | None
    former: tuple[tuple[str, str], ...] = ()

    @property
    def spaced(self) -> str:
        """The fingerprint in groups, as people compare it."""
        return spaced(self.fingerprint)


@dataclass(frozen=True)
class EpochFacts:
    """The epoch that a restore would take.

    Attributes:
        name: Its name.
        state: ``written``, ``complete``, ``proven`` or ``superseded``.
        created: When it was minted, by the escrow host's clock.
        record_id: 32 hexadecimal digits.
        record_sha256: Digest of the record.
        protection: How the record protects the key, in words.
        others: Other stored epochs: name and state.
    """

    name: str
    state: str
    created: datetime
    record_id: str
    record_sha256: str
    protection: tuple[str, ...]
    others: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class CopyFacts:
    """One target's copy of the latest epoch, as it was read for this report.

    Attributes:
        target: The target's name.
        kind: ``vault``, ``s3`` or ``directory``.
        domain: Its failure domain.
        controlled_by: Who can read, write or wipe it.
        location: For people.
        version: The target's own version id.
        ok: Whether it was read whole and is authentic.
        problem: What is wrong or odd, in words.
        sha256: Digest of the bytes that were read.
        retain_until: End of its retention, where the target tells.
        lock_mode: ``GOVERNANCE`` or ``COMPLIANCE`` as configured; ``None`` where it has no such lock.
        evidence: Ids.
        unread: Whether it could not be read, so that nothing is known of it.
    """

    target: str
    kind: str
    domain: str
    controlled_by: tuple[str, ...]
    location: str
    version: str | None
    ok: bool
    problem: str | None
    sha256: str | None
    retain_until: datetime | None
    lock_mode: str | None
    evidence: tuple[str, ...] = ()
    unread: bool = False

    @property
    def state(self) -> str:
        """In words."""
        return "good" if self.ok else "not known" if self.unread else "not good"


@dataclass(frozen=True)
class PathFacts:
    """One custody path of the latest epoch.

    Attributes:
        name: Its name.
        needs: The holders and thresholds, in words, for example ``3 of 5 custodians``.
        people: Whether it needs people.
    """

    name: str
    needs: tuple[str, ...]
    people: bool


@dataclass(frozen=True)
class RuleFacts:
    """One rule of the gate.

    Attributes:
        name: The rule's name, most often a setting of ``[policy]``.
        ok: Whether it holds.
        text: In words.
        warned: Whether it holds only since nothing asks for more.
    """

    name: str
    ok: bool
    text: str
    warned: bool = False

    @property
    def state(self) -> str:
        """In a word."""
        return "warned" if self.warned else "ok" if self.ok else "broken"


@dataclass(frozen=True)
class EvidenceItem:
    """Something that a claim rests on.

    Attributes:
        id: Short and unique in this report, for example ``L12`` (ledger entry 12), ``C1``, ``R1``.
        kind: ``ledger entry``, ``certificate``, ``unchecked certificate``, ``record``, ``public key`` …
        what: In words.
        sha256: Digest of its bytes.
        file: Its name in a bundle; ``None`` where it is not in one.
    """

    id: str
    kind: str
    what: str
    sha256: str
    file: str | None

    @property
    def place(self) -> str:
        """Where a reader finds it."""
        return self.file or ("at the targets" if self.kind == "record" else "\N{EN DASH}")


@dataclass(frozen=True)
class Control:
    """A requirement of a catalogue, and what this report has for it.

    Attributes:
        id: For example ``CP-9(1)``.
        catalogue: For example ``NIST SP 800-53 Rev. 5``.
        asks: What it asks for, in this program's words.
        support: How far there is evidence.
        says: What the evidence shows today, in words.
        applicability: When the control applies at all; empty when always.
        check: Whether the number was read in secondary sources: compare with your own copy.
        evidence: Ids.
    """

    id: str
    catalogue: str
    asks: str
    support: Support
    says: str
    applicability: str = ""
    check: bool = False
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """Everything that a report says.

    Attributes:
        generated: When it was computed.
        host: On which host.
        run: The run's correlation id.
        program: Name and version.
        since: The beginning of the period for drills and changes.
        previous: When the last bundle was made; what it has not seen is marked.
        drill_interval_days: How often the policy wants a test restore; ``None`` when it does not say.
        not_covered: What this escrow and this report do not show, in words.
        vault: How Vault's side stood when it was last compared; ``None`` when it never was.
    """

    generated: datetime
    host: str
    run: str
    program: str
    since: datetime
    previous: datetime | None
    drill_interval_days: float | None
    verdict: ReportVerdict
    key: OrgKeyFacts
    epoch: EpochFacts | None
    copies: tuple[CopyFacts, ...]
    paths: tuple[PathFacts, ...]
    matrix: tuple[Cell, ...]
    drills: tuple[DrillFacts, ...]
    missed: tuple[Missed, ...]
    backups: tuple[BackupFacts, ...]
    custody: CustodyFacts | None
    custodians: tuple[CustodianFacts, ...]
    changes: tuple[LedgerChange, ...]
    rules: tuple[RuleFacts, ...]
    not_covered: tuple[str, ...]
    ledger: LedgerFacts
    evidence: tuple[EvidenceItem, ...]
    controls: tuple[Control, ...] = ()
    vault: VaultSide | None = None

    @property
    def failed(self) -> tuple[DrillFacts, ...]:
        """The period's test restores that failed."""
        return tuple(drill for drill in self.drills if not drill.passed)

    @property
    def by_run(self) -> tuple[DrillRun, ...]:
        """The test restores of the period as people count them, oldest first."""
        found: dict[tuple[datetime, tuple[str, ...]], list[DrillFacts]] = {}
        for drill in self.drills:
            found.setdefault((drill.at, drill.evidence), []).append(drill)
        return tuple(DrillRun(at, tuple(drills), evidence) for (at, evidence), drills in found.items())

    @property
    def runs(self) -> tuple[int, int]:
        """How many runs of test restores of the period passed and failed; one may try several copies."""
        passed = [run.passed for run in self.by_run]
        return sum(passed), len(passed) - sum(passed)

    @property
    def missed_text(self) -> str:
        """How many were missed; a dash where none can be."""
        return "\N{EN DASH}" if self.drill_interval_days is None else str(len(self.missed))

    def cell(self, copy: str, path: str) -> Cell | None:
        """How one copy stands on one path."""
        return next((cell for cell in self.matrix if (cell.copy, cell.path) == (copy, path)), None)


def cited(report: Report, drills: Sequence[DrillFacts | DrillRun]) -> Iterator[str]:
    """The ids of the evidence that a report names.

    Args:
        report: The report.
        drills: The test restores that count: all of the report's, or those that are shown.
    """
    groups = (
        (report.verdict,), report.copies, report.matrix, drills, report.backups, report.custodians,
        report.changes, report.controls, (report.custody,) if report.custody else (),
        (report.vault,) if report.vault else (),
    )  # fmt: skip
    for group in groups:
        for item in group:
            yield from item.evidence


def document(report: Report) -> dict[str, Any]:
    """The report as JSON values; times as in every other document, keys as the attributes are called."""
    return {"schema": SCHEMA, **plain(report)}


def render(report: Report) -> bytes:
    """The report's document, as a file."""
    return f"{json_lines(document(report))}\n".encode()
