"""Documents: what they take from objects, and what is printed."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.documents import ErrorDocument
from pipeline.core.documents import Document, Part, at, only_where_known
from pipeline.core.errors import Code, Denied
from pipeline.core.finding import Level


@dataclass
class Inner:
    size: int


@dataclass
class Source:
    name: str = "a"
    inner: Inner | None = None
    code: Code = Code.DENIED


class ExampleItem(Part):
    """A part.

    Attributes:
        name: Its name.
        size: Of what is inside.
        from: Where it came from.
        problem: Why not.
    """

    name: str
    size: int | None = at("inner.size")
    from_: str
    problem: str | None = only_where_known()


def test_a_field_comes_from_the_attribute_of_its_name_or_from_the_place_that_it_names() -> None:
    assert ExampleItem.of(Source(inner=Inner(3)), from_="x").to_json() == {
        "name": "a",
        "size": 3,
        "from": "x",
    }
    assert ExampleItem.of(Source(), from_="x").size is None, "where something on the way is not there"
    given = ExampleItem.of(Source(), name="b", from_="x", problem="why")
    assert given.to_json() == {"name": "b", "size": None, "from": "x", "problem": "why"}


def test_an_attribute_that_does_not_exist_is_an_error_and_never_null() -> None:
    with pytest.raises(AttributeError):
        ExampleItem.of(object(), from_="x")
    with pytest.raises(AttributeError):
        ExampleItem.of(Source(), name="b")


def test_a_part_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ExampleItem.of(Source(), from_="x").name = "c"  # type: ignore[misc]  # it is frozen


def test_values_are_printed_as_documents_have_them() -> None:
    class ValuesDocument(Document, schema="orgkey.values/1", printed_by="a test"):
        """Values.

        Attributes:
            value: One.
        """

        value: Any

    def printed(value: object) -> object:
        return ValuesDocument(value=value).to_json()["value"]

    assert list(ValuesDocument(value=1).to_json()) == ["schema", "value"]
    assert printed(datetime(2026, 1, 31, 8, tzinfo=UTC)) == "2026-01-31T08:00:00Z"
    assert printed(Code.DENIED) == 21
    assert printed(Level.WARN) == "warn"
    assert printed(Path("/a/b")) == "/a/b"
    assert printed({"x": (Code.OK, None)}) == {"x": [0, None]}
    assert printed(ExampleItem.of(Source(), from_="x")) == {"name": "a", "size": None, "from": "x"}


def test_an_error_is_its_code_its_name_and_its_two_lines() -> None:
    assert ErrorDocument.of(error=Denied("not allowed", hint="ask for it")).to_json() == {
        "schema": "orgkey.error/1",
        "error": {"code": 21, "name": "denied", "message": "not allowed", "hint": "ask for it"},
    }
