"""The report as one HTML file: no script, no network, light and dark, on a phone and on paper."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Final

from pipeline.core.text import spaced
from pipeline.report.formats import chart, page
from pipeline.report.model import Report, harmless

SECTIONS: Final[tuple[tuple[str, str], ...]] = (
    ("not-covered", "Not covered"),
    ("proofs", "Proofs"),
    ("copies", "Copies"),
    ("drills", "Test restores"),
    ("backups", "Backups"),
    ("custody", "Custody"),
    ("changes", "Changes"),
    ("rules", "Rules"),
    ("vault", "Vault"),
    ("key", "The key"),
    ("controls", "Controls"),
    ("evidence", "Evidence"),
)


def render(report: Report) -> bytes:
    """Write the page.

    Args:
        report: The report. Its text is shown as text, whoever wrote it.
    """
    import jinja2
    from markupsafe import Markup

    report = harmless(report)
    here = Path(__file__).parent
    css = here.joinpath("report.css").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    template = environment.from_string(here.joinpath("report.html.j2").read_text(encoding="utf-8"))
    words = page.words(report)
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    widths = (chart.WIDTH, chart.NARROW)
    return template.render(
        words,
        report=report,
        css=Markup(css),  # noqa: S704 - this package's own file
        style_hash=Markup(f"sha256-{digest}"),  # noqa: S704
        sections=[(name, title) for name, title in SECTIONS if report.controls or name != "controls"],
        charts=[Markup(chart.draw(report, width=width)) for width in widths],  # noqa: S704 - it escapes what it shows
        picture=_picture(report),
        listed={item.id for item in words["shown_evidence"]},
        spaced=spaced,
    ).encode()


def _picture(report: Report) -> str | None:
    """The posture as an image of its own, so that its style stays its own; ``None`` without a picture."""
    drawn = report.custody.picture if report.custody else ""
    return "data:image/svg+xml;base64," + base64.b64encode(drawn.encode()).decode() if drawn else None
