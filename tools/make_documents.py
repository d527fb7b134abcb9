"""The reference of JSON documents, and a JSON schema of each, from the classes in `pipeline.cli`."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import pkgutil
import re
import types
from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pipeline.cli import documents
from pipeline.config.schema import schema
from pipeline.core.documents import Document
from pipeline.core.errors import Code

PAGE = Path(__file__).with_name("json_page.md")
_SIMPLE = {str: ("text", "string"), int: ("number", "integer"), float: ("number", "number")}
_SIMPLE |= {bool: ("true or false", "boolean"), Path: ("text", "string"), type(None): ("null", "null")}


def all_documents() -> list[type[Document]]:
    """Every document, in the order of its schema's name."""
    for module in pkgutil.iter_modules(documents.__path__):
        importlib.import_module(f"{documents.__name__}.{module.name}")
    importlib.import_module("pipeline.posture.document")  # it is a file of a report's bundle, too
    ours = (cls for cls in _below(Document) if cls.__module__.startswith("pipeline."))
    return sorted(ours, key=lambda cls: cls.schema)


def _below(cls: type[Any]) -> Iterator[type[Any]]:
    for inner in cls.__subclasses__():
        yield inner
        yield from _below(inner)


def _fields(cls: type[Any]) -> Iterator[tuple[str, Any, bool, str]]:
    """Name, type, whether it is always there, and what it is, of each field."""
    words: dict[str, str] = {}
    for one in reversed(cls.__mro__):
        _, _, attributes = (inspect.cleandoc(one.__doc__ or "")).partition("Attributes:\n")
        for match in re.finditer(r"^    (\w+): (.*(?:\n     +.*)*)", attributes, re.MULTILINE):
            words[match[1]] = " ".join(match[2].split()).replace("``", "`")
    hints = get_type_hints(cls)
    for field in dataclasses.fields(cls):
        name = field.name.rstrip("_")
        yield name, hints[field.name], not field.metadata.get("optional"), words[name]


def _options(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


# -- the page ------------------------------------------------------------------------------------


def page() -> str:
    """The text of json.md."""
    lines: list[str] = []
    parts: dict[type[Any], None] = {}
    for cls in all_documents():
        heading = cls.printed_by if " has " in cls.printed_by else f"`{cls.printed_by}`"
        if f"## {heading}: `{cls.schema}`" not in lines:
            lines += [f"## {heading}: `{cls.schema}`", ""]
        lines += [*_table(cls, parts), ""]
    lines += ["# Parts of documents", ""]
    shown: set[type[Any]] = set()
    while left := sorted(parts.keys() - shown, key=_called):
        for part in left:
            lines += [f"## {_called(part).capitalize()}", "", *_table(part, parts), ""]
        shown |= set(left)
    return PAGE.read_text(encoding="utf-8").replace("<!-- documents -->\n", "\n".join(lines))


def _table(cls: type[Any], parts: dict[type[Any], None]) -> list[str]:
    summary = inspect.cleandoc(cls.__doc__ or "").partition("\n\n")[0].replace("``", "`")
    rows = [" ".join(summary.split()), "", "| field | type | content |", "|---|---|---|"]
    for name, hint, always, words in _fields(cls):
        said = words if always else f"{words} Left out where there is none."
        rows.append(f"| `{name}` | {_type(hint, parts)} | {said} |")
    return rows


def _called(part: type[Any]) -> str:
    return " ".join(re.findall("[A-Z][a-z]+", part.__name__.removesuffix("Item"))).lower()


def _type(hint: Any, parts: dict[type[Any], None]) -> str:
    kinds = [kind for kind in _options(hint) if kind is not type(None)]
    told = " or ".join(dict.fromkeys(_one_type(kind, parts) for kind in kinds)) or "null"
    return f"{told}, or null" if kinds and len(kinds) < len(_options(hint)) else told


def _one_type(hint: Any, parts: dict[type[Any], None]) -> str:
    if get_origin(hint) is tuple:
        return f"list: {_type(get_args(hint)[0], parts)}"
    if get_origin(hint) in (dict, Mapping):
        return f"by name: {_type(get_args(hint)[1], parts)}"
    if get_origin(hint) is Literal:
        return ", ".join(f"`{json.dumps(value)}`" for value in get_args(hint))
    if hint is Any:
        return "any"
    if hint is datetime:
        return "time"
    if hint is Code:
        return "exit code"
    if issubclass(hint, Enum):
        return ", ".join(f"`{item.value}`" for item in hint)
    if issubclass(hint, Document):
        return f"`{hint.schema}`"
    if hint in _SIMPLE:
        return _SIMPLE[hint][0]
    parts[hint] = None
    return f"[{_called(hint)}](#{_called(hint).replace(' ', '-')})"


# -- the schemas ---------------------------------------------------------------------------------


def schemas() -> dict[str, str]:
    """The text of each schema, the configuration's too, by file name."""
    found: dict[str, list[type[Document]]] = {}
    for cls in all_documents():
        found.setdefault(cls.schema, []).append(cls)
    texts = {f"{name.replace('/', '-')}.json": _schema(name, forms) for name, forms in found.items()}
    return texts | {"orgkey.config-1.json": _text(schema())}


def _schema(name: str, forms: list[type[Document]]) -> str:
    parts: dict[str, Any] = {}
    bodies = [_object(cls, parts) for cls in forms]
    body = bodies[0] if len(bodies) == 1 else {"anyOf": bodies}
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": name} | body
    return _text(whole | ({"$defs": parts} if parts else {}))


def _text(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _object(cls: type[Any], parts: dict[str, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    required = []
    if issubclass(cls, Document):
        properties["schema"] = {"const": cls.schema}
        required.append("schema")
    for name, hint, always, words in _fields(cls):
        properties[name] = _of(hint, parts) | {"description": words}
        required += [name] if always else []
    return {"type": "object", "properties": properties, "required": required}


def _of(hint: Any, parts: dict[str, Any]) -> dict[str, Any]:
    options = _options(hint)
    if len(options) > 1:
        return {"anyOf": [_of(option, parts) for option in options]}
    if get_origin(hint) is tuple:
        return {"type": "array", "items": _of(get_args(hint)[0], parts)}
    if get_origin(hint) in (dict, Mapping):
        return {"type": "object", "additionalProperties": _of(get_args(hint)[1], parts)}
    if get_origin(hint) is Literal:
        return {"enum": list(get_args(hint))}
    if hint is Any:
        return {}
    if hint is datetime:
        return {"type": "string", "format": "date-time"}
    if hint in _SIMPLE:
        return {"type": _SIMPLE[hint][1]}
    if issubclass(hint, Enum):
        return {"enum": [item.value for item in hint]}
    name = hint.__name__
    if name not in parts:
        parts[name] = {}  # it may contain itself
        parts[name] = _object(hint, parts)
    return {"$ref": f"#/$defs/{name}"}
