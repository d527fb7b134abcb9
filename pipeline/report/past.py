"""What a report takes from the ledger: test restores, those that were missed, changes and failures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from pipeline import history
from pipeline.clock import parse_stamp
from pipeline.errors import Code, LedgerBroken
from pipeline.evidence.ledger import Head, Ledger
from pipeline.evidence.verification import Claim, verify
from pipeline.history import Drilled
from pipeline.report.model import Change, DrillFacts, LedgerFacts, Missed, VaultSide

REPORT: Final = "report"
"""The ledger's event of a report."""
INFRA: Final = "infra"
"""The ledger's event of a comparison of Vault's side, see :mod:`pipeline.drift`."""

_ROUTINE: Final = frozenset(
    {"drill", "verify", "backups-verify", "backups-map", "check-in", "status", REPORT}
)
"""Events that are told elsewhere in a report, or repeat themselves, unless something failed."""
_DAY: Final = timedelta(days=1)
_GRACE: Final = timedelta(hours=1)
"""A timer's jitter is no miss."""


@dataclass
class Past:
    """The ledger, read once from its beginning to its end.

    Attributes:
        drills: Every test restore, oldest first.
        changes: Changes and failures, oldest first, each with its entry's number.
        covered: The last entry that the last report has seen.
        digests: SHA-256 of each entry, by number.
        begun: When the first escrow was entered.
        previous: When the last report was made.
        verified: When each backup was last read to its end, and the entry that says so, by name.
        head: The last sound entry.
        problem: What breaks the chain, in words.
        numbers: Of check-ins: the newest accepted one's entry, by custodian's label and path.
        vault: The last comparison of Vault's side.
    """

    drills: list[Drilled] = field(default_factory=list)
    changes: list[tuple[int, Change]] = field(default_factory=list)
    covered: int = 0
    digests: dict[int, str] = field(default_factory=dict)
    begun: datetime | None = None
    previous: datetime | None = None
    verified: dict[str, tuple[datetime, int]] = field(default_factory=dict)
    head: Head = field(default_factory=lambda: Head(0, _nothing()))
    problem: str | None = None
    numbers: dict[tuple[str, str], int] = field(default_factory=dict)
    vault: VaultSide | None = None

    def take(self, entry: Mapping[str, Any]) -> None:
        """Take one sound entry."""
        number, at, event, told = (
            entry["sequence"],
            parse_stamp(entry["at"]),
            entry["event"],
            entry["details"],
        )
        words = _words(event, told)
        if event in history.DRILLS:
            drilled = history.drills(entry)
            self.drills += drilled
            words = "; ".join(
                f"{item.copy} by {item.path}: {', '.join(item.problems)}"
                for item in drilled
                if not item.passed
            )
        elif event == "escrow":
            self.begun = self.begun or at
        elif event == REPORT:
            self.previous = at
            self.covered = int(told.get("through", number))
        elif event == "backups-verify":
            self.verified |= {str(item["source"]): (at, number) for item in told["backups"] if item["ok"]}
        elif event == "check-in":
            self.numbers[str(told["custodian"]), str(told["path"])] = number
        elif event == INFRA:
            self.vault = _vault(told, at, number)
            words = f"{told['action']}: {self.vault.text}"
        failure = _failed(event, told)
        planned = event == INFRA and told["action"] == "plan"
        if failure or not (planned or event in _ROUTINE):
            self.changes.append((number, Change(at, event, words, failure, (f"L{number}",))))

    def skip(self, entry: Mapping[str, Any]) -> None:
        """Note an entry that says something else than its event does; those behind it count all the same."""
        number = entry["sequence"]
        words = "the entry has another form than its event has"
        change = Change(parse_stamp(entry["at"]), entry["event"], words, True, (f"L{number}",))
        self.changes.append((number, change))

    def unreported(self) -> tuple[Change, ...]:
        """What the last report has not seen, whenever it happened: another host's entry can arrive later."""
        return tuple(change for number, change in self.changes if number > self.covered)


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
            except (KeyError, TypeError, ValueError, AttributeError):
                past.skip(entry)
            past.digests[head.sequence] = head.digest.hex
            past.head = head
    except LedgerBroken as error:
        past.problem = error.message
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
    from pipeline.digest import sha256

    return sha256(b"")
