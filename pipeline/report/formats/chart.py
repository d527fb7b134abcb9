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

from markupsafe import Markup

from pipeline.core.templates import filled_markup
from pipeline.core.text import counted
from pipeline.report.drill_facts import DrillFacts
from pipeline.report.model import Report

Theme = Literal["page", "light"]

WIDTH: Final = 760
NARROW: Final = 340
"""For a phone, where the wide one would have to be scrolled to the newest."""
HEIGHT: Final = 260
MARKS: Final = 1000
"""From so many test restores on, those that would cover each other are drawn once."""


def draw(report: Report, *, theme: Theme = "page", width: int = WIDTH) -> str:
    """Draw the period's test restores.

    Args:
        report: The report.
        theme: ``page`` takes its colours from the style of the page around it, ``light`` brings its own.
        width: How wide, in pixels of the chart's own.

    Returns:
        An SVG element without a script, a font or a link.
    """
    own = resources.files(__package__).joinpath("chart.css").read_text(encoding="utf-8")
    return filled_markup(
        __package__,
        "chart.svg.j2",
        report=report,
        scale=_Scale(report, width),
        drills=_shown(report, _Scale(report, width)),
        goal=report.verdict.rto_objective,
        words=describe(report),
        style=Markup(own) if theme == "light" else "",  # noqa: S704 - this package's own file
        width=width,
        height=HEIGHT,
        kind="wide" if width >= WIDTH else "narrow",
    )


def describe(report: Report) -> str:
    """What the chart shows, in words."""
    times = [drill.seconds for drill in report.drills if drill.seconds is not None]
    (passed, failed), missed, goal = report.runs, len(report.missed), report.verdict.rto_objective
    text = (
        f"{counted(passed + failed, 'test restore')} from {report.since:%Y-%m-%d} to "
        f"{report.generated:%Y-%m-%d}: {passed} passed, {failed} failed"
        f"{f'; {missed} missed' if missed else ''}."
    )
    if not times:
        return text
    if (first := report.drills[0].at) - report.since > timedelta(days=1):
        text += f" The first was on {first:%Y-%m-%d}."
    objective = f"the objective is {goal:g} seconds" if goal is not None else "no objective is set"
    return f"{text} A copy took {min(times):.2f} to {max(times):.2f} seconds; {objective}."


class _Scale:
    """Where a moment and a length of time are."""

    left, top, bottom = 64, 34, HEIGHT - 34
    failed = 18
    """Where failed ones are: above the scale, since they have no time."""

    def __init__(self, report: Report, width: int) -> None:
        self.right = width - 16
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
        self.begin = min(self.begin, self.end - timedelta(minutes=10))
        self.span = (self.end - self.begin).total_seconds()

    def x(self, at: datetime) -> float:
        share = (at - self.begin).total_seconds() / self.span
        return self.left + min(max(share, 0.0), 1.0) * (self.right - self.left)

    def y(self, seconds: float) -> float:
        share = (math.log10(max(seconds, 1e-9)) - self.low) / (self.high - self.low)
        return self.bottom - min(max(share, 0.0), 1.0) * (self.bottom - self.top)

    @property
    def powers(self) -> range:
        return range(self.low, self.high + 1, 1 if self.high - self.low <= 6 else 2)

    @property
    def ticks(self) -> list[tuple[datetime, str]]:
        count = max(2, round((self.right - self.left) / 130))
        form = "%Y-%m-%d" if self.span / 86400 > count else "%m-%d %H:%M"
        moments = [self.begin + timedelta(seconds=self.span * each / count) for each in range(count + 1)]
        return [(at, at.strftime(form)) for at in moments]


def _shown(report: Report, scale: _Scale) -> list[DrillFacts]:
    if len(report.drills) <= MARKS:
        return list(report.drills)
    seen: dict[tuple[int, int, bool, bool], DrillFacts] = {}
    for drill in report.drills:
        y = round(scale.y(drill.seconds)) if drill.passed and drill.seconds is not None else scale.failed
        seen.setdefault((round(scale.x(drill.at)), y, drill.passed, drill.slow), drill)
    return list(seen.values())
