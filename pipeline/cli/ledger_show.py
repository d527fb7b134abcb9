"""`orgkey ledger show`."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import nlargest
from typing import TYPE_CHECKING, Annotated

from pipeline.cli.command import Invocation, command
from pipeline.cli.documents.ledger import LedgerShowDocument
from pipeline.cli.options import opt
from pipeline.core.errors import Code, LedgerBroken

if TYPE_CHECKING:
    from pipeline.evidence.ledger.store import LedgerEntry


@command("orgkey ledger show --last 50", (Code.LEDGER_BROKEN,))
def show(
    call: Invocation,
    last: Annotated[int, opt("--last", "How many.", "N", min=1, max=100_000)] = 20,
) -> Code:
    """Show the last entries of all hosts, oldest first. Each host's chain is checked on the way.

    Every run copies the chains of other hosts from the mirrors, and so does `orgkey ledger sync`.
    """
    context = call.context()
    broken: list[LedgerBroken] = []
    hosts: dict[str, int] = {}

    def entries() -> Iterator[LedgerEntry]:
        try:
            for entry in context.ledger.each():
                hosts[entry.host] = entry.number
                yield entry
        except LedgerBroken as error:
            broken.append(error)

    kept = nlargest(last, entries(), key=lambda item: (item.at, item.own, item.number))[::-1]
    for error in broken:
        call.out.warn(f"{error.message}; {error.hint}")
    problem = broken[0].message if broken else None
    document = LedgerShowDocument.about(kept, hosts, context.ledger.host, problem)
    return call.answer(document, document.lines(kept))
