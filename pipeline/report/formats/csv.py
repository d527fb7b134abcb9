r"""The report as CSV: one file a table, or all claims in one.

RFC 4180: comma, CRLF, a header, UTF-8 without a mark. Spreadsheets take a cell that begins with ``=``, ``+``,
``-``, ``@``, a tab or a carriage return for a formula, and some cut a line at semicolons as well. Names of
backups and the words of servers' errors are foreign, so an apostrophe is put before such a character at the
beginning of a cell and behind a separator inside it. Who reads the files by program takes it away again with
``re.sub(r"(^|[;,\t\r\n] *)'(?=[=+@\t\r-])", r"\1", cell)``, or reads the report as JSON, which has no
such marks.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, get_args, get_origin, get_type_hints

from pipeline.core.clock import stamp
from pipeline.report.model import Report

_FORMULA: Final = re.compile(r"(^|[;,\t\r\n] *)(?=[=+@\t\r-])")
CLAIMS: Final = ("section", "subject", "what", "value", "state", "at", "evidence", "sha256")
Claim = tuple[str, str, str, object, str, datetime | None, Sequence[str]]


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
    rows = (
        (section, subject, what, value, state, at, ids, [digests[one] for one in ids if one in digests])
        for section, subject, what, value, state, at, ids in _claims(report)
    )
    return _write(CLAIMS, rows)


def _table(kind: type, items: Iterable[Any]) -> bytes:
    names = [field.name for field in dataclasses.fields(kind)]
    return _write(names, ([getattr(item, name) for name in names] for item in items))


def _write(header: Sequence[str], rows: Iterable[Iterable[object]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows([harmless(_text(value)) for value in row] for row in rows)
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


# -- claims -----------------------------------------------------------------------------------------


def _claims(report: Report) -> Iterator[Claim]:
    yield from _summary(report)
    yield from _stored(report)
    yield from _drills(report)
    yield from _people(report)
    yield from _vault(report)
    for rule in report.rules:
        yield "gate", rule.name, "rule", rule.text, rule.state, report.generated, ()
    for change in report.changes:
        yield "changes", change.event, "change", change.text, change.state, change.at, change.evidence
    for control in report.controls:
        name = f"{control.catalogue} {control.id}"
        yield (
            "controls", name, control.asks, control.says, control.support, report.generated, control.evidence
        )  # fmt: skip
    for text in report.not_covered:
        yield "not covered", "", "limit", text, "", report.generated, ()


def _summary(report: Report) -> Iterator[Claim]:
    verdict, key, now = report.verdict, report.key, report.generated
    yield (
        "verdict",
        key.fingerprint,
        "restorable today",
        verdict.sentence,
        verdict.answer,
        now,
        verdict.evidence,
    )
    yield (
        "verdict",
        key.fingerprint,
        "recovery time in seconds",
        verdict.rto_seconds,
        "",
        verdict.proven_at,
        (),
    )
    yield "verdict", key.fingerprint, "objective in seconds", verdict.rto_objective, "", None, ()
    for gap in verdict.gaps:
        yield "verdict", key.fingerprint, "gap", gap, "gap", now, ()
    yield "key", key.fingerprint, "algorithm", key.algorithm, "", key.created, ()
    yield "key", key.fingerprint, "names", key.user_ids, "", key.created, ()
    yield "key", key.fingerprint, "live key", key.live_reason or key.live, key.live, now, ()
    for fingerprint, stored in key.former:
        yield "key", fingerprint, "former key", stored, "", now, ()
    ledger = report.ledger
    value = ledger.problem or f"{ledger.entries} entries"
    yield "ledger", ledger.head, "chain", value, ledger.state, now, ()
    yield "ledger", ledger.head, "entries vouched for", ledger.anchored_to, ledger.anchor or "", now, ()
    for one in ledger.hosts[1:]:
        vouched = f"{one.anchored_to} vouched for by {one.anchor or 'nothing'}"
        yield "ledger", one.head, f"chain of host {one.host}", f"{one.entries} entries", vouched, now, ()


def _vault(report: Report) -> Iterator[Claim]:
    side = report.vault
    if side is None:
        return
    value = side.differences or "no differences"
    yield "vault", ", ".join(side.servers), "as it should be", value, side.state, side.at, side.evidence


def _stored(report: Report) -> Iterator[Claim]:
    now = report.generated
    if report.epoch:
        epoch = report.epoch
        yield "epoch", epoch.name, "record", epoch.record_sha256, epoch.state, epoch.created, ()
        yield "epoch", epoch.name, "protection", epoch.protection, "", epoch.created, ()
    for copy in report.copies:
        value = copy.problem or copy.location
        yield "copies", copy.target, "copy", value, copy.state, now, copy.evidence
    for backup in report.backups:
        yield "backups", backup.name, "for", backup.problem or backup.epoch, backup.state, now, ()
        yield (
            "backups", backup.name, "read to its end", backup.read_text,
            backup.read_state, backup.read_at, backup.evidence,
        )  # fmt: skip


def _drills(report: Report) -> Iterator[Claim]:
    for cell in report.matrix:
        pair = f"{cell.copy} by {cell.path}"
        value = cell.problem or cell.seconds
        yield "matrix", pair, "restored in seconds", value, cell.state, cell.proven_at, cell.evidence
    for drill in report.drills:
        yield (
            "drills", f"{drill.copy} by {drill.path}", "test restore, seconds",
            drill.seconds if drill.passed else drill.problems, drill.state, drill.at, drill.evidence,
        )  # fmt: skip
    for item in report.missed:
        yield "drills", "", "test restore missed, days", item.days, item.state, item.due, ()


def _people(report: Report) -> Iterator[Claim]:
    for person in report.custodians:
        subject = f"{person.name} ({person.label}) on {person.path}"
        yield (
            "custodians", subject, "last proven", person.last_check_in or "never", person.state,
            person.last_check_in, person.evidence,
        )  # fmt: skip
    custody = report.custody
    if custody is None:
        return
    for what, lines in (
        ("can get the key", custody.reconstruct),
        ("can get the key alone", (custody.alone_text,)),
        ("fatal loss", custody.fatal),
        ("fatal loss alone", custody.fatal_alone),
        ("lingering", custody.lingering),
        ("fact", custody.facts),
        ("not known", custody.unknown),
    ):
        for line in lines:
            yield "custody", "", what, line, "", report.generated, custody.evidence
