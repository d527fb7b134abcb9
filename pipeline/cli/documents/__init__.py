"""The documents that `--json` prints: a frozen class each, which the reference and the schemas are made of.

A document is not validated when it is printed: its types are checked by mypy and its shape by tests. What a
run has done is never hidden behind a mistake in its answer. See ADR 32.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar, Self, dataclass_transform

from pipeline.core.clock import stamp
from pipeline.core.errors import Code, OrgkeyError


def at(path: str) -> Any:
    """A field that :meth:`Part.of` takes from another place than the attribute of its name.

    Args:
        path: Names of attributes with dots between; where one before the last is ``None``, so is the field.
    """
    return dataclasses.field(metadata={"at": path})


def only_where_known() -> Any:
    """A field that the document does not have where it is ``None``."""
    return dataclasses.field(default=None, metadata={"optional": True})


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(dataclasses.field,))
class Part:
    """A part of a document: every subclass is a frozen dataclass; a trailing ``_`` is not part of a name."""

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        dataclasses.dataclass(frozen=True, kw_only=True)(cls)

    @classmethod
    def of(cls, source: object, **given: Any) -> Self:
        """Take from an object what is not given.

        Args:
            source: Has an attribute for each field that is not given.
            given: Values of fields.
        """
        for field in dataclasses.fields(cls):  # type: ignore[arg-type]  # every subclass is a dataclass
            if field.name not in given and not field.metadata.get("optional"):
                value: Any = source
                for name in field.metadata.get("at", field.name).split("."):
                    value = None if value is None else getattr(value, name)
                given[field.name] = value
        return cls(**given)

    @classmethod
    def each(cls, sources: Iterable[object]) -> tuple[Self, ...]:
        """The same for several objects."""
        return tuple(map(cls.of, sources))

    def to_json(self) -> dict[str, Any]:
        """What is printed."""
        return {
            field.name.rstrip("_"): _plain(getattr(self, field.name))
            for field in dataclasses.fields(self)  # type: ignore[arg-type]  # every subclass is a dataclass
            if not (field.metadata.get("optional") and getattr(self, field.name) is None)
        }


class Document(Part):
    """A whole document.

    Attributes:
        schema: Its name and number.
        printed_by: The command that prints it.
    """

    schema: ClassVar[str]
    printed_by: ClassVar[str]

    def __init_subclass__(cls, schema: str, printed_by: str, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        cls.schema, cls.printed_by = schema, printed_by

    def to_json(self) -> dict[str, Any]:
        """What is printed."""
        return {"schema": self.schema} | super().to_json()


class ProblemItem(Part):
    """What is wrong, and what to do.

    Attributes:
        code: The exit code that it stands for.
        name: The name of that code, for example ``not-pinned``.
        message: What happened.
        hint: What to do.
    """

    code: Code
    name: str = at("code.label")
    message: str
    hint: str


class ErrorDocument(Document, schema="orgkey.error/1", printed_by="any command that has no result"):
    """Why a command has no result.

    Attributes:
        error: What happened, and what to do.
    """

    error: ProblemItem

    @classmethod
    def because(cls, error: OrgkeyError) -> ErrorDocument:
        """The document of an error."""
        return cls(error=ProblemItem.of(error))


def _plain(value: Any) -> Any:
    if isinstance(value, Part):
        return value.to_json()
    if isinstance(value, datetime):
        return stamp(value)
    if isinstance(value, Code):
        return int(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple | frozenset):
        return [_plain(item) for item in value]
    return value
