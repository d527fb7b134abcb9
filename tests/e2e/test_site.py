"""The documentation as a site: complete, whole in itself, and readable by everybody."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from tests.support.browser import NEEDED, TAGS, Looked, require_accessible
from tests.support.commandline import ROOT
from tools import make_site

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PAGES = {
    path.relative_to(ROOT)
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("infra/**/*.md"))
}
RULES = [tag for tag in TAGS if tag != "best-practice"]  # the theme's menu has its own


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_site.build(tmp_path_factory.mktemp("documentation") / "build")


def test_every_page_stands_in_the_navigation_once() -> None:
    shown = [source for files in make_site.sources().values() for source in files]
    assert sorted(shown) == sorted(PAGES)


def test_every_link_and_anchor_leads_somewhere_and_nothing_is_fetched(site: Path) -> None:
    assert list(make_site.complaints(site)) == []


def test_what_is_wrong_is_seen(tmp_path: Path) -> None:
    (tmp_path / "other.html").write_text('<h2 id="there">There</h2>')
    (tmp_path / "index.html").write_text(
        '<a href="gone.html">1</a><a href="other.html#there">2</a><a href="other.html#gone">3</a>'
        '<a href="#no">4</a>'
        '<script src="https://example.com/x.js"></script><link rel="stylesheet" href="//example.com/y.css">'
        '<img src="data:image/png;base64,AA=="><a href="https://example.com/">5</a>'
    )
    assert list(make_site.complaints(tmp_path)) == [
        "index.html: gone.html leads nowhere",
        "index.html: other.html#gone has no such anchor",
        "index.html: #no has no such anchor",
        "index.html fetches https://example.com/x.js",
        "index.html fetches //example.com/y.css",
    ]


@NEEDED
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", ["index", "runbooks/lost-vault"])
def test_pages_are_readable(
    browser: Browser, site: Path, name: str, width: int, scheme: Literal["light", "dark"]
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    looked = Looked(context.new_page())
    looked.page.goto((site / f"{name}.html").as_uri())
    wide = looked.page.evaluate("document.scrollingElement.scrollWidth - innerWidth")
    assert wide <= 0
    assert [url for url in looked.asked if not url.startswith(("file:", "data:", "blob:"))] == []
    require_accessible(looked.page, RULES, width=width, scheme=scheme)
    context.close()
