"""The report as PDF, by Typst: the same content in pages, with its own fonts."""

from __future__ import annotations

from typing import Any

from pipeline.core.clock import stamp
from pipeline.core.text import spaced
from pipeline.printing import pdf
from pipeline.report import chart
from pipeline.report.html import (
    MARKS,
    NEWEST,
    TONES,
    catalogues,
    evidence,
    place,
    seconds_text,
    shown,
    size_text,
)
from pipeline.report.model import DrillFacts, Report, document, harmless


def render(report: Report) -> bytes:
    """Set the pages; the same report gives the same bytes.

    Args:
        report: The report. Its texts are shown as texts, whoever wrote them.

    Raises:
        LocalFilesProblem: The template is missing, or cannot be set.
    """
    return pdf.render("report", _data(report), at=report.generated, accessible=True)


def _data(report: Report) -> dict[str, Any]:
    report = harmless(report)
    told: dict[str, Any] = document(report)
    custody = report.custody
    return told | {
        "tone": TONES[report.verdict.answer],
        "mark": MARKS[TONES[report.verdict.answer]],
        "marks": MARKS,
        "tones": {str(name): tone for name, tone in TONES.items()},
        "spaced": spaced(report.key.fingerprint),
        "rto": seconds_text(report.verdict.rto_seconds),
        "objective": seconds_text(report.verdict.rto_objective) if report.verdict.rto_objective else None,
        "passed": str(report.runs[0]),
        "failed": str(report.runs[1]),
        "missed_text": report.missed_text,
        "from_text": report.verdict.from_text,
        "proven": report.verdict.proven_text,
        "by_text": report.verdict.by_text,
        "alone_text": custody.alone_text if custody else "",
        "chart": chart.draw(report, theme="light"),
        "chart_words": chart.describe(report),
        "picture": (custody.picture or None) if custody else None,
        "newest": NEWEST,
        "shown": [_drill(drill) for drill in shown(report)],
        "total": len(report.drills),
        "shown_evidence": [
            {
                "id": item.id,
                "what": item.what,
                "sha256": item.sha256,
                "file": place(item),
            }
            for item in evidence(report)
        ],
        "matrix_times": [seconds_text(cell.seconds) for cell in report.matrix],
        "sizes": [size_text(item.bytes) for item in report.backups],
        "catalogues": [
            {"title": group.title, "applies": group.applies} for group in catalogues(report.controls)
        ],
    }


def _drill(drill: DrillFacts) -> dict[str, Any]:
    return {
        "at": stamp(drill.at),
        "copy": drill.copy,
        "path": drill.path,
        "passed": drill.passed,
        "problems": list(drill.problems),
        "slow": drill.within_objective is False,
        "epoch": drill.epoch,
        "evidence": list(drill.evidence),
        "time": seconds_text(drill.seconds) if drill.seconds is not None else "-",
    }
