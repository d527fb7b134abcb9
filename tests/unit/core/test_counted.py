"""Numbers of things are written as people write them."""

from __future__ import annotations

import pytest

from pipeline.core.text import counted


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [(2, "key", "2 keys"), (1, "key", "1 key"), (0, "key", "no keys"), (2, "copy", "2 copies")],
)
def test_plurals(number: int, noun: str, text: str) -> None:
    assert counted(number, noun) == text
