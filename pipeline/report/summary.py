"""What a report comes to, counted and put into words once: for controls and for the formats."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from datetime import timedelta
from typing import Any, Final

from pipeline.core.clock import AHEAD, within
from pipeline.core.templates import expression, table, template
from pipeline.report.drill_facts import Cell, DrillFacts, ProofState
from pipeline.report.model import CopyFacts, Report

_THRESHOLD: Final = re.compile(r"(\d+) of (\d+) ")
_STANDING: Final = frozenset({ProofState.PROVEN, ProofState.OVERDUE})
_YEAR_DAYS: Final = 366


class Summary:
    """A report, summarised.

    Args:
        report: The report.

    Attributes:
        good: The copies that were read whole and are authentic; ``bad``: the others.
        domains: The failure domains of the good copies; ``lost``: those without a good copy.
        exact: The good copies that have the record's digest.
        locked: The good copies that nobody can delete yet.
        erasers: Parties that can delete every good copy.
        proven: Copies on paths that were restored within the limits.
        standing: Copies on paths whose newest test restore passed, be it overdue.
        failing: Copies on paths whose newest attempt failed, or whose copy cannot be read.
        uncorrected: Failed test restores that no passed one of the same copy and path, and of no older
            epoch, followed.
        overdue: Whether a test restore is overdue now.
        last_passed: When the newest test restore passed that still stands.
        next_due: When the next test restore is due; ``None`` without a frequency or a passed test restore.
        indispensable: What every proven path needs: losing it ends what was proven.
        late: Custodians who did not prove their shares within the limit.
        unopened: Backups that no escrowed key opens; ``for_whom``: those of which that is not known;
            ``unread``: those that were never read to their end.
        unseen: Why no backup of the configured places is known, in words; empty where one is.
        unstored: Former keys that nothing is stored of; ``unasked``: those of which that is not known.
        unheard: Whether there are custodians, and it is not known how their shares stand.
        conditions: What may stand against a control, by its name in ``summary.toml``.
        sentences: What can be said, by its name there.
        evidence: Ids by what they are evidence of.
    """

    def __init__(self, report: Report) -> None:
        self.report = report
        copies, cells, days = report.copies, report.matrix, report.drill_interval_days
        self.good = tuple(copy for copy in copies if copy.ok)
        self.bad = tuple(copy for copy in copies if not copy.ok)
        self.domains = sorted({copy.domain for copy in self.good})
        self.lost = sorted({copy.domain for copy in copies} - set(self.domains))
        self.record = report.epoch.record_sha256 if report.epoch else None
        self.exact = tuple(copy for copy in self.good if copy.sha256 == self.record)
        self.locked = tuple(
            copy
            for copy in self.good
            if copy.lock_mode == "COMPLIANCE" and copy.retain_until and copy.retain_until > report.generated
        )
        self.erasers = [] if self.locked else _controllers(self.good)
        self.proven = tuple(cell for cell in cells if cell.state is ProofState.PROVEN)
        self.standing = tuple(cell for cell in cells if cell.state in _STANDING)
        self.failing = tuple(
            cell for cell in cells if cell.state in (ProofState.FAILED, ProofState.UNREADABLE)
        )
        dated = (it for it in report.drills if it.passed and it.at - report.generated <= AHEAD)
        # Of the newest epoch that was restored: an older one says nothing of it. Names begin with their time.
        passed = sorted(dated, key=lambda drill: (drill.epoch, drill.at))
        self.newest = {(drill.copy, drill.path): drill for drill in passed}
        self.uncorrected = tuple(
            drill for drill in report.failed if not any(_corrects(it, drill) for it in passed)
        )
        self.overdue = any(not item.until for item in report.missed) or len(self.proven) < len(self.standing)
        self.last_passed = max((cell.proven_at for cell in self.standing if cell.proven_at), default=None)
        self.next_due = self.last_passed + timedelta(days=days) if self.last_passed and days else None
        restored = {cell.path for cell in self.standing}
        needs = [set(filter(_needs_all, path.needs)) for path in report.paths if path.name in restored]
        self.indispensable = sorted(set.intersection(*needs)) if needs else []
        people = report.custodians
        self.late = tuple(person.name for person in people if person.overdue or not person.last_check_in)
        without = [backup for backup in report.backups if backup.epoch is None]
        self.unopened = tuple(backup.name for backup in without if not backup.unknown)
        self.for_whom = tuple(backup.name for backup in without if backup.unknown)
        problems = [rule.text for rule in report.rules if rule.name == "backups" and not rule.ok]
        self.unseen = "" if report.backups else "; ".join(problems)
        self.unread = tuple(backup.name for backup in report.backups if backup.verified_at is None)
        self.unstored = tuple(name for name, stored in report.key.former if stored.startswith("nothing"))
        self.unasked = tuple(name for name, stored in report.key.former if stored.startswith("not known"))
        self.unheard = not people and any(path.people for path in report.paths)
        self.evidence = self._evidence()
        words, facts = table(__package__, "summary.toml"), vars(self) | self._facts()
        self.conditions = {name: bool(expression(text)(facts)) for name, text in words["conditions"].items()}
        self.sentences = {name: template(text)(facts) for name, text in words["sentences"].items()}

    def sentence(self, parts: Iterable[str]) -> str:
        """One sentence of those parts that say something.

        Args:
            parts: Text, in which a name in braces stands for one of :attr:`sentences`.
        """
        return joined(*(part.format_map(self.sentences) for part in parts))

    def _evidence(self) -> dict[str, tuple[str, ...]]:
        report = self.report

        def of_kind(kind: str) -> tuple[str, ...]:
            return tuple(item.id for item in report.evidence if item.kind == kind)

        return {
            "verdict": report.verdict.evidence,
            "copies": merged(*(copy.evidence for copy in report.copies)),
            "backups": merged(*(backup.evidence for backup in report.backups)),
            "custody": report.custody.evidence if report.custody else (),
            "custodians": merged(*(person.evidence for person in report.custodians)),
            "test restores": merged(
                *(cell.evidence for cell in report.matrix), *(drill.evidence for drill in report.failed)
            ),
            "certificates": of_kind("certificate"),
            "public key": of_kind("public key"),
            "newest ledger entry": of_kind("ledger entry")[-1:],
        }

    def _facts(self) -> dict[str, Any]:
        """What conditions and sentences speak of beside the attributes."""
        report, verdict = self.report, self.report.verdict
        leftovers = report.custody.lingering if report.custody else ()
        counts = Counter(cell.state for cell in report.matrix)
        return {
            "verdict": verdict,
            "key": report.key,
            "epoch": report.epoch,
            "custody": report.custody,
            "ledger": report.ledger,
            "took": verdict.rto_seconds,
            "goal": verdict.rto_objective,
            "controllers": _controllers(report.copies) if len(report.copies) > 1 else [],
            "of_this_year": self.last_passed and within(report.generated - self.last_passed, _YEAR_DAYS),
            "all_restored": self._covered(self.standing),
            "all_proven": self._covered(self.proven),
            "other_pairs": [
                f"{counts[state]} {state}"
                for state in ProofState
                if counts[state] and state is not ProofState.PROVEN
            ],
            "makers": sorted({name for it in report.drills if it.passed for name in it.implementations}),
            "restored": sorted({cell.path for cell in self.standing}),
            "signs": any("sign" in usage for _, _, usage in report.key.capabilities),
            "leftovers": leftovers,
            "leftover_exports": any(line.startswith("exports") for line in leftovers),
        }

    def _covered(self, cells: Collection[Cell]) -> bool:
        """Whether there are cells, and every copy and every path occurs in them."""
        return (
            bool(cells)
            and {copy.target for copy in self.report.copies} <= {cell.copy for cell in cells}
            and {path.name for path in self.report.paths} <= {cell.path for cell in cells}
        )


def _corrects(passed: DrillFacts, failed: DrillFacts) -> bool:
    """Whether a passed test restore shows that what failed before works now."""
    # A copy that was too bad to try a path is well once any path opens it.
    same = passed.copy == failed.copy and failed.path in (passed.path, "-")
    return same and passed.at > failed.at and passed.epoch >= failed.epoch


def joined(*parts: str) -> str:
    """One sentence of those parts that say something."""
    text = "; ".join(filter(None, parts))
    return text[:1].upper() + text[1:] + "."


def merged(*groups: Sequence[str]) -> tuple[str, ...]:
    """Ids in their order, each once."""
    return tuple(dict.fromkeys(item for group in groups for item in group))


def _controllers(copies: Collection[CopyFacts]) -> list[str]:
    """The parties that control every copy."""
    return (
        sorted(frozenset.intersection(*(frozenset(copy.controlled_by) for copy in copies))) if copies else []
    )


def _needs_all(need: str) -> bool:
    """Whether the loss of one member makes a need impossible: a threshold below all is a spare."""
    found = _THRESHOLD.match(need)
    return found is None or int(found[1]) >= int(found[2])
