"""The chart of test restores: each by a shape of its own, on a phone too."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from xml.etree import ElementTree

from pipeline.report.drill_facts import DrillFacts
from pipeline.report.formats import chart
from tests.support import sample_report as samples


def chart_of(*drills: DrillFacts) -> ElementTree.Element:
    return ElementTree.fromstring(chart.draw(replace(samples.good(), drills=drills)))


def test_the_chart_shows_each_test_restore_by_a_shape_of_its_own() -> None:
    drawn = ElementTree.fromstring(chart.draw(samples.year()))
    space = "{http://www.w3.org/2000/svg}"
    assert len(drawn.findall(f"{space}circle")) == 93 - 2
    kinds = [path.get("class") for path in drawn.findall(f"{space}path")]
    assert kinds.count("cross") == 3
    assert kinds.count("slow") == 2
    assert len(drawn.findall(f"{space}rect")) == 3
    assert "45 passed, 3 failed; 3 missed" in str(drawn.get("aria-label"))
    for shape in drawn.iter():
        for name in ("x", "cx"):
            if (at := shape.get(name)) is not None:
                assert 0 <= float(at) <= chart.WIDTH


def test_a_narrow_chart_shows_the_same() -> None:
    wide, narrow = (
        ElementTree.fromstring(chart.draw(samples.year(), width=width))
        for width in (chart.WIDTH, chart.NARROW)
    )
    assert [shape.tag for shape in wide if "text" not in shape.tag and "line" not in shape.tag] == [
        shape.tag for shape in narrow if "text" not in shape.tag and "line" not in shape.tag
    ]
    assert wide.get("aria-label") == narrow.get("aria-label")
    for shape in narrow.iter():
        assert 0 <= float(shape.get("cx") or shape.get("x") or 0) <= chart.NARROW


def test_a_chart_of_very_many_stays_small_and_hides_no_failure() -> None:
    good = samples.good()
    many = [replace(good.drills[0], at=good.since + timedelta(minutes=50 * n)) for n in range(10_000)]
    failed = replace(many[5000], passed=False, seconds=None, within_objective=None)
    drawn = chart.draw(replace(good, drills=(*many, failed)))
    assert len(drawn) < 300_000
    assert drawn.count('class="cross"') == 1


def test_a_chart_of_nothing_and_of_one() -> None:
    assert "0 passed" in str(chart_of().get("aria-label"))
    one = samples.good().drills[0]
    assert "1 passed" in str(chart_of(one).get("aria-label"))
    for seconds in (0.0, 1e-6, 1e9):
        chart_of(replace(one, seconds=seconds))
