"""What the HTML page and the PDF show beside the report itself, by the names that their templates use."""

from __future__ import annotations

from itertools import groupby
from typing import Any, Final

from pipeline.report.drill_facts import DrillRun, ProofState
from pipeline.report.formats import chart
from pipeline.report.model import Report, Restorability, Support, cited

NEWEST: Final = 100
"""So many runs of test restores are shown one by one, and every failed one."""
CHARTED: Final = 3
"""From so many runs on, a chart says more than their table."""
_OK: Final = (Restorability.YES, ProofState.PROVEN, Support.SUPPORTED)
_BAD: Final = (
    Restorability.UNKNOWN, Restorability.NO, ProofState.FAILED, ProofState.UNREADABLE, Support.NONE
)  # fmt: skip
TONES: Final = {
    state: "ok" if state in _OK else "bad" if state in _BAD else "warn"
    for state in (*Restorability, *ProofState, *Support)
}
MARKS: Final = {"ok": "✓", "warn": "!", "bad": "✗"}


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
        "no_backups": _no_backups(report),
        "chart_shown": bool(report.missed) or len(report.by_run) >= CHARTED,
        "shown": shown,
        "shown_evidence": [it for it in report.evidence if it.id in used or not it.id.startswith("L")],
        "catalogues": [
            {"title": title, "applies": applies, "controls": tuple(group)}
            for (title, applies), group in groupby(
                report.controls, lambda one: (one.catalogue, one.applicability)
            )
        ],
    }


def _no_backups(report: Report) -> str:
    """What stands in place of the backups where there is none: why, where some are to be expected."""
    why = [rule.text for rule in report.rules if rule.name == "backups" and not rule.ok]
    return "; ".join(why) or "no place of backups is configured, so this report says nothing of them"


def _shown(report: Report) -> list[DrillRun]:
    """The runs of test restores that are shown one by one, newest first."""
    newest = list(reversed(report.by_run))
    return newest[:NEWEST] + [run for run in newest[NEWEST:] if not run.passed]
