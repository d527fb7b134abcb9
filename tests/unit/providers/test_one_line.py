from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.providers.text import one_line


@given(st.text())
def test_whatever_a_server_says_is_one_printable_line(text: str) -> None:
    line = one_line(text, 50)
    assert len(line) <= 50
    assert line.isprintable()


def test_words_stay_words() -> None:
    assert one_line("1 error occurred:\n\t* permission denied\n\n") == "1 error occurred: * permission denied"
