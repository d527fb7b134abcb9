"""What a report takes from the ledger: test restores, those that were missed, changes and failures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from pipeline.core.clock import AHEAD
from pipeline.core.errors import LedgerBroken
from pipeline.core.values import taken_from
from pipeline.evidence.ledger import drill_history as history
from pipeline.evidence.ledger import events
from pipeline.evidence.ledger.drill_history import Drilled, History
from pipeline.evidence.ledger.entry import START
from pipeline.evidence.ledger.store import BEFORE_HOSTS, Ledger, LedgerEntry
from pipeline.evidence.ledger.verify import Claim, VerifiedChain, verify
from pipeline.report.drill_facts import DrillFacts, Missed
from pipeline.report.ledger_facts import HostLedger, LedgerChange, LedgerFacts, VaultSide

HERE: Final = "here"
"""What stands for this host in a report's entry, whatever its host-id is later."""

_ROUTINE: Final = frozenset(
    {"drill", "verify", "backups-verify", "backups-map", "check-in", "status", "report"}
)
"""Events that are told elsewhere in a report, or repeat themselves, unless something failed."""
_DAY: Final = timedelta(days=1)
_GRACE: Final = timedelta(hours=1)
"""A timer's jitter is not a miss."""


@dataclass
class Past:
    """The ledger, read once, chain by chain.

    Attributes:
        host: This host's host-id.
        drills: Every test restore, oldest first.
        changes: Changes and failures, each with its entry.
        covered: The last entry of each host that the last bundle has seen.
        files: Digest and file of each entry, by its label.
        begun: When this host's first escrow was entered.
        bundled: When this host made its last bundle.
        heads: The last sound entry of each host.
        problem: What breaks a chain, in words.
        vault: The last comparison of Vault's side by this host.
        history: What the gate is judged by, of the same reading; or what breaks a chain.
    """

    host: str = ""
    drills: Sequence[Drilled] = ()
    changes: list[tuple[LedgerEntry, LedgerChange]] = field(default_factory=list)
    covered: Mapping[str, int] = field(default_factory=dict)
    files: dict[str, tuple[str, str]] = field(default_factory=dict)
    begun: datetime | None = None
    bundled: datetime | None = None
    heads: dict[str, tuple[int, str]] = field(default_factory=dict)
    problem: str | None = None
    vault: VaultSide | None = None
    history: History | LedgerBroken = field(default_factory=History)

    def take(self, entry: LedgerEntry, event: events.Event) -> None:
        """Take one sound entry, and what it says.

        Raises:
            MalformedEvent: It says something else than its event does.
        """
        words = _words(event)
        match event:
            case events.DrillEvent():
                words = "; ".join(
                    f"{item.target} by {item.path}: {', '.join(history.problems(item.proofs))}"
                    for item in event.results
                    if not item.passed
                )
            case events.EscrowEvent() if entry.own:
                self.begun = min(self.begun or entry.at, entry.at)
            case events.ReportEvent() if entry.own:
                self._bundle(event, entry)
            case events.InfraEvent():
                side = _vault(event, entry)
                words = f"{event.action}: {side.text}"
                if entry.own and (self.vault is None or self.vault.at <= entry.at):
                    self.vault = side
        planned = isinstance(event, events.InfraEvent) and event.action == "plan"
        if event.failed or not (planned or entry.event in _ROUTINE):
            self._change(entry, words, failure=event.failed)

    def _bundle(self, event: events.ReportEvent, entry: LedgerEntry) -> None:
        """A bundle is what an auditor gets: what is printed in between takes nothing away from it."""
        mine = BEFORE_HOSTS if entry.host == BEFORE_HOSTS else HERE
        seen = {mine: event.through} if isinstance(event.through, int) else event.through
        if not 0 <= seen.get(mine, 0) <= entry.number:
            raise events.MalformedEvent.of(entry)
        if event.bundle and (self.bundled is None or self.bundled <= entry.at):
            self.bundled, self.covered = entry.at, seen

    def skip(self, entry: LedgerEntry) -> None:
        """Note an entry that says something else than its event does; those behind it count all the same."""
        self._change(entry, "the entry is malformed", failure=True)

    def _change(self, entry: LedgerEntry, words: str, *, failure: bool) -> None:
        if not entry.own:
            words = f"host {entry.host} tells: {words}"
        named = entry.without_details()
        self.changes.append((named, LedgerChange(entry.at, entry.event, words, failure, (entry.label,))))

    def since(self, begin: datetime) -> tuple[LedgerChange, ...]:
        """The changes of a period and what no bundle has shown yet, oldest first.

        Another host's entry can arrive later than its time. Nothing is left out because a report has shown
        it; what the last bundle has not seen is marked.

        Args:
            begin: The beginning of the period.
        """
        marked = (
            replace(change, new=self.bundled is not None and entry.number > self._covered(entry.host))
            for entry, change in self.changes
        )
        return tuple(
            sorted((change for change in marked if change.new or change.at >= begin), key=lambda one: one.at)
        )

    def _covered(self, host: str) -> int:
        return self.covered.get(HERE if host == self.host else host, 0)


def read(ledger: Ledger) -> Past:
    """Read a ledger; what comes behind a broken entry is left out, since nothing speaks for it.

    Args:
        ledger: The ledger of the key on this host.

    Raises:
        LocalFilesProblem: An entry cannot be read.
    """
    past = Past(ledger.host)

    reader = history.HistoryReader()
    broken: LedgerBroken | None = None
    try:
        for entry in ledger.each():
            try:
                past.take(entry, reader.take(entry))
            except events.MalformedEvent:
                past.skip(entry)
            past.files[entry.label] = entry.digest, f"ledger/{entry.place}"
            past.heads[entry.host] = entry.number, entry.digest
    except LedgerBroken as error:
        broken = error
    found = reader.history()
    past.drills = found.drills
    past.history = broken or found
    past.problem = broken.message if broken else None
    return past


def drill_facts(
    drills: Iterable[Drilled], since: datetime, objective: float | None
) -> tuple[DrillFacts, ...]:
    """The period's test restores as the report has them."""

    def facts(item: Drilled) -> DrillFacts:
        timed = None if objective is None or item.seconds is None else item.seconds <= objective
        return taken_from(
            item,
            DrillFacts,
            stages=tuple(item.stages.items()),
            implementations=item.makers,
            within_objective=timed,
            evidence=(item.entry.label,),
        )

    return tuple(facts(item) for item in drills if item.at >= since)


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
    runs: dict[str, list[Drilled]] = {}
    for item in drills:
        runs.setdefault(item.entry.digest, []).append(item)
    whole = (items[0].at for items in runs.values() if all(item.passed for item in items))
    passed = [at for at in whole if at - now <= AHEAD]
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
    found: dict[str, VerifiedChain] = {}
    notes: tuple[str, ...] = ()
    problem = past.problem
    if claims:
        told = verify(folder, claims, absent=True)
        notes = told.notes
        problem = problem or told.problem or next((one.problem for one in told.chains if one.problem), None)
        found = {chain.host: chain for chain in told.chains}
    hosts = []
    for host, (number, digest) in {past.host: (0, START.digest.hex), **past.heads}.items():
        chain = found.get(host)
        anchored, by = (chain.anchored_to, chain.anchored_by) if chain else (0, None)
        hosts.append(HostLedger(host, number, digest, anchored, by))
    own = hosts[0]
    facts = LedgerFacts(
        own.entries, own.head, problem is None, problem, own.anchored_to, own.anchor, waiting, tuple(hosts)
    )
    return facts, notes


def _vault(event: events.InfraEvent, entry: LedgerEntry) -> VaultSide:
    """What an entry says of Vault's side: after an apply what it left, else what the plan showed."""
    shown = tuple(f"{item.what} at {item.server}" for item in (*event.changes, *event.problems))
    return VaultSide(
        entry.at,
        event.servers,
        shown if event.left is None else event.left,
        event.left is None and any(item.surplus for item in event.changes),
        (entry.label,),
    )


_TOLD: Final = {
    "epoch": "epoch {}", "copies": "stored at {}", "failures": "failed at {}", "supersedes": "supersedes {}",
    "reason": "reason: {}", "accepted": "accepted: {}", "custodians": "custodians {}", "message": "{}",
    "code": "exit code {}",
}  # fmt: skip


def _words(event: events.Event) -> str:
    """One line for people; foreign text in it is shown as text only."""
    told = event.to_details()
    if not isinstance(told.get("copies"), dict):  # what a repair did is told by itself
        told.pop("copies", None)
    parts = (form.format(_flat(told[name])) for name, form in _TOLD.items() if told.get(name))
    return ", ".join(parts) or event.kind


def _flat(value: Any) -> str:
    """Names in a row; of what failed with the code: an escrow has it by target, a retention one by one."""
    if isinstance(value, str | int):
        return str(value)
    if isinstance(value, Mapping):
        named = sorted(value.items())
    else:
        named = [
            (it.get("target"), it.get("code")) if isinstance(it, Mapping) else (it, None) for it in value
        ]
    return ", ".join(f"{name} ({code})" if isinstance(code, int) else str(name) for name, code in named)
