"""The report as one HTML file: no script, no network, light and dark, on a phone and on paper."""

from __future__ import annotations

import base64
from importlib import resources

from markupsafe import Markup

from pipeline.core.digest import sha256
from pipeline.core.templates import filled_markup
from pipeline.core.text import spaced
from pipeline.report.formats import chart, page
from pipeline.report.model import Report
from pipeline.report.texts import harmless


def render(report: Report) -> bytes:
    """Write the page.

    Args:
        report: The report. Its text is shown as text, whoever wrote it.
    """
    report = harmless(report)
    css = resources.files(__package__).joinpath("report.css").read_text(encoding="utf-8")
    words = page.words(report)
    digest = sha256(css.encode()).base64
    widths = (chart.WIDTH, chart.NARROW)
    return filled_markup(
        __package__,
        "report.html.j2",
        **words,
        report=report,
        css=Markup(css),  # noqa: S704 - this package's own file
        style_hash=Markup(f"sha256-{digest}"),  # noqa: S704
        charts=[Markup(chart.draw(report, width=width)) for width in widths],  # noqa: S704 - it escapes what it shows
        picture=_picture(report),
        listed={item.id for item in words["shown_evidence"]},
        spaced=spaced,
    ).encode()


def _picture(report: Report) -> str | None:
    """The posture as an image of its own, so that its style stays its own; ``None`` without a picture."""
    drawn = report.custody.picture if report.custody else ""
    return "data:image/svg+xml;base64," + base64.b64encode(drawn.encode()).decode() if drawn else None
