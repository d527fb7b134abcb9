"""The page for auditors tells the digest of this version's `verify.html`."""

from __future__ import annotations

import hashlib

from pipeline.report.offline import page
from tools.make_verify_page import PAGE, render


def test_the_digest_is_the_pages_own() -> None:
    text = PAGE.read_text()
    assert text == render(text), "run: python -m tools.make_verify_page"
    assert hashlib.sha256(page.render()).hexdigest() in text
