"""The report as values: computed once, rendered as HTML, PDF, JSON, CSV and OSCAL.

Every claim names the evidence that it rests on, by the evidence's id in :attr:`Report.evidence`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from pipeline.core.documents import plain
from pipeline.core.text import age, amount, printable, spaced, who_alone

SCHEMA: Final = "orgkey.report/1"


class Restorability(StrEnum):
    """Whether the key can be restored today."""

    YES = "yes"
    GAPS = "yes, with gaps"
    UNPROVEN = "not proven"
    UNKNOWN = "unknown"
    NO = "no"


class ProofState(StrEnum):
    """How one copy on one custody path stands."""

    PROVEN = "proven"
    OVERDUE = "overdue"
    FAILED = "failed"
    NEVER = "never"
    UNREADABLE = "unreadable"


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
        lock_mode: ``GOVERNANCE``, ``COMPLIANCE`` or ``None``, as configured.
        evidence: Ids.
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

    @property
    def state(self) -> str:
        """In words."""
        return "good" if self.ok else "not good"


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
class Cell:
    """How one copy stands on one path: the matrix of proofs.

    Attributes:
        copy: The target.
        path: The custody path.
        state: See :class:`ProofState`.
        proven_at: The newest passed test restore of this copy, path and epoch.
        tried_at: The newest one, whatever it showed.
        seconds: How long the newest passed one took, in seconds.
        problem: What the newest one failed on, when it failed.
        evidence: Ids.
    """

    copy: str
    path: str
    state: ProofState
    proven_at: datetime | None
    tried_at: datetime | None
    seconds: float | None
    problem: str | None
    evidence: tuple[str, ...] = ()

    @property
    def time_text(self) -> str:
        """How long it took, in words."""
        return seconds_text(self.seconds)


@dataclass(frozen=True)
class DrillFacts:
    """One test restore of the period: one copy on one path.

    Attributes:
        at: When.
        epoch: The epoch's name.
        copy: The target.
        path: The custody path.
        passed: Whether everything was proven.
        seconds: From the stored copy to a proven key; ``None`` when it did not get there.
        stages: Seconds by stage.
        problems: What failed, in words.
        implementations: Who agreed on the proofs.
        within_objective: Whether it was fast enough; ``None`` without an objective or a time.
        evidence: Ids.
    """

    at: datetime
    epoch: str
    copy: str
    path: str
    passed: bool
    seconds: float | None
    stages: tuple[tuple[str, float], ...]
    problems: tuple[str, ...]
    implementations: tuple[str, ...]
    within_objective: bool | None
    evidence: tuple[str, ...] = ()

    @property
    def state(self) -> str:
        """In a word."""
        return "passed" if self.passed else "failed"

    @property
    def slow(self) -> bool:
        """Whether it is known to have been too slow."""
        return self.within_objective is False

    @property
    def time_text(self) -> str:
        """How long it took, in words."""
        return seconds_text(self.seconds) if self.seconds is not None else "\N{EN DASH}"


@dataclass(frozen=True)
class DrillRun:
    """One run of test restores, as people count them: it may try several copies and paths.

    Attributes:
        at: When.
        drills: What it tried.
        evidence: Ids.
    """

    at: datetime
    drills: tuple[DrillFacts, ...]
    evidence: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether everything that it tried passed."""
        return all(drill.passed for drill in self.drills)

    @property
    def slow(self) -> bool:
        """Whether something that it restored is known to have been too slow."""
        return any(drill.slow for drill in self.drills)

    @property
    def time_text(self) -> str:
        """How long the slowest took, in words."""
        slowest = max(self.drills, key=lambda drill: drill.seconds or 0.0)
        return slowest.time_text

    @property
    def tried(self) -> tuple[tuple[str, str], ...]:
        """What it restored, in words, and the epoch that it was of."""
        found: dict[tuple[str, str], list[str]] = {}
        for drill in self.drills:
            found.setdefault((drill.path, drill.epoch), []).append(drill.copy)
        return tuple((f"{', '.join(copies)} by {path}", epoch) for (path, epoch), copies in found.items())

    @property
    def problems(self) -> tuple[str, ...]:
        """What failed, in words, each once."""
        told: dict[str, list[str]] = {}
        for drill in self.drills:
            if not drill.passed:
                told.setdefault("; ".join(drill.problems), []).append(f"{drill.copy} by {drill.path}")
        return tuple(f"{', '.join(whose)}: {problem}" for problem, whose in told.items())


@dataclass(frozen=True)
class Missed:
    """A time in which a test restore was due and none passed.

    Attributes:
        due: When it was due.
        until: When one passed at last; ``None`` when it is still missing.
        days: How long it was, or is, overdue.
    """

    due: datetime
    until: datetime | None
    days: float

    @property
    def state(self) -> str:
        """In a word."""
        return "missed" if self.until else "overdue"


@dataclass(frozen=True)
class BackupFacts:
    """One of the server's backups.

    Attributes:
        name: For people.
        bytes: Its size, where it is known.
        key_ids: Whom it is encrypted to.
        epoch: The escrowed epoch that opens it; ``None`` when none does.
        proven: Whether that epoch is proven.
        problem: Why none opens it for sure, in words.
        verified_at: When it was read to its end with the escrowed key; ``None`` when it never was, or could
            not be when it was last tried.
        evidence: Ids.
        failed_at: When the last try to read it to its end failed; ``None`` when it did not.
        failure: Why, in words.
        sha256: Of the bytes that were read to their end; ``None`` where ``verified_at`` is.
        signed_by: The fingerprint of the signer whose signature inside was checked; ``None``: who made it is
            not proven.
        history: What it is after those before it: ``new``, ``same``, ``replaced``, ``shrunk``, ``older``;
            ``None`` where that is not known.
        history_text: What is wrong with that, in words; empty where nothing is, or somebody has looked at it.
        changed: Whether what lies there now is not what was read to its end, or its bytes were not kept.
    """

    name: str
    bytes: int | None
    key_ids: tuple[str, ...]
    epoch: str | None
    proven: bool
    problem: str | None
    verified_at: datetime | None = None
    evidence: tuple[str, ...] = ()
    failed_at: datetime | None = None
    failure: str | None = None
    sha256: str | None = None
    signed_by: str | None = None
    history: str | None = None
    history_text: str = ""
    changed: bool = False

    @property
    def origin(self) -> str:
        """Who made it, as far as it is proven."""
        return f"signed by {self.signed_by}" if self.signed_by else "unproven"

    @property
    def state(self) -> str:
        """Whether an escrowed key is known to open it."""
        return "covered" if self.epoch and not self.problem else "not covered"

    @property
    def read_at(self) -> datetime | None:
        """When it was last tried to read it to its end."""
        return self.failed_at or self.verified_at

    @property
    def read_state(self) -> str:
        """How that ended, in a word."""
        if self.failed_at:
            return "failed"
        if self.history_text:
            return self.history or "unexpected"
        return "done" if self.verified_at else "changed" if self.changed else "never"

    @property
    def size_text(self) -> str:
        """Its size for people."""
        return "unknown" if self.bytes is None else amount(self.bytes)

    @property
    def read_text(self) -> str:
        """Whether it was read to its end, in words."""
        if self.failed_at:
            why = f": {self.failure}" if self.failure else ""
            return f"FAILED when it was read on {self.failed_at:%Y-%m-%d %H:%M}{why}"
        if self.changed:
            return "what lies there now was never read whole"
        if self.verified_at is None:
            return "never read whole"
        origin = self.origin if self.signed_by else "who made it is unproven"
        text = f"read to its end {self.verified_at:%Y-%m-%d %H:%M}, SHA-256 {self.sha256}, {origin}"
        return f"{text}; {self.history}: {self.history_text}" if self.history_text else text


@dataclass(frozen=True)
class CustodyFacts:
    """Who can get the key, and what loss is fatal; computed.

    Attributes:
        reconstruct: Each line is enough to get the key.
        fatal: Each line is a loss that makes every restore impossible.
        alone: Parties that get the key alone.
        fatal_alone: Single losses that are fatal.
        hosts: Hosts whose logins open a whole path: each gets the key alone.
        lingering: What is left over and still opens the key.
        facts: What servers say.
        unknown: What could not be found out.
        picture: A self-contained SVG.
        evidence: Ids.
        people: Who the groups and names of the lines are.
    """

    reconstruct: tuple[str, ...]
    fatal: tuple[str, ...]
    alone: tuple[str, ...]
    fatal_alone: tuple[str, ...]
    lingering: tuple[str, ...]
    facts: tuple[str, ...]
    unknown: tuple[str, ...]
    picture: str
    evidence: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    people: tuple[str, ...] = ()

    @property
    def alone_text(self) -> str:
        """Who gets the key alone, in words."""
        return who_alone(self.alone, self.hosts)


@dataclass(frozen=True)
class CustodianFacts:
    """One custodian's share.

    Attributes:
        name: What the custodian is called.
        label: The certificate's fingerprint, or the keeper of paper.
        path: The custody path.
        last_check_in: When the share was last proven, by a check-in or in a test restore.
        age_seconds: Since then, or since the share was made.
        overdue: Whether the policy's limit has passed.
        evidence: Ids.
        pending: Whether it was asked for, and no answer has come.
    """

    name: str
    label: str
    path: str
    last_check_in: datetime | None
    age_seconds: float
    overdue: bool
    evidence: tuple[str, ...] = ()
    pending: bool = False

    @property
    def state(self) -> str:
        """In words."""
        if self.overdue:
            return "overdue"
        if self.last_check_in is not None:
            return "in time"
        return "asked, not answered yet" if self.pending else "never asked or answered"


@dataclass(frozen=True)
class LedgerChange:
    """Something that the ledger holds of the period, test restores left out.

    Attributes:
        at: When.
        event: The ledger's event.
        text: In words.
        failure: Whether something failed or was refused.
        evidence: Ids.
        new: Whether the last bundle has not seen it.
    """

    at: datetime
    event: str
    text: str
    failure: bool
    evidence: tuple[str, ...] = ()
    new: bool = False

    @property
    def state(self) -> str:
        """In words."""
        return f"{'failure' if self.failure else 'done'}{', new' if self.new else ''}"


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
        kind: ``ledger entry``, ``certificate``, ``record``, ``public key`` or ``computed``.
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
class HostLedger:
    """One host's chain of the ledger.

    Attributes:
        host: The host-id; empty where this host has no entry yet.
        entries: How many.
        head: Digest of the last entry.
        anchored_to: The newest entry that something outside this host vouches for, 0 when nothing does.
        anchor: What that is, in words.
    """

    host: str
    entries: int
    head: str
    anchored_to: int
    anchor: str | None


@dataclass(frozen=True)
class LedgerFacts:
    """The ledger that the report rests on: this host's chain, and those of other hosts.

    Attributes:
        entries: How many this host has.
        head: Digest of the last entry.
        ok: Whether every chain holds.
        problem: The first bad entry, in words.
        anchored_to: The newest entry that something outside the ledger vouches for, 0 when nothing does.
        anchor: What that is, in words.
        waiting: Entries that no mirror has yet; ``None`` when no mirror is configured.
        hosts: The chain of each host, this host's first.
    """

    entries: int
    head: str
    ok: bool
    problem: str | None
    anchored_to: int
    anchor: str | None
    waiting: int | None = None
    hosts: tuple[HostLedger, ...] = ()

    @property
    def state(self) -> str:
        """In a word."""
        return "ok" if self.ok else "broken"


@dataclass(frozen=True)
class VaultSide:
    """The last comparison of Vault's policies, roles, mounts and keys with `infra/vault`.

    Attributes:
        at: When it was made.
        servers: Which servers it looked at.
        differences: What differed afterwards, in words; empty for nothing.
        wider: Whether a server gave more than it should.
        evidence: Ids.
    """

    at: datetime
    servers: tuple[str, ...]
    differences: tuple[str, ...]
    wider: bool
    evidence: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """In one line."""
        differences = "; ".join(self.differences) or "no differences"
        return f"{', '.join(self.servers)}: {differences}"

    @property
    def state(self) -> str:
        """In words."""
        return "gives more" if self.wider else "differs" if self.differences else "same"


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


def harmless(report: Report) -> Report:
    """The same report without control characters in any text: foreign text must not steer what shows it."""
    cleaned = _harmless(report)
    assert isinstance(cleaned, Report)
    return cleaned


def _harmless(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        # A picture is an image of its own, with lines.
        names = [field.name for field in dataclasses.fields(value) if field.name != "picture"]
        return dataclasses.replace(value, **{name: _harmless(getattr(value, name)) for name in names})
    if isinstance(value, str) and not isinstance(value, StrEnum):
        return printable(value)
    return tuple(map(_harmless, value)) if isinstance(value, tuple) else value


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
    return (json.dumps(document(report), indent=2, ensure_ascii=False) + "\n").encode()


def seconds_text(value: float | None) -> str:
    """A recovery time for people."""
    if value is None:
        return "unknown"
    return f"{value:.2f} s" if value < 60 else age(value)
