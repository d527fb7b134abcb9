"""What controls are judged by: a report's facts, counted and put into words once."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Final

from pipeline.core.text import age
from pipeline.report.model import Cell, CopyFacts, DrillFacts, Proof, Report

_THRESHOLD: Final = re.compile(r"(\d+) of (\d+) ")
_STANDING: Final = frozenset({Proof.PROVEN, Proof.OVERDUE})


@dataclass(frozen=True)
class Facts:
    """A report's facts, as the controls ask for them.

    Args:
        report: The report.
    """

    report: Report

    # -- copies -------------------------------------------------------------------------------------

    @cached_property
    def good(self) -> tuple[CopyFacts, ...]:
        """The copies that were read whole and are authentic."""
        return tuple(copy for copy in self.report.copies if copy.ok)

    @cached_property
    def domains(self) -> tuple[str, ...]:
        """The failure domains of the good copies."""
        return tuple(sorted({copy.domain for copy in self.good}))

    @cached_property
    def locked(self) -> tuple[CopyFacts, ...]:
        """The good copies that nobody can delete yet."""
        now = self.report.generated
        return tuple(
            copy
            for copy in self.good
            if copy.lock_mode == "COMPLIANCE" and copy.retain_until and copy.retain_until > now
        )

    @cached_property
    def erasers(self) -> tuple[str, ...]:
        """Parties that control every good copy that is not locked, when none is locked."""
        if self.locked or not self.good:
            return ()
        return tuple(sorted(frozenset.intersection(*(frozenset(copy.controlled_by) for copy in self.good))))

    @property
    def copies_text(self) -> str:
        """How many copies are good, and what is wrong with the others."""
        text = f"{len(self.good)} of {len(self.report.copies)} copies were read whole and are authentic"
        bad = [f"{copy.target}: {copy.problem or 'not good'}" for copy in self.report.copies if not copy.ok]
        return text + (f" ({'; '.join(bad)})" if bad else "")

    @property
    def domains_text(self) -> str:
        """Where the good copies lie."""
        places = ", ".join(f"{copy.target} in {copy.domain}" for copy in self.good) or "nowhere"
        return f"good copies lie in {len(self.domains)} failure domains: {places}"

    # -- test restores ------------------------------------------------------------------------------

    @cached_property
    def proven(self) -> tuple[Cell, ...]:
        """Copies and paths that were restored within the limits."""
        return tuple(cell for cell in self.report.matrix if cell.state is Proof.PROVEN)

    @cached_property
    def standing(self) -> tuple[Cell, ...]:
        """Copies and paths whose newest test restore passed, be it overdue."""
        return tuple(cell for cell in self.report.matrix if cell.state in _STANDING)

    @cached_property
    def failing(self) -> tuple[Cell, ...]:
        """Copies and paths whose newest attempt failed, or whose copy cannot be read."""
        return tuple(cell for cell in self.report.matrix if cell.state in (Proof.FAILED, Proof.UNREADABLE))

    @cached_property
    def passed(self) -> tuple[DrillFacts, ...]:
        """The period's test restores that passed."""
        return tuple(drill for drill in self.report.drills if drill.passed)

    @cached_property
    def uncorrected(self) -> tuple[DrillFacts, ...]:
        """Failed test restores that no passed one of the same copy and path followed."""
        last: dict[tuple[str, str], datetime] = {}
        for drill in self.passed:
            pair = (drill.copy, drill.path)
            last[pair] = max(drill.at, last.get(pair, drill.at))
        return tuple(
            drill
            for drill in self.report.failed
            if (drill.copy, drill.path) not in last or last[drill.copy, drill.path] <= drill.at
        )

    @property
    def missing(self) -> bool:
        """Whether a test restore is overdue now."""
        return any(item.until is None for item in self.report.missed) or any(
            cell.state is Proof.OVERDUE for cell in self.report.matrix
        )

    @property
    def last_passed(self) -> datetime | None:
        """When the newest test restore passed that still stands."""
        return max((cell.proven_at for cell in self.standing if cell.proven_at), default=None)

    @property
    def next_due(self) -> datetime | None:
        """When the next test restore is due; ``None`` without a frequency or a passed test restore."""
        if self.last_passed is None or self.report.drill_interval_days is None:
            return None
        return self.last_passed + timedelta(days=self.report.drill_interval_days)

    def covered(self, cells: Iterable[Cell]) -> bool:
        """Whether every copy and every path occurs in ``cells``."""
        found = tuple(cells)
        return (
            bool(found)
            and {copy.target for copy in self.report.copies} <= {cell.copy for cell in found}
            and {path.name for path in self.report.paths} <= {cell.path for cell in found}
        )

    @property
    def sample_text(self) -> str:
        """The sample against the population."""
        counts = {state: sum(cell.state is state for cell in self.report.matrix) for state in Proof}
        others = [
            f"{count} {state}" for state, count in counts.items() if count and state is not Proof.PROVEN
        ]
        text = f"{counts[Proof.PROVEN]} of {len(self.report.matrix)} pairs of copy and path are proven"
        return text + (f" ({', '.join(others)})" if others else "")

    @property
    def drills_text(self) -> str:
        """The period's test restores, the missed and failed ones first."""
        report = self.report
        open_ = [f"{item.days:.1f} days overdue now" for item in report.missed if item.until is None]
        passed, failed = report.runs
        missed = (
            "none can be missed, as no frequency is set"
            if report.drill_interval_days is None
            else f"{len(report.missed)} test restores missed{f' ({open_[0]})' if open_ else ''}"
        )
        return f"since {report.since:%Y-%m-%d}: {missed}, {failed} failed, {passed} passed"

    @property
    def frequency_text(self) -> str:
        """How often test restores are to be, and when the next one is due."""
        days = self.report.drill_interval_days
        if days is None:
            return "the policy sets no frequency of test restores"
        due = f", the next one is due {self.next_due:%Y-%m-%d}" if self.next_due else ""
        return f"the policy asks for a test restore every {days:g} days{due}"

    @property
    def last_text(self) -> str:
        """How long ago the newest test restore passed."""
        if self.last_passed is None:
            return "no test restore stands as passed"
        ago = (self.report.generated - self.last_passed).total_seconds()
        return f"the newest test restore that stands passed {age(ago)} ago"

    @property
    def rto_text(self) -> str:
        """The measured recovery time against the objective."""
        told = self.report.verdict
        taken = "not measured" if told.rto_seconds is None else f"{told.rto_seconds:.1f} s"
        goal = (
            "no objective is set"
            if told.rto_objective is None
            else f"the objective is {told.rto_objective:g} s"
        )
        return f"slowest current recovery: {taken}, {goal}"

    # -- custody ------------------------------------------------------------------------------------

    @cached_property
    def alone(self) -> tuple[str, ...]:
        """Who gets the key alone: parties, and hosts with live logins."""
        custody = self.report.custody
        if custody is None:
            return ()
        return (*custody.alone, *custody.hosts)

    @cached_property
    def indispensable(self) -> tuple[str, ...]:
        """What every proven path needs: losing it ends what was proven. A threshold below all is a spare."""
        names = {cell.path for cell in self.standing}
        needs = [set(filter(_whole, path.needs)) for path in self.report.paths if path.name in names]
        return tuple(sorted(set.intersection(*needs))) if needs else ()

    @property
    def posture_text(self) -> str:
        """Who can get the key."""
        custody = self.report.custody
        if custody is None:
            return "the custody posture could not be computed"
        sets = "; ".join(custody.reconstruct) or "nobody"
        unknown = f"; not known: {'; '.join(custody.unknown)}" if custody.unknown else ""
        return f"who can get the key: {sets}; alone: {custody.alone_text}{unknown}"

    @property
    def late(self) -> tuple[str, ...]:
        """Custodians who did not prove their shares within the limit."""
        return tuple(
            person.name for person in self.report.custodians if person.overdue or person.last_check_in is None
        )

    # -- keys and backups ---------------------------------------------------------------------------

    @cached_property
    def closed(self) -> tuple[str, ...]:
        """Backups that no escrowed key opens."""
        return tuple(backup.name for backup in self.report.backups if backup.epoch is None)

    @property
    def backups_text(self) -> str:
        """How many of the server's backups the escrowed keys open."""
        every = len(self.report.backups)
        text = f"{every - len(self.closed)} of {every} known backups of the server are for an escrowed key"
        return text + (f" (not: {', '.join(self.closed)})" if self.closed else "")

    @property
    def live_text(self) -> str:
        """The server's key against the escrowed one."""
        key = self.report.key
        reason = f" ({key.live_reason})" if key.live_reason else ""
        return f"the live key against the escrowed one: {key.live}{reason}"

    @cached_property
    def unstored(self) -> tuple[str, ...]:
        """Former keys that nothing is stored of."""
        return tuple(
            fingerprint for fingerprint, stored in self.report.key.former if stored.startswith("nothing")
        )

    @property
    def former_text(self) -> str:
        """How many former keys are listed, and which are not stored."""
        text = f"{len(self.report.key.former)} former keys are listed"
        return text + (f", nothing is stored of {', '.join(self.unstored)}" if self.unstored else "")

    # -- evidence -----------------------------------------------------------------------------------

    def of_kind(self, kind: str) -> tuple[str, ...]:
        """Ids of the evidence of a kind."""
        return tuple(item.id for item in self.report.evidence if item.kind == kind)

    @property
    def of_copies(self) -> tuple[str, ...]:
        """Ids behind the copies."""
        return merged(*(copy.evidence for copy in self.report.copies))

    @property
    def of_drills(self) -> tuple[str, ...]:
        """Ids behind the newest test restores, and behind those that failed."""
        return merged(
            *(cell.evidence for cell in self.report.matrix), *(drill.evidence for drill in self.report.failed)
        )

    @property
    def of_custody(self) -> tuple[str, ...]:
        """Ids behind the posture."""
        return self.report.custody.evidence if self.report.custody else ()


def merged(*groups: tuple[str, ...]) -> tuple[str, ...]:
    """Ids in their order, each once."""
    return tuple(dict.fromkeys(item for group in groups for item in group))


def _whole(need: str) -> bool:
    """Whether the loss of one member makes a need impossible."""
    found = _THRESHOLD.match(need)
    return found is None or int(found[1]) >= int(found[2])
