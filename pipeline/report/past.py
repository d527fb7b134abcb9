"""What a report takes from the ledger: test restores, those that were missed, changes and failures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from pipeline.core.clock import parse_stamp
from pipeline.core.errors import Code, LedgerBroken
from pipeline.evidence.ledger import drill_history as history
from pipeline.evidence.ledger.drill_history import Copied, Drilled
from pipeline.evidence.ledger.store import Head, Ledger
from pipeline.evidence.ledger.verify import Claim, verify
from pipeline.report.model import Change, DrillFacts, LedgerFacts, Missed, VaultSide

REPORT: Final = "report"
"""The ledger's event of a report."""
INFRA: Final = "infra"
"""The ledger's event of a comparison of Vault's side, see :mod:`pipeline.workflows.provision`."""

_ROUTINE: Final = frozenset(
    {"drill", "verify", "backups-verify", "backups-map", "check-in", "status", REPORT}
)
"""Events that are told elsewhere in a report, or repeat themselves, unless something failed."""
_MISTYPED: Final = frozenset({"check-in-refused"})
"""Events of somebody's typing error: told, and no failure."""
_DAY: Final = timedelta(days=1)
_GRACE: Final = timedelta(hours=1)
"""A timer's jitter is no miss."""


@dataclass(frozen=True)
class Read:
    """The newest attempt to read a backup to its end.

    Attributes:
        at: When.
        number: The entry that says so.
        ok: Whether it was read to its end.
        problem: Why not, in words.
    """

    at: datetime
    number: int
    ok: bool
    problem: str


@dataclass
class Past:
    """The ledger, read once from its beginning to its end.

    Attributes:
        drills: Every test restore, oldest first.
        changes: Changes and failures, in the ledger's order, each with its entry's number.
        covered: The last entry that the last bundle has seen.
        copied: Every copy that a repair wrote anew.
        digests: SHA-256 of each entry, by number.
        begun: When the first escrow was entered.
        bundled: When the last bundle was made.
        backups: The newest attempt to read each backup, by name.
        head: The last sound entry.
        problem: What breaks the chain, in words.
        vault: The last comparison of Vault's side.
    """

    drills: list[Drilled] = field(default_factory=list)
    copied: list[Copied] = field(default_factory=list)
    changes: list[tuple[int, Change]] = field(default_factory=list)
    covered: int = 0
    digests: dict[int, str] = field(default_factory=dict)
    begun: datetime | None = None
    bundled: datetime | None = None
    backups: dict[str, Read] = field(default_factory=dict)
    head: Head = field(default_factory=lambda: Head(0, _nothing()))
    problem: str | None = None
    vault: VaultSide | None = None

    def take(self, entry: Mapping[str, Any]) -> None:
        """Take one sound entry; behind a fork it may be older than the one before it."""
        number, at, event, told = (
            entry["sequence"],
            parse_stamp(entry["at"]),
            entry["event"],
            entry["details"],
        )
        words = _words(event, told)
        drilled, _, _, copied = history.parts(entry)
        self.copied += copied
        if drilled:
            self.drills += drilled
            words = "; ".join(
                f"{item.copy} by {item.path}: {', '.join(item.problems)}"
                for item in drilled
                if not item.passed
            )
        elif event == "escrow":
            self.begun = min(self.begun or at, at)
        elif event == REPORT:
            self._bundled(told, at, number)
        elif event == "backups-verify":
            self._read(told["backups"], at, number)
        elif event == INFRA:
            self.vault = _vault(told, at, number)
            words = f"{told['action']}: {self.vault.text}"
        failure = _failed(event, told)
        planned = event == INFRA and told["action"] == "plan"
        if failure or not (planned or event in _ROUTINE):
            self.changes.append((number, Change(at, event, words, failure, (f"L{number}",))))

    def _bundled(self, told: Mapping[str, Any], at: datetime, number: int) -> None:
        """A bundle is what an auditor gets: what is printed in between takes nothing away from it."""
        through = told.get("through", number)
        if type(through) is not int or not 0 <= through <= number:
            raise ValueError(through)
        if told.get("bundle"):
            self.bundled, self.covered = at, through

    def _read(self, backups: Iterable[Mapping[str, Any]], at: datetime, number: int) -> None:
        for item in backups:
            name, problem = str(item["source"]), str(item.get("problem") or "")
            if name not in self.backups or self.backups[name].at <= at:
                self.backups[name] = Read(at, number, item["ok"] is True, problem)

    def skip(self, entry: Mapping[str, Any]) -> None:
        """Note an entry that says something else than its event does; those behind it count all the same."""
        number = entry["sequence"]
        words = "the entry has another form than its event has"
        change = Change(parse_stamp(entry["at"]), entry["event"], words, True, (f"L{number}",))
        self.changes.append((number, change))

    def since(self, begin: datetime) -> tuple[Change, ...]:
        """The changes of a period and what no bundle has shown yet, oldest first.

        Another host's entry can arrive later than its time. Nothing is left out because a report has shown
        it; what the last bundle has not seen is marked.

        Args:
            begin: The beginning of the period.
        """
        marked = (
            replace(change, new=self.bundled is not None and number > self.covered)
            for number, change in self.changes
        )
        return tuple(
            sorted((change for change in marked if change.new or change.at >= begin), key=lambda one: one.at)
        )


def read(ledger: Ledger) -> Past:
    """Read a ledger; what comes behind a broken entry is left out, since nothing speaks for it.

    Args:
        ledger: The ledger of the key on this host.

    Raises:
        LocalFilesProblem: An entry cannot be read.
    """
    past = Past()
    try:
        for entry, head in ledger.each():
            try:
                past.take(entry)
            except history.MALFORMED:
                past.skip(entry)
            past.digests[head.sequence] = head.digest.hex
            past.head = head
    except LedgerBroken as error:
        past.problem = error.message
    past.drills = history.in_time(past.drills, past.copied)
    return past


def drill_facts(
    drills: Iterable[Drilled], since: datetime, objective: float | None
) -> tuple[DrillFacts, ...]:
    """The period's test restores as the report has them."""
    return tuple(
        DrillFacts(
            item.at,
            item.epoch,
            item.copy,
            item.path,
            item.passed,
            item.seconds,
            tuple(item.stages.items()),
            item.problems,
            item.by.get("sign", ()),
            None if objective is None or item.seconds is None else item.seconds <= objective,
            (f"L{item.sequence}",),
        )
        for item in drills
        if item.at >= since
    )


def missed(
    drills: Sequence[Drilled],
    begun: datetime | None,
    interval: float | None,
    since: datetime,
    now: datetime,
) -> tuple[Missed, ...]:
    """The times in which a test restore was due and none passed.

    A run counts when everything that it tried passed; the first escrow starts the count, or what was tried
    first.

    Args:
        drills: Oldest first.
        begun: When the first escrow was entered in the ledger.
        interval: How often one is due, in days; ``None`` when nothing says so.
        since: The beginning of the period.
        now: The present time.
    """
    starts = [item.at for item in drills] + ([begun] if begun else [])
    if interval is None or not starts:
        return ()
    runs: dict[int, list[Drilled]] = {}
    for item in drills:
        runs.setdefault(item.sequence, []).append(item)
    passed = [items[0].at for items in runs.values() if all(item.passed for item in items)]
    found = []
    before = min(starts)
    for moment in [*passed, None]:
        due = before + timedelta(days=interval)
        ended = moment or now
        if ended > due + _GRACE and ended >= since:
            found.append(Missed(max(due, since), moment, round((ended - due) / _DAY, 1)))
        before = moment or before
    return tuple(found)


def ledger_facts(
    past: Past, folder: Path, claims: Sequence[Claim], waiting: int | None
) -> tuple[LedgerFacts, tuple[str, ...]]:
    """What the report says of the ledger that it rests on.

    Args:
        past: The ledger.
        folder: Where it lies.
        claims: What something outside the ledger says of its entries.
        waiting: How many entries no mirror has yet; ``None`` without a mirror.

    Returns:
        The facts, and what else a reader should know.

    Raises:
        LocalFilesProblem: The folder cannot be read.
    """
    anchored, by, problem = 0, None, past.problem
    notes: tuple[str, ...] = ()
    if claims:
        found = verify(folder, claims, absent=True)
        problem = problem or found.problem
        anchored, by, notes = found.anchored_to, found.anchored_by, found.notes
    facts = LedgerFacts(
        past.head.sequence, past.head.digest.hex, problem is None, problem, anchored, by, waiting
    )
    return facts, notes


def _vault(told: Mapping[str, Any], at: datetime, number: int) -> VaultSide:
    """What an entry says of Vault's side: after an apply what it left, else what the plan showed."""
    shown = [f"{item['what']} at {item['server']}" for item in (*told["changes"], *told["problems"])]
    left = told.get("left")
    return VaultSide(
        at,
        tuple(map(str, told["servers"])),
        tuple(map(str, shown if left is None else left)),
        left is None and any(item["surplus"] for item in told["changes"]),
        (f"L{number}",),
    )


def _failed(event: str, told: Mapping[str, Any]) -> bool:
    if event in _MISTYPED:
        return False
    code = told.get("code", 0)
    return event.endswith(("-failed", "-refused")) or event == "fork" or code not in (0, int(Code.PENDING))


def _words(event: str, told: Mapping[str, Any]) -> str:
    """One line for people; foreign text in it is shown as text only."""
    parts = []
    if told.get("epoch"):
        parts.append(f"epoch {told['epoch']}")
    if isinstance(told.get("copies"), dict) and told["copies"]:
        parts.append("stored at " + ", ".join(sorted(map(str, told["copies"]))))
    if told.get("failures"):
        parts.append("failed at " + ", ".join(_failures(told["failures"])))
    for name, label in (("supersedes", "supersedes"), ("reason", "reason:"), ("accepted", "accepted:")):
        value = told.get(name)
        if value:
            parts.append(f"{label} {_flat(value)}")
    if told.get("custodians"):
        parts.append("custodians " + _flat(told["custodians"]))
    if told.get("message"):
        parts.append(str(told["message"]))
    if told.get("code"):
        parts.append(f"exit code {told['code']}")
    return ", ".join(parts) or event


def _failures(told: Mapping[str, Any] | Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Where something failed, and with which code: an escrow has it by target, a retention one by one."""
    pairs = told.items() if isinstance(told, Mapping) else ((item["target"], item["code"]) for item in told)
    return (f"{name} ({code})" for name, code in pairs)


def _flat(value: object) -> str:
    if isinstance(value, Mapping):
        return _flat(value.get("epoch") or list(value))
    if isinstance(value, list | tuple):
        return ", ".join(map(_flat, value))
    return str(value)


def _nothing() -> Any:
    from pipeline.core.digest import sha256

    return sha256(b"")
