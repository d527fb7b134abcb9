"""The report as one HTML file: no script, no network, light and dark, on a phone and on paper."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Final, NamedTuple

from pipeline.core.text import age, spaced
from pipeline.report import chart
from pipeline.report.model import (
    Answer,
    Control,
    DrillFacts,
    Evidence,
    Proof,
    Report,
    Support,
    cited,
    harmless,
)

NEWEST: Final = 100
"""So many test restores are shown one by one, and every failed one."""
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
TONES: Final = {
    Answer.YES: "ok",
    Answer.GAPS: "warn",
    Answer.UNPROVEN: "warn",
    Answer.UNKNOWN: "bad",
    Answer.NO: "bad",
    Proof.PROVEN: "ok",
    Proof.OVERDUE: "warn",
    Proof.FAILED: "bad",
    Proof.NEVER: "warn",
    Proof.UNREADABLE: "bad",
    Support.SUPPORTED: "ok",
    Support.PARTIAL: "warn",
    Support.NONE: "bad",
    Support.UNKNOWN: "warn",
    Support.NOT_APPLICABLE: "warn",
}
MARKS: Final = {"ok": "✓", "warn": "!", "bad": "✗"}


class Catalogue(NamedTuple):
    """What a report has for one catalogue.

    Attributes:
        title: The catalogue's name.
        applies: When it applies at all, where that is the same for each control; else empty.
        controls: Its controls.
    """

    title: str
    applies: str
    controls: tuple[Control, ...]


def render(report: Report) -> bytes:
    """Write the page.

    Args:
        report: The report. Its texts are shown as texts, whoever wrote them.
    """
    import jinja2
    from markupsafe import Markup

    report = harmless(report)
    here = Path(__file__).parent
    css = here.joinpath("report.css").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    template = environment.from_string(here.joinpath("report.html.j2").read_text(encoding="utf-8"))
    tone = TONES[report.verdict.answer]
    page = template.render(
        report=report,
        v=report.verdict,
        ledger=report.ledger,
        tone=tone,
        mark=MARKS[tone],
        tones=TONES,
        css=Markup(css),  # noqa: S704 - this package's own file
        style_hash=Markup("sha256-" + base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()),  # noqa: S704
        sections=[(name, title) for name, title in SECTIONS if report.controls or name != "controls"],
        charts=[
            Markup(chart.draw(report, width=width))  # noqa: S704 - it escapes what it shows
            for width in (chart.WIDTH, chart.NARROW)
        ],
        chart_words=chart.describe(report),
        picture=picture_uri(report),
        shown=shown(report),
        newest=NEWEST,
        evidence=evidence(report),
        listed={item.id for item in evidence(report)},
        place=place,
        catalogues=catalogues(report.controls),
        spaced=spaced,
        seconds=seconds_text,
        size=size_text,
    )
    return page.encode()


def shown(report: Report) -> list[DrillFacts]:
    """The test restores that are shown one by one, newest first."""
    newest = list(reversed(report.drills))
    return newest[:NEWEST] + [drill for drill in newest[NEWEST:] if not drill.passed]


def evidence(report: Report) -> list[Evidence]:
    """The evidence that what is shown one by one rests on."""
    used = set(cited(report, shown(report)))
    return [item for item in report.evidence if item.id in used or not item.id.startswith("L")]


def place(item: Evidence) -> str:
    """Where a reader finds a piece of evidence."""
    return item.file or ("at the targets" if item.kind == "record" else "\N{EN DASH}")


def catalogues(controls: tuple[Control, ...]) -> list[Catalogue]:
    """Controls by catalogue, in the order of their first."""
    found: dict[str, list[Control]] = {}
    for item in controls:
        found.setdefault(item.catalogue, []).append(item)
    return [
        Catalogue(
            name,
            items[0].applicability if len({one.applicability for one in items}) == 1 else "",
            tuple(items),
        )
        for name, items in found.items()
    ]


def picture_uri(report: Report) -> str | None:
    """The posture as an image of its own, so that its style stays its own; ``None`` without a picture."""
    drawn = report.custody.picture if report.custody else ""
    if not drawn:
        return None
    return "data:image/svg+xml;base64," + base64.b64encode(drawn.encode()).decode()


def seconds_text(value: float | None) -> str:
    """A recovery time for people."""
    if value is None:
        return "unknown"
    return f"{value:.2f} s" if value < 60 else age(value)


def size_text(value: int | None) -> str:
    """A size for people."""
    if value is None:
        return "unknown"
    amount = float(value)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"
