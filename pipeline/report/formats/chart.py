"""Test restores over time, as SVG: how long each took, which failed, and when one was missed.

Times are on a logarithmic scale, since an objective of hours and a restore of a second both have to be read
from it. Shapes and words say what colours say: a dot passed, a triangle passed too slowly, a cross
failed, and in a band with a dashed edge one was missed.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from importlib import resources
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
"""Where failed ones are: above the scale, since they have no time."""


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
    style = f"<style>{_light()}</style>" if theme == "light" else ""
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


def _light() -> str:
    return resources.files(__package__).joinpath("chart.css").read_text(encoding="utf-8")


def describe(report: Report) -> str:
    """What the chart shows, in words."""
    times = [drill.seconds for drill in report.drills if drill.seconds is not None]
    failed, missed, goal = len(report.failed), len(report.missed), report.verdict.rto_objective
    text = (
        f"{len(report.drills)} test restores from {report.since:%Y-%m-%d} to {report.generated:%Y-%m-%d}: "
        f"{len(report.drills) - failed} passed, {failed} failed; "
        f"{'once' if missed == 1 else f'{missed} times'} one was missed."
    )
    if not times:
        return text
    objective = f"the objective is {goal:g} seconds" if goal is not None else "no objective is set"
    return f"{text} They took {min(times):.2f} to {max(times):.2f} seconds; {objective}."


class _Scale:
    """Where a moment and a length of time are."""

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
            first = min([drill.at for drill in report.drills] + [item.due for item in report.missed])
            self.begin = max(self.begin, first - (self.end - first) * 0.03)
        self.begin = min(self.begin, self.end - timedelta(days=1))
        self.span = (self.end - self.begin).total_seconds()

    def x(self, at: datetime) -> float:
        share = (at - self.begin).total_seconds() / self.span
        return _LEFT + min(max(share, 0.0), 1.0) * (self.right - _LEFT)

    def y(self, seconds: float) -> float:
        share = (math.log10(max(seconds, 1e-9)) - self.low) / (self.high - self.low)
        return HEIGHT - _BOTTOM - min(max(share, 0.0), 1.0) * (HEIGHT - _TOP - _BOTTOM)


def _grid(scale: _Scale) -> list[str]:
    bottom, right, days = HEIGHT - _BOTTOM, scale.right, scale.span / 86400
    drawn = [_text(_LEFT - 8, _FAILED_AT + 4, "failed", "end"), _line("axis", _LEFT, bottom, right, bottom)]
    for power in range(scale.low, scale.high + 1, 1 if scale.high - scale.low <= 6 else 2):
        y = scale.y(10.0**power)
        drawn.append(_line("grid", _LEFT, y, right, y))
        drawn.append(_text(_LEFT - 8, y + 4, f"{10.0**power:g} s", "end"))
    ticks = max(2, round((right - _LEFT) / 130))
    for number in range(ticks + 1):
        at = scale.begin + timedelta(seconds=scale.span * number / ticks)
        x = scale.x(at)
        anchor = "start" if number == 0 else "end" if number == ticks else "middle"
        drawn.append(_line("axis", x, bottom, x, bottom + 5))
        drawn.append(_text(x, bottom + 20, f"{at:%Y-%m-%d}" if days > ticks else f"{at:%m-%d %H:%M}", anchor))
    return drawn


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


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
        _line("goal", _LEFT, y, scale.right, y),
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
    about = escape(f"{drill.at:%Y-%m-%d %H:%M} {drill.copy} by {drill.path}")
    if not drill.passed or drill.seconds is None:
        shape = f'path class="cross" d="M{x - 4:.1f} {_FAILED_AT - 4}l8 8m0 -8l-8 8"'
        return f"<{shape}><title>{about}: failed</title></path>"
    y = scale.y(drill.seconds)
    title = f"<title>{about}: {drill.seconds:.2f} s</title>"
    if drill.slow:
        corners = f"M{x:.1f} {y - 5:.1f}L{x + 5:.1f} {y + 4:.1f}L{x - 5:.1f} {y + 4:.1f}Z"
        return f'<path class="slow" d="{corners}">{title}</path>'
    return f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="3">{title}</circle>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text class="label" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
