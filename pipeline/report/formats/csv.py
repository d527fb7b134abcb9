r"""The report as CSV: one file a table, or all claims in one.

RFC 4180: comma, CRLF, a header, UTF-8 without a mark. Spreadsheets take a cell that begins with ``=``, ``+``,
``-``, ``@``, a tab or a carriage return for a formula, and some cut a line at semicolons as well. Names of
backups and the words of servers' errors are foreign, so an apostrophe is put before such a character at the
beginning of a cell and behind a separator inside it. Who reads the files by program takes it away again with
``re.sub(r"(^|[;,\t\r\n] *)'(?=[=+@\t\r-])", r"\1", cell)``, or reads the report as JSON, which has no
such marks. Characters that do not print are escaped, as wherever foreign text is shown.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, get_args, get_origin, get_type_hints

from pipeline.core.clock import stamp
from pipeline.core.templates import expression, table, template
from pipeline.core.text import printable
from pipeline.report.model import Report

_FORMULA: Final = re.compile(r"(^|[;,\t\r\n] *)(?=[=+@\t\r-])")
CLAIMS: Final = ("section", "subject", "what", "value", "state", "at", "evidence", "sha256")


def tables(report: Report) -> dict[str, bytes]:
    """Every table of the report as a file of its own.

    Args:
        report: The report.

    Returns:
        Bytes by file name; columns are called as the attributes of the model are.
    """
    found = {
        f"{name}.csv": _table(get_args(kind)[0], getattr(report, name))
        for name, kind in sorted(get_type_hints(Report).items())
        if get_origin(kind) is tuple and dataclasses.is_dataclass(get_args(kind)[0])
    }
    return {"claims.csv": claims(report)} | found


def claims(report: Report) -> bytes:
    """Every claim of the report in one table, with the evidence that it rests on and the digests of that.

    Args:
        report: The report.
    """
    digests = {item.id: item.sha256 for item in report.evidence}
    facts = {name: getattr(report, name) for name in ("verdict", "key", "ledger", "epoch", "custody")}
    facts["report"] = report
    words = table(__package__, "claims.toml")
    found = []
    for row in (words["default"] | row for row in words["claims"]):
        columns = [(template if name == "what" else expression)(row[name]) for name in CLAIMS[1:-1]]
        items = expression(row["each"])(facts) or ()
        found += [(row["section"], *(column(facts, it=it) for column in columns)) for it in items]
    rows = ((*claim, [digests[one] for one in claim[-1] if one in digests]) for claim in found)
    return _write(CLAIMS, rows)


def _table(kind: type, items: Iterable[Any]) -> bytes:
    names = [field.name for field in dataclasses.fields(kind)]
    return _write(names, ([getattr(item, name) for name in names] for item in items))


def _write(header: Sequence[str], rows: Iterable[Iterable[object]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows([harmless(printable(_text(value))) for value in row] for row in rows)
    return text.getvalue().encode("utf-8", "replace")


def harmless(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula; see the module."""
    return _FORMULA.sub(r"\1'", cell)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return stamp(value)
    if isinstance(value, StrEnum):
        return str(value)
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {_text(item)}" for name, item in value.items())
    if isinstance(value, tuple | list):
        inner = (": ".join(map(_text, item)) if isinstance(item, tuple) else _text(item) for item in value)
        return "; ".join(inner)
    return str(value)
