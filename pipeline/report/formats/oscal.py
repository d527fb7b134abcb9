"""The report as OSCAL assessment results, in JSON: the tables of ``oscal.toml``, filled in.

Observations by default. A finding's ``satisfied`` is an assessor's word, so findings are written on request
only, for the few objectives that the evidence speaks to directly, and say so. Identifiers are derived from
the key and the run: the same report gives the same bytes. What 1.1.2 does not know is not written in 1.2.1.
"""

from __future__ import annotations

import json
import re
import uuid
from datetime import datetime, timedelta
from pathlib import PurePath
from typing import Any, Final, Literal
from urllib.parse import quote

from pipeline.core.clock import stamp
from pipeline.core.templates import environment, expression, table, template
from pipeline.core.text import printable
from pipeline.report.controls.assess import NIST, assess, catalogue
from pipeline.report.model import Report
from pipeline.report.summary import Summary

Version = Literal["1.2.1", "1.1.2"]
VERSIONS: Final[tuple[Version, ...]] = ("1.2.1", "1.1.2")
NAMESPACE: Final = uuid.UUID("6a3f2c58-1f0e-4c55-9d0b-7f3e52c4a9d1")
"""Of this program's identifiers, and the name of its properties."""
_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]<>^~|])")
_MARKUP: Final = frozenset({"title", "description", "remarks"})
_MEDIA: Final = {
    ".json": "application/json",
    ".asc": "application/pgp-keys",
    ".pem": "application/x-pem-file",
}


def render(report: Report, *, version: Version = "1.2.1", findings: bool = False) -> bytes:
    """Write the document.

    Args:
        report: The report; its controls are computed where it carries none.
        version: OSCAL's version.
        findings: Whether findings are wanted beside observations.

    Returns:
        JSON, in UTF-8.
    """
    if version not in VERSIONS:
        raise ValueError(f"OSCAL {version} is not written here")
    tables = table(__package__, "oscal.toml")
    defaults = tables.pop("defaults")["observations"]
    (result,) = tables["results"]
    result["observations"] = [defaults | row for row in result["observations"]]
    words = _words(report) | {"version": version, "findings": findings}
    document = {"assessment-results": _Filler(words).fill(tables)}
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def _words(report: Report) -> dict[str, Any]:
    """What the templates may speak of."""
    controls = [one for one in report.controls or assess(report) if one.catalogue == NIST]
    evidence = {item.id: item for item in report.evidence}
    now, days = stamp(report.generated), report.drill_interval_days

    def always(*parts: str) -> str:
        """An identifier of version 5 (RFC 9562) that is the same in every report of this key."""
        return str(uuid.uuid5(NAMESPACE, "\0".join((report.key.fingerprint, *parts))))

    def due(at: datetime | None) -> datetime | None:
        return at + timedelta(days=days) if at and days is not None else None

    return {
        "report": report,
        "summary": Summary(report),
        "controls": controls,
        "control": {one.id: one for one in controls}.__getitem__,
        "objectives": catalogue()["objectives"],
        "now": now,
        "always": always,
        "once": lambda *parts: always(report.run, now, *parts),
        "key": always("key"),
        "tool": always("tool", report.program),
        "due": due,
        "cited": lambda item: [evidence[it] for it in getattr(item, "evidence", ()) if it in evidence],
    }


class _Filler:
    """Fills in tables: their texts are templates, and a table with ``each`` is written for every item.

    Args:
        words: What the templates may speak of.
    """

    def __init__(self, words: dict[str, Any]) -> None:
        self._words = words
        environment().filters |= {
            "control_id": control_id,
            "quote": quote,
            "media_type": lambda file: _MEDIA.get(PurePath(file).suffix, "application/octet-stream"),
        }

    def fill(self, value: Any, **item: Any) -> Any:
        """The value with its templates filled in, without what is empty.

        Args:
            value: A text, a table, or a list of them.
            item: What it is written for.
        """
        if isinstance(value, str):
            return template(value)(self._words, **item) if "{" in value else value
        if isinstance(value, list):
            return [found for part in value for found in self._items(part, item) if found]
        found = {name: self.fill(part, **item) for name, part in value.items() if name != "each"}
        for name in _MARKUP & found.keys():
            found[name] = markup(found[name]) if found[name] else ""
        if "props" in found:
            found["props"] = [prop(name, text) for name, text in found["props"].items()]
        return {name: part for name, part in found.items() if part}

    def _items(self, value: Any, item: dict[str, Any]) -> list[Any]:
        if not (isinstance(value, dict) and "each" in value):
            return [self.fill(value, **item)]
        each = expression(value["each"])(self._words, **item)
        return [self.fill(value, item=one, number=number) for number, one in enumerate(each)]


def prop(name: str, value: object) -> dict[str, str]:
    """A property of this program's own; its value is one line that is not empty."""
    return {"name": name, "ns": f"urn:uuid:{NAMESPACE}", "value": line(str(value))}


def line(text: str) -> str:
    """Foreign text as one line that is not empty."""
    return printable(" ".join(text.split())) or "-"


def markup(text: str) -> str:
    """Foreign text as one line of OSCAL's markup, in which nothing of it is markup."""
    return _SPECIAL.sub(r"\\\1", line(text))


def control_id(name: str) -> str:
    """A control's id in OSCAL's catalogues, for example ``cp-9.1`` for ``CP-9(1)``."""
    return re.sub(r"\((\d+)\)", r".\1", name).lower()
