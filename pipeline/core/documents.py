"""What JSON documents are made of: a frozen class each, which the reference and the schemas are made from.

A frozen dataclass of a room that has just the fields of a part is that part itself.
A document is not validated when it is printed: its types are checked by mypy and its shape by tests. What a
run has done is never hidden behind a mistake in its answer. See ADR 32.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, ClassVar, Self, dataclass_transform, get_args, get_origin, get_type_hints

from pipeline.core.clock import stamp

Seconds = Annotated[float, "rounded"]
"""A time that was measured; :meth:`Part.of` takes it to the millisecond."""


def at(path: str, **more: Any) -> Any:
    """A field that :meth:`Part.of` takes from another place than the attribute of its name.

    Args:
        path: Names of attributes, or of methods without arguments, with dots between; of a list, that of
            each item.
        more: With ``default``: the field where something on the way is ``None``, or the text there is empty.
    """
    return dataclasses.field(metadata={"at": path} | more)


def only_where_known() -> Any:
    """A field that the document does not have where it is ``None`` or an empty text."""
    return dataclasses.field(default=None, metadata={"optional": True})


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(dataclasses.field,))
class Part:
    """A part of a document: every subclass is a frozen dataclass; a trailing ``_`` is not part of a name."""

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        dataclasses.dataclass(frozen=True, kw_only=True)(cls)

    @classmethod
    def of(cls, source: object = None, **given: Any) -> Self:
        """Take from an object what is not given; a part of the document is made of what stands in its place.

        Args:
            source: Has an attribute for each field that is not given.
            given: Values of fields.
        """
        hints = get_type_hints(cls, include_extras=True)
        for field in dataclasses.fields(cls):  # type: ignore[arg-type]  # every subclass is a dataclass
            if field.name not in given:
                required = field.default is dataclasses.MISSING
                value = _taken(source, field) if required else getattr(source, field.name, field.default)
                given[field.name] = value
            given[field.name] = _as(hints[field.name], given[field.name])
        return cls(**given)

    def to_json(self) -> dict[str, Any]:
        """What is printed."""
        return _fields(self, words=False)


class Document(Part):
    """A whole document.

    Attributes:
        schema: Its name and number: the command's words, with ``plan`` for a dry run, unless it says another.
        printed_by: The command that prints it.
    """

    schema: ClassVar[str]
    printed_by: ClassVar[str]

    def __init_subclass__(cls, printed_by: str, schema: str = "", **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        name = printed_by.replace(" --dry-run", " plan").removeprefix("orgkey ").replace(" ", "-")
        cls.schema, cls.printed_by = schema or f"orgkey.{name}/1", printed_by

    def to_json(self) -> dict[str, Any]:
        """What is printed."""
        return {"schema": self.schema} | super().to_json()

    def lines(self) -> list[str]:
        """What a person reads; of some documents the command knows it better."""
        raise NotImplementedError


def _taken(source: Any, field: dataclasses.Field[Any]) -> Any:
    value = source
    for name in field.metadata.get("at", field.name).split("."):
        if isinstance(value, list | tuple):
            value = tuple(getattr(item, name) for item in value)
        elif value is not None:
            value = getattr(value, name)
            value = value() if callable(value) else value
    return value if value not in (None, "") else field.metadata.get("default", value)


def _as(hint: Any, value: Any) -> Any:
    """A value as a field of this type has it."""
    if value is None or isinstance(value, Part):
        return value
    kind, inner = get_origin(hint), get_args(hint)
    if NoneType in inner:
        return _as(inner[0], value)
    if kind is Annotated:
        return round(value, 3)
    if kind is tuple:
        return tuple(_as(inner[0], item) for item in value)
    if kind is Mapping:
        return {name: _as(inner[1], item) for name, item in value.items()}
    return hint.of(value) if isinstance(hint, type) and issubclass(hint, Part) else value


def plain(value: object, *, words: bool = False) -> Any:
    """A value as JSON has it; of a dataclass its fields.

    Args:
        value: The value.
        words: Whether properties, which say it in words, are wanted beside the fields of dataclasses.
    """
    if isinstance(value, Part):
        return value.to_json()
    if dataclasses.is_dataclass(value):
        return _fields(value, words=words)
    if isinstance(value, datetime):
        return stamp(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(name): plain(item, words=words) for name, item in value.items()}
    if isinstance(value, list | tuple | frozenset):
        return [plain(item, words=words) for item in value]
    return value


def _fields(value: Any, *, words: bool) -> dict[str, Any]:
    names = [
        field.name
        for field in dataclasses.fields(value)
        if getattr(value, field.name) or not field.metadata.get("optional")
    ]
    if words:
        names += [name for name, found in vars(type(value)).items() if isinstance(found, property)]
    return {name.rstrip("_"): plain(getattr(value, name), words=words) for name in names}
