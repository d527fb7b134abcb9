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
from typing import Any, Final

from pipeline.core.clock import stamp
from pipeline.report.model import (
    BackupFacts,
    Cell,
    Change,
    Control,
    CopyFacts,
    CustodianFacts,
    DrillFacts,
    Evidence,
    Missed,
    PathFacts,
    Report,
    RuleFacts,
)

_FORMULA: Final = re.compile(r"(^|[;,\t\r\n] *)(?=[=+@\t\r-])")
_TABLES: Final[tuple[tuple[str, type], ...]] = (
    ("backups", BackupFacts),
    ("changes", Change),
    ("controls", Control),
    ("copies", CopyFacts),
    ("custodians", CustodianFacts),
    ("drills", DrillFacts),
    ("evidence", Evidence),
    ("matrix", Cell),
    ("missed", Missed),
    ("paths", PathFacts),
    ("rules", RuleFacts),
)
CLAIMS: Final = ("section", "subject", "what", "value", "state", "at", "evidence", "sha256")
Claim = tuple[str, str, str, object, str, datetime | None, Sequence[str]]


def csv_files(report: Report) -> dict[str, bytes]:
    """Every table of the report as a file of its own.

    Args:
        report: The report.

    Returns:
        Bytes by file name; columns are called as the attributes of the model are.
    """
    files = {f"{name}.csv": _table(kind, getattr(report, name)) for name, kind in _TABLES}
    return {"claims.csv": csv_single(report)} | files


def csv_single(report: Report) -> bytes:
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
        yield "gate", rule.name, "rule", rule.text, _holds(rule), report.generated, ()
    for change in report.changes:
        state = f"{'failure' if change.failure else 'done'}{', new' if change.new else ''}"
        yield "changes", change.event, "change", change.text, state, change.at, change.evidence
    for control in report.controls:
        name = f"{control.catalogue} {control.id}"
        yield (
            "controls", name, control.asks, control.says, control.support, report.generated, control.evidence
        )  # fmt: skip
    for text in report.not_covered:
        yield "not covered", "", "limit", text, "", report.generated, ()


def _holds(rule: RuleFacts) -> str:
    return "warned" if rule.warned else "ok" if rule.ok else "broken"


def _summary(report: Report) -> Iterator[Claim]:
    told, key, now = report.verdict, report.key, report.generated
    yield "verdict", key.fingerprint, "restorable today", told.sentence, told.answer, now, told.evidence
    yield "verdict", key.fingerprint, "recovery time in seconds", told.rto_seconds, "", told.proven_at, ()
    yield "verdict", key.fingerprint, "objective in seconds", told.rto_objective, "", None, ()
    for gap in told.gaps:
        yield "verdict", key.fingerprint, "gap", gap, "gap", now, ()
    yield "key", key.fingerprint, "algorithm", key.algorithm, "", key.created, ()
    yield "key", key.fingerprint, "names", key.user_ids, "", key.created, ()
    yield "key", key.fingerprint, "live key", key.live_reason or key.live, key.live, now, ()
    for fingerprint, stored in key.former:
        yield "key", fingerprint, "former key", stored, "", now, ()
    ledger = report.ledger
    said = ledger.problem or f"{ledger.entries} entries"
    yield "ledger", ledger.head, "chain", said, "ok" if ledger.ok else "broken", now, ()
    yield "ledger", ledger.head, "entries vouched for", ledger.anchored_to, ledger.anchor or "", now, ()
    for one in ledger.hosts[1:]:
        vouched = f"{one.anchored_to} vouched for by {one.anchor or 'nothing'}"
        yield "ledger", one.head, f"chain of host {one.host}", f"{one.entries} entries", vouched, now, ()


def _vault(report: Report) -> Iterator[Claim]:
    side = report.vault
    if side is None:
        return
    state = "gives more" if side.wider else "differs" if side.differences else "same"
    said = side.differences or "no differences"
    yield "vault", ", ".join(side.servers), "as it should be", said, state, side.at, side.evidence


def _stored(report: Report) -> Iterator[Claim]:
    now = report.generated
    if report.epoch:
        epoch = report.epoch
        yield "epoch", epoch.name, "record", epoch.record_sha256, epoch.state, epoch.created, ()
        yield "epoch", epoch.name, "protection", epoch.protection, "", epoch.created, ()
    for copy in report.copies:
        said = copy.problem or copy.location
        yield "copies", copy.target, "copy", said, "good" if copy.ok else "not good", now, copy.evidence
    for backup in report.backups:
        state = "covered" if backup.epoch and not backup.problem else "not covered"
        yield "backups", backup.name, "for", backup.problem or backup.epoch, state, now, ()
        yield (
            "backups", backup.name, "read to its end", backup.read_text,
            "failed" if backup.failed_at else "done" if backup.verified_at else "never",
            backup.failed_at or backup.verified_at, backup.evidence,
        )  # fmt: skip


def _drills(report: Report) -> Iterator[Claim]:
    for cell in report.matrix:
        pair = f"{cell.copy} by {cell.path}"
        said = cell.problem or cell.seconds
        yield "matrix", pair, "restored in seconds", said, cell.state, cell.proven_at, cell.evidence
    for drill in report.drills:
        state = "passed" if drill.passed else "failed"
        yield (
            "drills", f"{drill.copy} by {drill.path}", "test restore, seconds",
            drill.seconds if drill.passed else drill.problems, state, drill.at, drill.evidence,
        )  # fmt: skip
    for item in report.missed:
        state = "missed" if item.until else "overdue"
        yield "drills", "", "test restore missed, days", item.days, state, item.due, ()


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
