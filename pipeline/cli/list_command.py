"""`orgkey list`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from pipeline.archive import overview
from pipeline.archive.catalog import Catalog, Copy
from pipeline.archive.run import KeyScope
from pipeline.cli.command import COPY_CODES, Invocation, command
from pipeline.cli.documents.stored import ListDocument
from pipeline.cli.output import Output, hints, spaced, table
from pipeline.core.errors import Code, OrgkeyError
from pipeline.core.isolation import isolated
from pipeline.evidence.ledger import drill_history
from pipeline.evidence.ledger.drill_history import LastKnown


@command("orgkey list --json", COPY_CODES)
def list_(call: Invocation) -> Code:
    """Show epochs, copies, versions and states.

    Of the pinned key and of former Org Keys, which old backups still need.
    """
    context = call.context()
    surveys = context.catalogs()
    warn(call.out, context, surveys)
    known = last_known(context, surveys)
    call.answer(ListDocument.about(surveys, known), lines(context, surveys, known))
    unread = [copy.code for item in surveys for epoch in item.epochs for copy in epoch.copies if copy.unread]
    silent = [error.code for item in surveys for error in item.unreachable.values()]
    more = [Code.DEGRADED for item in surveys for _ in item.left_out]
    here = [error.code for error in _damaged(context, surveys)]
    return overview.judged([*silent, *unread, *more, *here], context.deadline)


def _damaged(context: KeyScope, surveys: Sequence[Catalog]) -> list[OrgkeyError]:
    """What of this host's journals cannot be used: whether those epochs were proven here is not known."""
    journals = (context.of(item.fingerprint).journal for item in surveys)
    return [error for journal in journals for error in journal.damaged().values()]


def warn(out: Output, context: KeyScope, surveys: Sequence[Catalog]) -> None:
    """Say what a reader of the answer has to know."""
    for silence in overview.silences(surveys):
        out.warn(silence.text)
    for line in overview.replication_problems(surveys, context.deadline.time()):
        out.warn(line)
    if problem := context.deadline.dates.problem():
        out.warn(f"{problem.message}; {problem.hint}")
    for damaged in _damaged(context, surveys):
        out.warn(f"what this host knew is left out: {damaged.message}; {damaged.hint}")


def last_known(context: KeyScope, surveys: Sequence[Catalog]) -> dict[str, LastKnown]:
    """What this host's ledger knows of the newest epoch, for each key that could not be looked at whole."""
    found = {}
    for item in surveys:
        if item.unreachable or item.unread():
            entries = context.of(item.fingerprint).ledger.each()
            past = isolated(partial(drill_history.read, entries), "the ledger")
            if isinstance(past, drill_history.History) and past.known:
                found[item.fingerprint] = past.known
    return found


def lines(context: KeyScope, surveys: Sequence[Catalog], known: Mapping[str, LastKnown]) -> list[str]:
    """What a person reads."""
    shown: list[str] = []
    for item in surveys:
        shown.append(f"key {spaced(item.fingerprint)}")
        shown += [f"  {line}" for line in _unknown(tuple(context.config.target), item, known)]
        if not item.epochs and not item.unreachable:
            shown.append("  nothing is stored")
        rows = [
            (
                epoch.name if index == 0 else "",
                str(epoch.state) if index == 0 else "",
                copy.target,
                copy.version or "-",
                copy.sha256.hex[:16] if copy.sha256 else "-",
                "good" if copy.ok else str(copy.standing).upper(),
                "; ".join(filter(None, (copy.problem, _lock(copy), _replication(copy)))),
            )
            for epoch in item.epochs
            for index, copy in enumerate(epoch.copies)
        ]
        if rows:
            headings = ("epoch", "state", "copy", "version", "sha256", "", "")
            shown += ["  " + line for line in table(headings, rows)]
        told = (copy.hint for epoch in item.epochs for copy in epoch.copies if epoch.record)
        shown += [f"  {line}" for line in hints(told)]
        shown.append("")
    return shown


def _unknown(targets: Sequence[str], survey: Catalog, known: Mapping[str, LastKnown]) -> list[str]:
    """What could not be looked at, and what this host last knew; no answer is never "nothing is stored"."""
    lines = []
    silent = [name for name in targets if name in survey.unreachable]
    if silent and len(silent) == len(targets):
        lines.append("UNKNOWN: no target could be asked")
    elif silent and not survey.epochs:
        rest = [name for name in targets if name not in silent]
        lines.append(
            f"UNKNOWN: {' and '.join(silent)} could not be asked; nothing is stored at {' and '.join(rest)}"
        )
    elif silent:
        lines.append(f"{' and '.join(silent)} could not be asked: there may be more")
    lines += [f"UNKNOWN: epoch {epoch.name} is listed, but could not be read" for epoch in survey.unread()]
    if lines:  # what is left out is not a reason to doubt what was read
        last = known.get(survey.fingerprint)
        lines.append(last.text if last else "this host's ledger does not name an epoch")
    lines += [
        f"{name} lists {count} more epochs than there was time to read: find out who writes there"
        for name, count in survey.left_out.items()
    ]
    return lines


def _lock(copy: Copy) -> str | None:
    return f"NOT LOCKED: {copy.unlocked}" if copy.unlocked else None


def _replication(copy: Copy) -> str | None:
    return f"replication {copy.replication.status.lower()}" if copy.replication else None
