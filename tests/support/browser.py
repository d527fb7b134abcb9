"""Chromium for tests of pages, and what a page did besides being shown."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = next(
    filter(
        None, map(shutil.which, ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"))
    ),
    None,
)
"""The shell without windows takes a fourth of the time for a page, where there is one."""
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
NEEDED = pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("CI"),
    reason="no chromium on PATH (Debian: apt install chromium-headless-shell)",
)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    assert CHROMIUM is not None, "CI installs chromium"
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield browser
        browser.close()


# axe reads the same few colours for each element, which takes a third of the time.
_COLOURS = """
(() => {
  const real = axe.commons.color.Color.prototype.parseString, known = new Map();
  axe.commons.color.Color.prototype.parseString = function (text) {
    if (!known.has(text)) known.set(text, real.call(new axe.commons.color.Color(0, 0, 0), text).toJSON());
    return Object.assign(this, known.get(text));
  };
})();
"""


class Looked:
    """A page that was opened, and what it did besides."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.said: list[str] = []
        self.asked: list[str] = []
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))

    def open(self, path: Path, width: int = 1280, scheme: Literal["light", "dark"] = "light") -> None:
        """Open another page in its place, which takes a third of what a new one takes."""
        self.said.clear()
        self.asked.clear()
        self.page.emulate_media(media="null", color_scheme=scheme)
        self.page.set_viewport_size({"width": width, "height": 800})
        self.page.goto(path.as_uri())


def accessibility(page: Page, tags: Sequence[str] = TAGS, *, colours: bool = True) -> dict[str, Any]:
    """What axe says of a page, by the rules of these tags.

    Nodes are told of violations alone: those of rules that hold would cost half of the time.

    Args:
        page: The page.
        tags: The rules' tags.
        colours: Whether contrasts are measured, which takes four fifths of the time; no width changes them.
    """
    from axe_playwright_python.sync_playwright import Axe

    rules: dict[str, Any] = {"runOnly": {"type": "tag", "values": [*tags]}, "resultTypes": ["violations"]}
    if not colours:
        rules["rules"] = {"color-contrast": {"enabled": False}}
    if not page.evaluate("'axe' in window"):
        page.evaluate(Axe().axe_script + _COLOURS)
    found: dict[str, Any] = page.evaluate("rules => axe.run(rules)", rules)
    assert len(found["passes"]) > 15, "the checker looked at something"
    return found


def require_accessible(page: Page, tags: Sequence[str] = TAGS, *, colours: bool = True) -> None:
    """Make sure that axe finds nothing wrong with a page; see :func:`accessibility`."""
    violations = accessibility(page, tags, colours=colours)["violations"]
    assert [(item["id"], [node["html"][:120] for node in item["nodes"][:3]]) for item in violations] == []
