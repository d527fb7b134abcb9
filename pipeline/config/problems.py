"""What is wrong with a configuration, in this program's words: pydantic finds it, this says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from pydantic import BaseModel, ValidationError

from pipeline.config._base import meant

# By pydantic's name of a problem; what is not here is a check of our own, which has its own words.
_WORDS = {
    "string_type": "is not a text in quotes",
    "bool_type": "is not true or false",
    "bool_parsing": "is not true or false",
    "int_type": "is not a whole number",
    "int_parsing": "is not a whole number",
    "int_from_float": "is not a whole number",
    "float_type": "is not a number",
    "float_parsing": "is not a number",
    "tuple_type": "is not a list",
    "list_type": "is not a list",
    "dict_type": "is not a section",
    "mapping_type": "is not a section",
    "model_type": "is not a section",
    "model_attributes_type": "is not a section",
    "finite_number": "is not a finite number",
    "greater_than_equal": "is below {ge:g}",
    "greater_than": "is not above {gt:g}",
    "less_than_equal": "is above {le:g}",
    "less_than": "is not below {lt:g}",
    "too_short": "has fewer than {min_length} items",
    "too_long": "has more than {max_length} items",
    "string_too_short": "is shorter than {min_length} characters",
    "string_too_long": "is longer than {max_length} characters",
}


def describe(error: ValidationError, model: type[BaseModel], document: Mapping[str, Any]) -> str:
    """Say what is wrong, with what was perhaps meant.

    Args:
        error: What pydantic found.
        model: What the document was read as.
        document: What was read.

    Returns:
        One or more problems, with semicolons between them.
    """
    schema = _schema(model)
    items = error.errors(include_url=False)
    # A list whose items are wrong is then too short, which is not a second mistake.
    wrong = [item for item in items if not (item["type"] == "too_short" and _below(item, items))]
    return "; ".join(dict.fromkeys(_one(item, schema, document) for item in wrong))


@cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()


def _below(item: Any, items: Sequence[Any]) -> bool:
    place = item["loc"]
    return any(other["loc"][: len(place)] == place and other["loc"] != place for other in items)


def _one(item: Any, schema: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    kind, context = item["type"], item.get("ctx", {})
    # What is missing stands nowhere in the document; of the rest, pydantic's own names are left out.
    *above, last = item["loc"] or ("",)
    absent = kind in ("missing", "extra_forbidden")
    place = _followed(above if absent else item["loc"], document)
    if kind == "extra_forbidden":
        return _unknown(place, str(last), schema, document)
    if kind == "missing":
        return f"{_section(place)} lacks {last}" if place else f"the section [{last}] is missing"
    if kind == "union_tag_not_found":
        kinds = sorted(form["properties"]["kind"]["const"] for form in _forms(schema, place, document))
        return f"{_section(place)} lacks kind: one of {', '.join(kinds)}"
    if kind == "union_tag_invalid":
        tags = [tag.strip(" '") for tag in str(context["expected_tags"]).split(",")]
        return f"{_section(place)} kind is {context['tag']!r}: {_one_of(tags, str(context['tag']))}"
    if kind in ("literal_error", "enum"):
        choices = [value.strip(" '") for value in str(context["expected"]).replace(" or ", ", ").split(",")]
        if last == "[key]":
            return f"{_section(place[:-1])} has no section {place[-1]}: {_one_of(choices, str(place[-1]))}"
        if len(choices) == 1:
            return f"{_setting(place)} can only be {choices[0].lower()}"
        # The value is not shown: what stands in a wrong place may be a secret.
        return f"{_setting(place)} is not one of {', '.join(choices)}{meant(str(item['input']), choices)}"
    if kind in _WORDS:
        return f"{_setting(place)} {_WORDS[kind].format(**context)}"
    said = str(item["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    return f"{_setting(place)}: {said}" if place else said


def _followed(loc: Sequence[str | int], document: Any) -> list[str | int]:
    """A place in the document: without the names that pydantic adds for its own kinds."""
    place: list[str | int] = []
    for part in loc:
        inside = range(len(document)) if isinstance(document, list) else document
        if isinstance(inside, Mapping | range) and part in inside:
            document = document[part]
            place.append(part)
    return place


def _section(place: Sequence[str | int]) -> str:
    if any(isinstance(part, int) for part in place):
        return f"{_setting(place)}:"  # an item of a list, which is a table of its own
    return f"[{'.'.join(map(str, place))}]"


def _setting(place: Sequence[str | int]) -> str:
    """The setting's section, and its name with an item's number counted from one."""
    if not place:
        return "the configuration"
    listed = next((at for at, part in enumerate(place) if isinstance(part, int)), len(place))
    *section, name = place[:listed]
    below = [f"item {part + 1}" if isinstance(part, int) else part for part in place[listed:]]
    text = ", ".join(map(str, [name, *below]))
    return f"{_section(section)} {text}" if section else f"[{text}]"


def _unknown(
    place: Sequence[str | int], name: str, schema: Mapping[str, Any], document: Mapping[str, Any]
) -> str:
    forms = _forms(schema, place, document)
    known = sorted({setting for form in forms for setting in form.get("properties", {})})
    perhaps = meant(name, known) or f": there are {', '.join(known)}"
    if place:
        return f"{_section(place)} has no setting {name}{perhaps}"
    if not isinstance(document.get(name), Mapping):
        return f"{name} stands outside of every section: a setting belongs below the name of its section"
    return f"there is no section [{name}]{perhaps}"


def _one_of(choices: Sequence[str], given: str) -> str:
    return meant(given, choices).removeprefix("; ") or f"it is one of {', '.join(choices)}"


def _forms(schema: Mapping[str, Any], place: Sequence[str | int], document: Any) -> list[Mapping[str, Any]]:
    """The tables that the schema allows at a place, given what was written there and above."""
    forms = _expanded(schema, schema, document)
    for part in place:
        document = document[part]
        under = [
            form.get("items") if isinstance(part, int)
            else form.get("properties", {}).get(part) or form.get("additionalProperties")
            for form in forms
        ]  # fmt: skip
        forms = [form for node in under if node for form in _expanded(schema, node, document)]
    return forms


def _expanded(schema: Mapping[str, Any], node: Mapping[str, Any], value: Any) -> list[Mapping[str, Any]]:
    """What a part of the schema may stand for, given what was written there."""
    if "$ref" in node:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    mapping = node.get("discriminator", {}).get("mapping", {})
    if isinstance(value, Mapping) and value.get("kind") in mapping:
        return _expanded(schema, {"$ref": mapping[value["kind"]]}, value)
    parts = [*node.get("anyOf", []), *node.get("oneOf", [])]
    return [form for part in parts for form in _expanded(schema, part, value)] if parts else [node]
