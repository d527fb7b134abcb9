"""Writes the digest of `verify.html` into ``docs/auditor.md``. Run: ``python -m tools.make_verify_page``."""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.core.digest import sha256
from pipeline.report.offline import page

PAGE = Path(__file__).parents[1] / "docs" / "auditor.md"
_DIGEST = re.compile(r"(?<=    ```text\n    )\w+(?=\n)")


def render(text: str) -> str:
    """The page's text with the digest of this version's `verify.html`."""
    return _DIGEST.sub(sha256(page.render()).hex, text)


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
