"""Numbers of things are written as people write them, and paths as a shell takes them."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from pipeline.core.text import counted, shell_word


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [(2, "key", "2 keys"), (1, "key", "1 key"), (0, "key", "no keys"), (2, "copy", "2 copies")],
)
def test_plurals(number: int, noun: str, text: str) -> None:
    assert counted(number, noun) == text


@pytest.mark.parametrize("path", ["a", "two  spaces", "it's", "$(x);*", '"', "über"])
def test_a_path_in_a_command_is_one_word(path: str) -> None:
    assert shlex.split(f"chmod 600 {shell_word(Path(path))}") == ["chmod", "600", path]


@pytest.mark.parametrize(
    ("path", "word"), [("-x", "./-x"), ("a\n'\\", r"$'a\n\'\\'"), ("\udcff", r"$'\xff'")]
)
def test_no_path_becomes_an_option_or_is_escaped_on_the_screen(path: str, word: str) -> None:
    assert shell_word(Path(path)) == word
