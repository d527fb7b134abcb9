"""Frozen values that take most of their fields from another one."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    D = TypeVar("D", bound=DataclassInstance)


def taken_from(source: object, kind: type[D], /, **given: Any) -> D:
    """A value whose fields are those that another object has, where none is given.

    Args:
        source: Has attributes of the same names.
        kind: What is made: a dataclass.
        given: Values of fields.
    """
    names = (field.name for field in fields(kind) if field.name not in given and hasattr(source, field.name))
    return kind(**{name: getattr(source, name) for name in names}, **given)
