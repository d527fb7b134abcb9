"""How far a report has evidence for what catalogues ask: each control is a row of ``catalogue.toml``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from pipeline.core.templates import table
from pipeline.report.model import Control, Report, Restorability, Support
from pipeline.report.summary import Summary, merged

NIST: Final = "NIST SP 800-53 Rev. 5"
"""The catalogue whose controls are written as OSCAL."""
_NOT_SEEN: Final = "What is stored could not be looked at."


@cache
def catalogue() -> dict[str, Any]:
    """The catalogue: its ``catalogues``, ``subjects`` and ``objectives``."""
    return table(__package__, "catalogue.toml")


@dataclass(frozen=True)
class Subject:
    """What a control asks about; see the catalogue's head."""

    none: Sequence[str]
    partly: Sequence[str]
    says: Sequence[str]
    evidence: Sequence[str]
    ledger_alone: bool = False

    def support(self, summary: Summary) -> Support:
        """How far there is evidence."""
        if summary.report.verdict.answer is Restorability.UNKNOWN and not (summary.good or self.ledger_alone):
            return Support.UNKNOWN  # what could not be looked at is not evidence, neither for nor against
        if any(summary.conditions[name] for name in self.none):
            return Support.NONE
        return Support.PARTIAL if any(summary.conditions[name] for name in self.partly) else Support.SUPPORTED


def assess(report: Report) -> tuple[Control, ...]:
    """Say for each control how far the report has evidence.

    Args:
        report: The report; its own ``controls`` are not looked at.
    """
    summary = Summary(report)
    subjects = {name: Subject(**row) for name, row in catalogue()["subjects"].items()}
    return tuple(
        _control(row, group, [subjects[name] for name in row["subjects"]], summary)
        for group in catalogue()["catalogues"]
        for row in group["controls"]
    )


def _control(
    row: dict[str, Any], group: dict[str, Any], subjects: Sequence[Subject], summary: Summary
) -> Control:
    weakest = (Support.UNKNOWN, Support.NONE, Support.PARTIAL, Support.SUPPORTED)
    support = min((subject.support(summary) for subject in subjects), key=weakest.index)
    seen = support is not Support.UNKNOWN
    return Control(
        row["id"],
        group["title"],
        row["asks"],
        support,
        " ".join(summary.sentence(subject.says) for subject in subjects) if seen else _NOT_SEEN,
        group.get("applies", ""),
        row.get("check", group.get("check", False)),
        merged(*(summary.evidence[kind] for subject in subjects for kind in subject.evidence))
        if seen
        else (),
    )
