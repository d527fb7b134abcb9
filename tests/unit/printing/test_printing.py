"""Pages and words: the same input gives the same page, foreign text is text, words are the published list."""

from __future__ import annotations

import hashlib
import io
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.errors import LocalFilesProblem
from pipeline.printing import pdf, words

AT = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)


def text_of(data: bytes) -> str:
    from pypdf import PdfReader

    return " ".join(" ".join(page.extract_text() for page in PdfReader(io.BytesIO(data)).pages).split())


def paper(**changes: Any) -> dict[str, Any]:
    return {
        "paper": "a4",
        "number": 1,
        "size": 2,
        "keeper": "safe-berlin",
        "holder": "safe",
        "rule": "as many sheets as the path asks for",
        "fingerprint_spaced": pdf.spaced("70FBA2750FD7F47DF6FB080908E6316C03A0DB7D"),
        "record_id": "0" * 32,
        "words": ["academic"] * 33,
        "qr": pdf.qr("ACADEMIC"),
    } | changes


def sheet(**changes: Any) -> dict[str, Any]:
    share = {
        "path": "custodians", "needs": "3 of 5 custodians", "index": 2, "file": "custodians.asc",
        "read": "gpg --decrypt custodians.asc", "check": "WORDS=1", "send": "gpg --encrypt",
    }  # fmt: skip
    return {
        "paper": "a4",
        "name": "Alice",
        "certificate": pdf.spaced("A" * 40),
        "organization": "Example <keys@example.com>",
        "epoch": "20260101T000000Z-00000000",
        "record_id": "0" * 32,
        "created": "2026-01-01T00:00:00Z",
        "fingerprint_spaced": pdf.spaced("70FBA2750FD7F47DF6FB080908E6316C03A0DB7D"),
        "words": list(words.spoken("70FBA2750FD7F47DF6FB080908E6316C03A0DB7D")),
        "qr": pdf.qr("70FBA2750FD7F47DF6FB080908E6316C03A0DB7D"),
        "shares": [share],
        "people": [{"name": "Alice", "contact": "+49 1", "short": "A" * 16}],
    } | changes


def test_the_word_list_is_the_published_one() -> None:
    assert len(set(words.EVEN) | set(words.ODD)) == 512
    joined = "\n".join(words.EVEN) + "\n" + "\n".join(words.ODD)
    assert hashlib.sha256(joined.encode()).hexdigest() == (
        "e9b7b0052233a74aa56724ed3f79c272036aed68d8f4c0856e833c8043b9ac62"
    )
    # The example of PGP's own documentation.
    assert " ".join(words.spoken("E58294F2E9A227486E8B061B31CC528FD7FA3F19")) == (
        "topmost Istanbul Pluto vagabond treadmill Pacific brackish dictator goldfish Medusa "
        "afflict bravado chatter revolver Dupont midsummer stopwatch whimsical cowbell bottomless"
    )


@pytest.mark.parametrize(("template", "data"), [("paper", paper()), ("custodian", sheet())])
def test_the_same_input_gives_the_same_page(template: str, data: dict[str, Any]) -> None:
    one = pdf.render(template, data, at=AT)
    assert one.startswith(b"%PDF")
    assert pdf.render(template, json.loads(json.dumps(data)), at=AT) == one


@pytest.mark.parametrize("size", ["a4", "us-letter"])
def test_a_sheet_of_paper_is_one_page_with_every_word_in_its_place(size: str) -> None:
    from pypdf import PdfReader

    listed = [f"word{chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(33)]
    data = pdf.render("paper", paper(paper=size, words=listed), at=AT)
    assert len(PdfReader(io.BytesIO(data)).pages) == 1
    text = text_of(data)
    for number, word in enumerate(listed, 1):
        assert f"{number}. {word}" in text


def test_sixteen_custodians_with_long_names_fit_on_two_pages() -> None:
    from pypdf import PdfReader

    people = [
        {"name": f"Person {n} with a Name that is rather Long", "contact": "x" * 60, "short": "A" * 16}
        for n in range(16)
    ]
    data = pdf.render("custodian", sheet(people=people), at=AT)
    assert len(PdfReader(io.BytesIO(data)).pages) <= 3


@settings(max_examples=15, deadline=None)
@given(st.text(alphabet=st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Z")), max_size=60))
def test_foreign_text_is_never_markup(name: str) -> None:
    assert pdf.render("custodian", sheet(name=name, organization=name), at=AT).startswith(b"%PDF")


def test_markup_in_a_name_is_shown_as_it_is() -> None:
    name = '#panic("x") *bold* $x$ [b] \\ #read("/etc/passwd")'
    text = text_of(pdf.render("custodian", sheet(name=name), at=AT))
    assert '#panic("x") *bold* $x$ [b]' in text
    assert "root:" not in text


def test_a_page_that_cannot_be_set_says_nothing_of_its_data() -> None:
    with pytest.raises(LocalFilesProblem) as caught:
        pdf.render("paper", paper(words=12345), at=AT)
    assert "12345" not in caught.value.message + caught.value.hint
    with pytest.raises(LocalFilesProblem):
        pdf.render("no-such-page", {}, at=AT)
