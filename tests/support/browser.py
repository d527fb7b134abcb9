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


# One element of each look: what decides about contrast is the same for hundreds of a table's cells.
_LOOKS = """() => {
  const known = new Set();
  for (const element of document.body.querySelectorAll('*')) {
    const text = [...element.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.data.trim());
    if (!text || !element.checkVisibility()) continue;
    const {color, fontSize, fontWeight, textShadow} = getComputedStyle(element);
    const look = [color, fontSize, fontWeight, textShadow];
    for (let at = element; at; at = at.parentElement) {
      const {backgroundColor, backgroundImage, opacity} = getComputedStyle(at);
      const behind = [backgroundColor, backgroundImage, opacity].join();
      if (behind !== look.at(-1)) look.push(behind);
    }
    element.toggleAttribute('data-look', !known.has(look.join('|')));
    known.add(look.join('|'));
  }
  return known.size;
}"""


def accessibility(page: Page, tags: Sequence[str] = TAGS) -> dict[str, Any]:
    """What axe says of a page, by the rules of these tags; of contrasts see :func:`contrasts`.

    Nodes are told of violations alone: those of rules that hold would cost half of the time.
    """
    found = _axe(
        page,
        "document",
        {"runOnly": {"type": "tag", "values": [*tags]}, "rules": {"color-contrast": {"enabled": False}}},
    )
    assert len(found["passes"]) > 15, "the checker looked at something"
    return found


def contrasts(page: Page) -> dict[str, Any]:
    """What axe says of a page's contrasts, which take four fifths of its time; no width changes them."""
    assert page.evaluate(_LOOKS) > 2, "there are texts"
    found = _axe(
        page, "{include: [['[data-look]']]}", {"runOnly": {"type": "rule", "values": ["color-contrast"]}}
    )
    assert found["passes"] or found["violations"], "the checker looked at something"
    return found


def _axe(page: Page, where: str, rules: dict[str, Any]) -> dict[str, Any]:
    from axe_playwright_python.sync_playwright import Axe

    if not page.evaluate("'axe' in window"):
        page.evaluate(Axe().axe_script + _COLOURS)
    found: dict[str, Any] = page.evaluate(
        f"rules => axe.run({where}, rules)", rules | {"resultTypes": ["violations"]}
    )
    return found


def require_accessible(
    page: Page,
    tags: Sequence[str] = TAGS,
    *,
    width: int,
    scheme: Literal["light", "dark"],
) -> None:
    """Make sure that axe finds nothing wrong: contrasts when the page is wide, all else when it is light."""
    found = []
    if scheme == "light":
        found += accessibility(page, tags)["violations"]
    if width >= 1000:
        found += contrasts(page)["violations"]
    assert [(item["id"], [node["html"][:120] for node in item["nodes"][:3]]) for item in found] == []
