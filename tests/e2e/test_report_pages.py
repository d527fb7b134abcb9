"""The report's page in a real browser: at every width, in print, in the dark, and for a screen reader."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest
from pypdf import PdfReader

from pipeline.report.controls.assess import assess
from pipeline.report.formats import html
from pipeline.report.model import Report
from tests.support import sample_report as samples
from tests.support.browser import NEEDED, Looked, accessibility, contrasts, require_accessible

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SAMPLES: dict[str, Callable[[], Report]] = {
    "good": samples.good,
    "bad": samples.bad,
    "year": samples.year,
}
BEYOND = """() => [...document.querySelectorAll('body *')]
  .filter(e => !e.closest('.scroll') && !e.matches('.skip'))
  .filter(e => e.getBoundingClientRect().right > innerWidth + 1)
  .map(e => e.tagName + ' ' + e.textContent.trim().slice(0, 60))"""


def report_of(name: str) -> Report:
    """A sample with everything that a real report has."""
    report = SAMPLES[name]()
    return replace(report, controls=assess(report))


pytestmark = NEEDED


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The samples as files."""
    folder = tmp_path_factory.mktemp("samples")
    paths = {name: folder / f"{name}.html" for name in SAMPLES}
    for name, path in paths.items():
        path.write_bytes(html.render(report_of(name)))
    return paths


@pytest.fixture(scope="module")
def tab(browser: Browser) -> Looked:
    """Where all are opened, one after the other."""
    return Looked(browser.new_page())


@pytest.fixture
def look(tab: Looked, files: dict[str, Path]) -> Callable[..., Looked]:
    """Open a sample."""

    def made(name: str, width: int = 1280, scheme: Literal["light", "dark"] = "light") -> Looked:
        tab.open(files[name], width, scheme)
        return tab

    return made


@pytest.mark.parametrize("width", [360, 768, 1280])
@pytest.mark.parametrize("name", SAMPLES)
def test_nothing_overflows_and_nothing_is_fetched(look: Callable[..., Looked], name: str, width: int) -> None:
    looked = look(name, width)
    page = looked.page
    wide = page.evaluate("document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth")
    assert wide <= 0
    assert page.evaluate(BEYOND) == []
    assert looked.said == []
    assert [url for url in looked.asked if not url.startswith(("file:", "data:"))] == []
    assert page.title().startswith("Escrow report")
    # The answer is in sight without scrolling.
    box = page.locator(".answer").bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < 800


@pytest.mark.parametrize("width", [360, 390, 640])
def test_no_table_has_to_be_scrolled_aside_on_a_phone(look: Callable[..., Looked], width: int) -> None:
    page = look("bad", width).page
    wide = "all => all.filter(e => e.scrollWidth > e.clientWidth).map(e => e.getAttribute('aria-label'))"
    assert page.get_by_role("region", name="Table of").evaluate_all(wide) == []
    assert page.locator("tbody tr").first.evaluate("element => getComputedStyle(element).display") == "flex"


def test_each_cell_says_of_which_column_it_is(look: Callable[..., Looked]) -> None:
    page = look("bad").page
    wrong = page.evaluate("""() => [...document.querySelectorAll('table')].flatMap(table => {
      const heads = [...table.tHead.rows[0].cells].map(cell => cell.textContent);
      return [...table.tBodies[0].rows].flatMap(row => [...row.cells].filter((cell, at) =>
        cell.tagName === 'TD' ? cell.dataset.label !== heads[at] : cell.scope !== 'row'));
    }).map(cell => cell.outerHTML.slice(0, 80))""")
    assert wrong == []


def test_a_phone_shows_without_scrolling_aside_what_failed(look: Callable[..., Looked]) -> None:
    page = look("bad", 360).page
    for text in ("✗ failed", "✗ not good", "✗ unreadable", "✗ overdue", "✗ no escrowed key"):
        box = page.locator(".scroll .word", has_text=text).first.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= 360, text
    assert page.locator(".chart.narrow").is_visible()
    assert page.locator(".chart.wide").is_hidden()
    chart = page.get_by_role("region", name="Chart of test restores")
    assert chart.evaluate("element => element.scrollWidth <= element.clientWidth")


def test_links_to_evidence_lead_to_its_row(look: Callable[..., Looked]) -> None:
    page = look("good").page
    page.locator(".rests a").first.click()
    assert page.evaluate("document.querySelector(':target').tagName") == "TR"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", SAMPLES)
def test_the_accessibility_checker_finds_nothing(
    look: Callable[..., Looked], name: str, scheme: Literal["light", "dark"]
) -> None:
    page = look(name, 1280, scheme).page
    require_accessible(page, width=1280, scheme=scheme)
    page.set_viewport_size({"width": 360, "height": 800})
    require_accessible(page, width=360, scheme=scheme)


def test_the_checker_would_find_something(look: Callable[..., Looked]) -> None:
    page = look("good").page
    page.evaluate("document.documentElement.removeAttribute('lang')")
    assert "html-has-lang" in [item["id"] for item in accessibility(page)["violations"]]


def test_it_would_find_a_pale_text_among_many(look: Callable[..., Looked]) -> None:
    page = look("year").page
    assert contrasts(page)["violations"] == []
    cell = page.locator("tbody tr:last-child td").last
    cell.evaluate("cell => { cell.textContent = 'pale'; cell.style.color = '#ddd'; }")
    (found,) = contrasts(page)["violations"]
    assert [node["html"].count("pale") for node in found["nodes"]] == [1]


def test_dark_is_dark(look: Callable[..., Looked]) -> None:
    colours = {
        scheme: look("good", 1280, scheme).page.evaluate("getComputedStyle(document.body).backgroundColor")
        for scheme in ("light", "dark")
    }
    assert colours == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 24, 31)"}


def test_it_can_be_used_by_keyboard(look: Callable[..., Looked]) -> None:
    page = look("year", 360).page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.locator(".skip").bounding_box()["x"] >= 0  # type: ignore[index]  # it is in sight now
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    regions = page.locator(".scroll")
    for number in range(regions.count()):
        region = regions.nth(number)
        assert region.get_attribute("tabindex") == "0"
        assert region.get_attribute("aria-label")
    region = page.get_by_role("region", name="Picture of the custody posture")
    region.focus()
    page.keyboard.press("ArrowRight")
    for _ in range(100):
        if region.evaluate("element => element.scrollLeft") > 0:
            break
        page.wait_for_timeout(50)
    assert region.evaluate("element => element.scrollLeft") > 0


@pytest.mark.parametrize("paper", ["A4", "Letter"])
@pytest.mark.parametrize("name", SAMPLES)
def test_it_prints_well(look: Callable[..., Looked], name: str, paper: str) -> None:
    page = look(name, 1280, "dark").page
    sheets = [sheet.extract_text() for sheet in PdfReader(io.BytesIO(page.pdf(format=paper))).pages]
    first = sheets[0]
    report = SAMPLES[name]()
    assert "Can the Org Key be restored today?" in first
    for gap in report.verdict.gaps:
        assert gap[:30] in first.replace("\n", " ")
    for said in (f"{report.runs[0]}", "passed", "failed", "missed", "Ledger"):
        assert said in first
    printed = "".join(sheets)
    titles = set(page.locator("h2, h3, caption").all_inner_texts())
    assert [text for sheet in sheets if (text := sheet.splitlines()[-1]) in titles] == []
    # No heading of a column and no name is broken within a word.
    for word in ("Evidence", "Target", "Retained", "unattended", "custodians", "vault-eu", "Support"):
        assert word in printed
        assert f"{word[:-1]}\n{word[-1:]}" not in printed
    # At the width of the paper between its margins nothing is cut off, and ink goes on white.
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 680, "height": 1000})
    assert page.evaluate("document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth") <= 0
    cut = "() => [...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth + 1)"
    assert page.evaluate(cut + ".length") == 0
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
