"""`orgkey ledger show`."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pipeline.cli.command import Invocation, command
from pipeline.cli.options import opt
from pipeline.cli.output import table
from pipeline.core.errors import Code, LedgerBroken

if TYPE_CHECKING:
    from pipeline.evidence.ledger.store import Head


@command("orgkey ledger show --last 50", (Code.LEDGER_BROKEN,))
def show(
    call: Invocation,
    last: Annotated[int, opt("--last", "How many.", "N", min=1, max=100_000)] = 20,
) -> Code:
    """Show the last entries of this host's ledger, oldest first. The chain is checked on the way."""
    out = call.out
    context = call.context()
    kept: deque[tuple[dict[str, Any], Head]] = deque(maxlen=last)
    problem = None
    try:
        kept.extend(context.ledger.each())
    except LedgerBroken as error:
        problem = error
        out.warn(f"{error.message}; {error.hint}")
    code = Code.OK if problem is None else Code.LEDGER_BROKEN
    rows = [
        (str(entry["sequence"]), entry["at"], entry["event"], summary(entry["details"])) for entry, _ in kept
    ]
    out.emit(
        {
            "schema": "orgkey.ledger-show/1",
            "entries": [entry | {"sha256": head.digest.hex} for entry, head in kept],
            "problem": problem.message if problem else None,
            "exit_code": int(code),
        },
        table(("entry", "at", "event", "what"), rows) if rows else ["the ledger is empty"],
    )
    return code


def summary(details: Mapping[str, Any]) -> str:
    """One line of an entry's details: what is short enough to be read."""
    parts = []
    for name, value in details.items():
        if value in (None, "", [], {}, False):
            continue
        text = ", ".join(map(str, value)) if isinstance(value, list | dict) else str(value)
        if isinstance(value, list) and any(isinstance(item, dict) for item in value):
            text = str(len(value))
        parts.append(f"{name}: {text if len(text) <= 60 else text[:59] + '…'}")
    return "; ".join(parts)
