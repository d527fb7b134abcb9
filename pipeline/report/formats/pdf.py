"""The report as PDF, by Typst: the same content in pages, with its own fonts."""

from __future__ import annotations

from pipeline.core.documents import plain
from pipeline.printing import pdf
from pipeline.report.formats import chart, page
from pipeline.report.model import Report
from pipeline.report.texts import harmless


def render(report: Report) -> bytes:
    """Set the pages; the same report gives the same bytes.

    Args:
        report: The report. Its text is shown as text, whoever wrote it.

    Raises:
        LocalFilesProblem: The template is missing, or cannot be set.
    """
    report = harmless(report)
    data = plain(report, words=True) | plain(page.words(report), words=True)
    return pdf.render(
        "report", data | {"chart": chart.draw(report, theme="light")}, at=report.generated, accessible=True
    )
