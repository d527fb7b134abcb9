"""Build the documentation as a site in ``build/documentation/site``, from the same pages (``make site``).

The pages are those of ``docs/``, the project's README as the start, and the READMEs of ``infra/``. Zensical,
the successor of Material for MkDocs, makes the site. What a page would fetch from elsewhere, or a link or an
anchor that leads nowhere, is an error.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build"
_LINK = re.compile(r"\[((?:[^\]\n]|\n(?!\n))+)\]\(([^)\s]+)\)")
_CODE = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
NAVIGATION = {
    "Start": ["README.md", "docs/tutorial.md", "docs/demo.md", "docs/lab.md"],
    "Doing": [
        "docs/install.md",
        "docs/how-to.md",
        "docs/own-bucket.md",
        "docs/logins.md",
        "docs/high-availability.md",
        "docs/auditor.md",
    ],
    "Disasters": ["docs/runbooks/*.md", "docs/exit-codes.md"],
    "Looking up": ["docs/reference/*.md"],
    "Infrastructure": ["infra/*/README.md"],
    "Why": [
        "docs/design.md",
        "docs/adr/*.md",
        "docs/versions.md",
        "SECURITY.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
    ],
}
"""Where each page stands: heading and files, in order; a file that stands nowhere is an error."""
SCHEMAS = Path("docs/reference/schemas")
_SCHEMA_PAGE = "reference/schemas/index.md"
_SCHEMA_LIST = """\
# JSON Schemas

The schema of the configuration, and of each document that a command prints with `--json`; what their
fields mean is on [JSON documents](../json.md). Validators and editors can take them from here.

| of | schema |
|---|---|
"""
_CONFIG = """\
[project]
site_name = "orgkey-escrow"
site_description = "Escrows the one key a PGP Encryption Server cannot be restored without"
copyright = "The orgkey-escrow contributors; Apache License 2.0"
docs_dir = "pages"
site_dir = "site"
use_directory_urls = false
extra_css = ["readable.css"]
extra_javascript = ["readable.js"]
nav = [
{nav}
]
[project.theme]
font = false
features = ["content.code.copy", "navigation.indexes", "navigation.top", "search.highlight"]
[[project.theme.palette]]
media = "(prefers-color-scheme: light)"
scheme = "default"
toggle.icon = "lucide/sun"
toggle.name = "Dark"
[[project.theme.palette]]
media = "(prefers-color-scheme: dark)"
scheme = "slate"
toggle.icon = "lucide/moon"
toggle.name = "Light"
[project.markdown_extensions.toc]
permalink = false
[project.markdown_extensions.tables]
[project.markdown_extensions.sane_lists]
[project.markdown_extensions.pymdownx.superfences]
[project.markdown_extensions.pymdownx.highlight]
anchor_linenums = false
"""


def sources() -> dict[str, list[Path]]:
    """The files of each heading, below the project's root."""
    return {
        heading: [
            path.relative_to(ROOT)
            for pattern in patterns
            for path in sorted(ROOT.glob(pattern), key=lambda path: (path.name != "README.md", path))
        ]
        for heading, patterns in NAVIGATION.items()
    }


def place(source: Path) -> Path:
    """Where a file of the project stands in the site's folder of pages."""
    inner = source.relative_to("docs") if source.parts[0] == "docs" else source
    return inner.with_name("index.md") if inner.name == "README.md" else inner


def staged(pages: Path) -> None:
    """Write the pages, with links that fit, and the pictures.

    Args:
        pages: The folder; it is made.
    """
    known = [source for files in sources().values() for source in files]
    for source in known:
        target = pages / place(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(_rewritten(source, known), encoding="utf-8")
    for own in (ROOT / "tools" / "site").iterdir():
        shutil.copyfile(own, pages / own.name)
    schemas = sorted(ROOT.glob(f"{SCHEMAS}/*.json"))
    for file in (*ROOT.glob("docs/pictures/*"), *schemas):
        target = pages / place(file.relative_to(ROOT))
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    named = [("/".join(file.stem.rsplit("-", 1)), file.name) for file in schemas]
    rows = [f"| `{schema}` | [{name}]({name}) |\n" for schema, name in named]
    (pages / _SCHEMA_PAGE).write_text(_SCHEMA_LIST + "".join(rows), encoding="utf-8")


def _rewritten(source: Path, known: list[Path]) -> str:
    """A page's text with links that fit the site; a file that is not a page is named without a link."""

    def fitting(link: re.Match[str]) -> str:
        words, (address, mark, anchor) = link[1], link[2].partition("#")
        target = Path(os.path.normpath(source.parent / address))
        if not address or urlsplit(address).scheme:
            return link[0]
        if target in known or target.suffix in (".png", ".svg") or target.parent == SCHEMAS:
            return f"[{words}]({os.path.relpath(place(target), place(source).parent)}{mark}{anchor})"
        if target == SCHEMAS:
            return f"[{words}]({os.path.relpath(_SCHEMA_PAGE, place(source).parent)})"
        return words

    text = (ROOT / source).read_text(encoding="utf-8")
    outside = _CODE.split(text)  # what is between blocks of code
    code = [*_CODE.findall(text), ""]
    return "".join(_LINK.sub(fitting, part) + block for part, block in zip(outside, code, strict=True))


def build(folder: Path) -> Path:
    """Make the site.

    Args:
        folder: Where pages, configuration and site are made; what an earlier run left there goes.

    Returns:
        The site's folder.

    Raises:
        subprocess.CalledProcessError: Zensical refuses a page.
    """
    shutil.rmtree(folder, ignore_errors=True)
    staged(folder / "pages")
    places = {heading: [place(file).as_posix() for file in files] for heading, files in sources().items()}
    places["Looking up"].append(_SCHEMA_PAGE)
    rows = [f'  {{ "{heading}" = [{", ".join(map(repr, files))}] }},' for heading, files in places.items()]
    (folder / "zensical.toml").write_text(_CONFIG.format(nav="\n".join(rows)), encoding="utf-8")
    program = Path(sys.executable).with_name("zensical")
    subprocess.run(
        [program, "build", "--strict"], cwd=folder, check=True, stdout=subprocess.DEVNULL, timeout=300
    )
    return folder / "site"


class _Page(HTMLParser):
    """What a page links to and fetches, and its anchors."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag names."""
        named = {name: value or "" for name, value in attrs}
        self.anchors |= {named[name] for name in ("id", "name") if name in named}
        if tag == "a" and "href" in named:
            self.links.append(named["href"])
        elif tag == "link" and named.get("rel") not in ("canonical", "next", "prev"):
            self.fetched.append(named.get("href", ""))
        elif "src" in named:
            self.fetched.append(named["src"])


def complaints(site: Path) -> Iterator[str]:
    """Every link and anchor that leads nowhere, and what is fetched from elsewhere."""
    pages = {path: _Page(path) for path in sorted(site.rglob("*.html"))}
    for path, page in pages.items():
        name = path.relative_to(site)
        for address in (*page.links, *page.fetched):
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                if address in page.fetched and parts.scheme != "data":
                    yield f"{name} fetches {address}"
                continue
            target = Path(os.path.normpath(path.parent / unquote(parts.path))) if parts.path else path
            if parts.path.startswith("/"):
                target = site / parts.path.lstrip("/")  # of the page for what is not found
            if not target.exists():
                yield f"{name}: {address} leads nowhere"
            elif parts.fragment and target in pages and parts.fragment not in pages[target].anchors:
                yield f"{name}: {address} has no such anchor"


def unreadable(site: Path) -> Iterator[str]:
    """What keeps somebody from reading a page, by axe: on a phone in the dark, on a desk in the light."""
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import sync_playwright

    from tests.support.browser import CHROMIUM, QUIET, TAGS

    rules = [tag for tag in TAGS if tag != "best-practice"]  # the theme's menu has its own
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        for path in sorted(set(site.rglob("*.html")) - {site / "404.html"}):
            for width, dark in ((390, True), (1280, False)):
                page = browser.new_page(
                    viewport={"width": width, "height": 800}, color_scheme="dark" if dark else "light"
                )
                page.goto(path.as_uri())
                name = f"{path.relative_to(site)} at {width}"
                if page.evaluate("document.scrollingElement.scrollWidth > innerWidth"):
                    yield f"{name}: wider than the screen"
                found = Axe().run(page, options={"runOnly": {"type": "tag", "values": rules}})
                yield from (f"{name}: {item['id']}" for item in found.response["violations"])
                page.close()


def main() -> int:
    """Build it, and say what is wrong; with ``read`` also what keeps somebody from reading a page."""
    site = build(BUILD / "documentation")
    wrong = list(complaints(site))
    if "read" in sys.argv[1:]:
        wrong += unreadable(site)
    print(*wrong, site / "index.html", sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
