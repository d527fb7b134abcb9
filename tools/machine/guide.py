"""The lines that a page tells its reader to type."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCHEDULE = ROOT / "infra" / "schedule" / "README.md"
HOW_TO = ROOT / "docs" / "how-to.md"
RUNBOOKS = ROOT / "docs" / "runbooks" / "README.md"


def section(page: Path, title: str) -> str:
    """A section of a page, its heading left out.

    Args:
        page: The page.
        title: The heading, whole.
    """
    found = re.search(
        rf"^##+ {re.escape(title)}\n(.*?)(?=^## |\Z)", page.read_text(), re.MULTILINE | re.DOTALL
    )
    assert found, f"{page} has no section {title}"
    return found[1]


def typed(text: str) -> list[str]:
    """The lines with a dollar sign, in order."""
    return re.findall(r"^\$ (.*)$", text, re.MULTILINE)


def block(text: str, language: str, word: str) -> str:
    """The one fenced block of a language that has a word in it."""
    (found,) = (
        body
        for body in re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        if word in body
    )
    return str(found)
