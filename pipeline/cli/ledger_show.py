"""`orgkey ledger show`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from heapq import nlargest

from pipeline.cli.command import Invocation, command, opt
from pipeline.cli.documents.evidence import HostItem, LedgerShowDocument
from pipeline.core.clock import AHEAD
from pipeline.core.errors import Code, LedgerBroken
from pipeline.evidence.ledger.store import LedgerEntry


@command("orgkey ledger show --last 50", (Code.LEDGER_BROKEN,))
def show(
    call: Invocation, last: int = opt("--last", "How many.", "N", min=1, max=100_000, default=20)
) -> Code:
    """Show the last entries of all hosts, oldest first. Each host's chain is checked on the way.

    Every run copies the chains of other hosts from the mirrors, and so does `orgkey ledger sync`.
    """
    context = call.context()
    broken: list[LedgerBroken] = []
    hosts: dict[str, int] = {}

    def entries() -> Iterator[tuple[datetime, LedgerEntry]]:
        moments: dict[str, datetime] = {}
        ahead = context.clock.now() + AHEAD
        try:
            for entry in context.ledger.each():
                hosts[entry.host] = entry.number
                if entry.at <= ahead:  # else a wrong clock dated it: it came after the one before it
                    moments[entry.host] = entry.at
                yield moments.get(entry.host, entry.at), entry
        except LedgerBroken as error:
            broken.append(error)

    newest = nlargest(last, entries(), key=lambda item: (item[0], item[1].own, item[1].number))
    kept = [entry for _, entry in reversed(newest)]
    for error in broken:
        call.out.warn(f"{error.message}; {error.hint}")
    this = context.ledger.host
    document = LedgerShowDocument(
        hosts=tuple(HostItem(host=host, entries=count, this=host == this) for host, count in hosts.items()),
        entries=tuple({**item.document, "host": item.host, "sha256": item.digest} for item in kept),
        problem=broken[0].message if broken else None,
        exit_code=Code.LEDGER_BROKEN if broken else Code.OK,
    )
    return call.answer(document, document.lines(kept))
