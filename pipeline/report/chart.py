"""Test restores over time, as SVG: how long each took, which failed, and when one was missed.

Times are on a logarithmic scale, since an objective of hours and a restore of a second both have to be read
from it. Shapes and words say what colours say: a dot passed, a triangle passed too slowly, a cross
failed, and in a band with a dashed edge one was missed.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Final, Literal
from xml.sax.saxutils import escape, quoteattr

from pipeline.report.model import DrillFacts, Report

Theme = Literal["page", "light"]

WIDTH: Final = 760
NARROW: Final = 340
"""For a phone, where the wide one would have to be scrolled to the newest."""
HEIGHT: Final = 260
MARKS: Final = 1000
"""From so many test restores on, those that would cover each other are drawn once."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 34, 34
_FAILED_AT: Final = 18
"""Where failed ones lie: above the scale, since they have no time."""
_LIGHT: Final = """\
.grid{stroke:#d5dbe3}.axis{stroke:#8793a3}.label{fill:#55606e;font:11px sans-serif}
.dot{fill:#1d6b3c}.slow{fill:#7a4b00}.cross{stroke:#a3221b;stroke-width:2.4;fill:none}
.gap{fill:#fbe9e7;stroke:#a3221b;stroke-width:.8;stroke-dasharray:3 3}
.goal{stroke:#1b2430;stroke-width:1.4;stroke-dasharray:7 4}
.goal-label{fill:#1b2430;font:11px sans-serif;stroke:#fff;stroke-width:4;paint-order:stroke}
"""


def draw(report: Report, *, theme: Theme = "page", width: int = WIDTH) -> str:
    """Draw the period's test restores.

    Args:
        report: The report.
        theme: ``page`` takes its colours from the style of the page around it, ``light`` brings its own.
        width: How wide, in pixels of the chart's own.

    Returns:
        An SVG element without a script, a font or a link.
    """
    scale = _Scale(report, width)
    style = f"<style>{_LIGHT}</style>" if theme == "light" else ""
    kind = "wide" if width >= WIDTH else "narrow"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" width="{width}" '
        f'height="{HEIGHT}" class="chart {kind}" role="img" aria-label={quoteattr(describe(report))}>',
        style,
        *_bands(report, scale),
        *_grid(scale),
        *_goal(report, scale),
        *_marks(report, scale),
        "</svg>",
    ]
    return "".join(parts)


def describe(report: Report) -> str:
    """What the chart shows, in words."""
    times = [drill.seconds for drill in report.drills if drill.seconds is not None]
    said = (
        f"{len(report.drills)} test restores from {report.since:%Y-%m-%d} to {report.generated:%Y-%m-%d}: "
        f"{len(report.drills) - len(report.failed)} passed, {len(report.failed)} failed; "
        f"{_times(len(report.missed))} one was missed."
    )
    if times:
        said += f" They took {min(times):.2f} to {max(times):.2f} seconds"
        goal = report.verdict.rto_objective
        said += f"; the objective is {goal:g} seconds." if goal is not None else "; no objective is set."
    return said


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


class _Scale:
    """Where a moment and a length of time lie."""

    def __init__(self, report: Report, width: int) -> None:
        self.right = width - _RIGHT
        times = [drill.seconds for drill in report.drills if drill.seconds]
        if report.verdict.rto_objective:
            times.append(report.verdict.rto_objective)
        self.low = math.floor(math.log10(min(times, default=0.1) * 0.9))
        self.high = max(math.ceil(math.log10(max(times, default=10.0) * 1.1)), self.low + 1)
        self.begin, self.end = report.since, report.generated
        if report.drills:
            # A year's axis for a week's history would squeeze it against the edge.
            first = min(drill.at for drill in report.drills)
            dues = [item.due for item in report.missed]
            self.begin = max(self.begin, min([first, *dues]) - (self.end - min([first, *dues])) * 0.03)
        self.begin = min(self.begin, self.end - timedelta(days=1))
        self.span = (self.end - self.begin).total_seconds()

    def x(self, at: datetime) -> float:
        share = (at - self.begin).total_seconds() / self.span
        return _LEFT + min(max(share, 0.0), 1.0) * (self.right - _LEFT)

    def y(self, seconds: float) -> float:
        share = (math.log10(max(seconds, 1e-9)) - self.low) / (self.high - self.low)
        return HEIGHT - _BOTTOM - min(max(share, 0.0), 1.0) * (HEIGHT - _TOP - _BOTTOM)


def _grid(scale: _Scale) -> list[str]:
    drawn = []
    step = 1 if scale.high - scale.low <= 6 else 2
    for power in range(scale.low, scale.high + 1, step):
        y = scale.y(10.0**power)
        drawn.append(f'<line class="grid" x1="{_LEFT}" y1="{y:.1f}" x2="{scale.right}" y2="{y:.1f}"/>')
        drawn.append(_text(_LEFT - 8, y + 4, f"{10.0**power:g} s", "end"))
    drawn.append(_text(_LEFT - 8, _FAILED_AT + 4, "failed", "end"))
    bottom = HEIGHT - _BOTTOM
    drawn.append(f'<line class="axis" x1="{_LEFT}" y1="{bottom}" x2="{scale.right}" y2="{bottom}"/>')
    days = scale.span / 86400
    ticks = max(2, round((scale.right - _LEFT) / 130))
    for number in range(ticks + 1):
        at = scale.begin + timedelta(seconds=scale.span * number / ticks)
        x = scale.x(at)
        anchor = "start" if number == 0 else "end" if number == ticks else "middle"
        said = f"{at:%Y-%m-%d}" if days > ticks else f"{at:%m-%d %H:%M}"
        drawn.append(f'<line class="axis" x1="{x:.1f}" y1="{bottom}" x2="{x:.1f}" y2="{bottom + 5}"/>')
        drawn.append(_text(x, bottom + 20, said, anchor))
    return drawn


def _bands(report: Report, scale: _Scale) -> list[str]:
    drawn = []
    for item in report.missed:
        left, right = scale.x(item.due), scale.x(item.until or report.generated)
        width = max(right - left, 2.0)
        drawn.append(
            f'<rect class="gap" x="{min(left, scale.right - width):.1f}" y="{_TOP - 8}" '
            f'width="{width:.1f}" height="{HEIGHT - _TOP - _BOTTOM + 8}">'
            f"<title>missed for {item.days:g} days, due {item.due:%Y-%m-%d}</title></rect>"
        )
    return drawn


def _goal(report: Report, scale: _Scale) -> list[str]:
    goal = report.verdict.rto_objective
    if goal is None:
        return []
    y = scale.y(goal)
    return [
        f'<line class="goal" x1="{_LEFT}" y1="{y:.1f}" x2="{scale.right}" y2="{y:.1f}"/>',
        f'<text class="goal-label" x="{scale.right - 4}" y="{y - 5:.1f}" text-anchor="end">'
        f"objective {goal:g} s</text>",
    ]


def _marks(report: Report, scale: _Scale) -> list[str]:
    if len(report.drills) <= MARKS:
        return [_mark(drill, scale) for drill in report.drills]
    seen: dict[tuple[int, int, str], DrillFacts] = {}
    for drill in report.drills:
        y = round(scale.y(drill.seconds)) if drill.passed and drill.seconds is not None else _FAILED_AT
        kind = f"{drill.passed} {drill.within_objective}"
        seen.setdefault((round(scale.x(drill.at)), y, kind), drill)
    return [_mark(drill, scale) for drill in seen.values()]


def _mark(drill: DrillFacts, scale: _Scale) -> str:
    x = scale.x(drill.at)
    told = escape(f"{drill.at:%Y-%m-%d %H:%M} {drill.copy} by {drill.path}")
    if not drill.passed or drill.seconds is None:
        return (
            f'<path class="cross" d="M{x - 4:.1f} {_FAILED_AT - 4}l8 8m0 -8l-8 8">'
            f"<title>{told}: failed</title></path>"
        )
    y = scale.y(drill.seconds)
    kind = "slow" if drill.within_objective is False else "dot"
    shape = (
        f'<path class="{kind}" d="M{x:.1f} {y - 5:.1f}L{x + 5:.1f} {y + 4:.1f}L{x - 5:.1f} {y + 4:.1f}Z">'
        if kind == "slow"
        else f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="3">'
    )
    end = "</path>" if kind == "slow" else "</circle>"
    return f"{shape}<title>{told}: {drill.seconds:.2f} s</title>{end}"


def _text(x: float, y: float, said: str, anchor: str) -> str:
    return f'<text class="label" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(said)}</text>'
