"""The configuration's JSON Schema: what an editor shows of each setting, and takes for a mistake."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it has none

from pipeline.config.schema import ID, schema
from tests.support.commandline import ROOT

EXAMPLES = sorted(ROOT.glob("infra/schedule/*.toml.example"))


def described(node: Any, at: str = "") -> Iterator[tuple[str, bool]]:
    """Every setting, and whether the schema says what it is for."""
    if isinstance(node, dict):
        for name, setting in node.get("properties", {}).items():
            yield f"{at}.{name}", bool(setting.get("description"))
        for name, inner in node.items():
            yield from described(inner, f"{at}/{name}")
    elif isinstance(node, list):
        for inner in node:
            yield from described(inner, at)


def test_it_is_a_schema_with_a_name_of_its_own() -> None:
    Draft202012Validator.check_schema(schema())
    assert schema()["$id"] == ID


def test_every_setting_is_described() -> None:
    settings = list(described(schema()))
    assert len(settings) > 150
    assert [name for name, words in settings if not words] == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_are_valid_and_a_slip_in_them_is_not(path: Path) -> None:
    document = tomllib.loads(path.read_text())
    check = Draft202012Validator(schema())
    assert list(check.iter_errors(document)) == []
    document["policy"]["copys"] = 2
    (error,) = check.iter_errors(document)
    assert "'copys' was unexpected" in error.message


def test_it_is_json_whatever_the_words_hold() -> None:
    assert json.loads(json.dumps(schema())) == schema()
