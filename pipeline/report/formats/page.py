"""What the HTML page and the PDF show beside the report itself, by the names that their templates use."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from pipeline.report.formats import chart
from pipeline.report.model import Control, DrillFacts, ProofState, Report, Restorability, Support, cited

NEWEST: Final = 100
"""So many test restores are shown one by one, and every failed one."""
TONES: Final = {
    Restorability.YES: "ok",
    Restorability.GAPS: "warn",
    Restorability.UNPROVEN: "warn",
    Restorability.UNKNOWN: "bad",
    Restorability.NO: "bad",
    ProofState.PROVEN: "ok",
    ProofState.OVERDUE: "warn",
    ProofState.FAILED: "bad",
    ProofState.NEVER: "warn",
    ProofState.UNREADABLE: "bad",
    Support.SUPPORTED: "ok",
    Support.PARTIAL: "warn",
    Support.NONE: "bad",
    Support.UNKNOWN: "warn",
    Support.NOT_APPLICABLE: "warn",
}
MARKS: Final = {"ok": "✓", "warn": "!", "bad": "✗"}


@dataclass(frozen=True)
class Catalogue:
    """What a report has for one catalogue.

    Attributes:
        title: The catalogue's name.
        applies: When it applies at all; empty when always.
        controls: Its controls.
    """

    title: str
    applies: str
    controls: tuple[Control, ...]


def words(report: Report) -> dict[str, Any]:
    """What both templates are given.

    Args:
        report: The report, its text harmless.
    """
    shown = _shown(report)
    used = set(cited(report, shown))
    tone = TONES[report.verdict.answer]
    return {
        "tone": tone,
        "mark": MARKS[tone],
        "marks": MARKS,
        "tones": TONES,
        "chart_words": chart.describe(report),
        "newest": NEWEST,
        "shown": shown,
        "shown_evidence": [it for it in report.evidence if it.id in used or not it.id.startswith("L")],
        "catalogues": [
            Catalogue(*about, tuple(group))
            for about, group in groupby(report.controls, lambda one: (one.catalogue, one.applicability))
        ],
    }


def _shown(report: Report) -> list[DrillFacts]:
    """The test restores that are shown one by one, newest first."""
    newest = list(reversed(report.drills))
    return newest[:NEWEST] + [drill for drill in newest[NEWEST:] if not drill.passed]
