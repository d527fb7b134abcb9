"""All texts of a report, changed at once: what steers what shows it, and logins that a server repeated."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from pipeline.core import log
from pipeline.core.text import printable
from pipeline.report.model import Report


def harmless(report: Report) -> Report:
    """The same report without control characters in any text: foreign text must not steer what shows it."""
    # A picture is an image of its own, with lines.
    return _whole(_changed(report, printable, "picture"))


def without_logins(report: Report) -> Report:
    """The same report without this run's logins: a server may repeat in its answer what it was sent."""
    return _whole(_changed(report, log.without_logins))


def _whole(report: object) -> Report:
    assert isinstance(report, Report)
    return report


def _changed(value: Any, change: Callable[[str], str], *left: str) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if field.name not in left]
        more = {name: _changed(getattr(value, name), change, *left) for name in names}
        return dataclasses.replace(value, **more)
    if isinstance(value, str) and not isinstance(value, StrEnum):
        return change(value)
    return tuple(_changed(item, change, *left) for item in value) if isinstance(value, tuple) else value
