"""`orgkey ledger sync`."""

from __future__ import annotations

from pipeline.cli.command import SERVER_CODES, Invocation, command
from pipeline.cli.documents.evidence import LedgerSyncDocument, MirrorItem
from pipeline.core.errors import Code, UsageProblem, first_of
from pipeline.monitoring import ledger_lag


@command("orgkey ledger sync", (*SERVER_CODES, Code.DEGRADED, Code.LEDGER_BROKEN))
def sync(call: Invocation) -> Code:
    """Push this host's entries to the mirrors, and copy the chains that other hosts have there.

    Every run does so on its way and gives up soon; this one takes the time that it needs. Where entries
    are not mirrored afterwards it ends with 24, where a mirror is not believed with 41. Where no mirror could
    be asked, or one will not answer without a change, it ends with that failure's code.
    """
    context = call.context()
    if not (context.config.ledger.mirrors or context.config.ledger.heads):
        raise UsageProblem(
            "the ledger has no mirrors", hint="name targets in [ledger], see `orgkey config schema`"
        )
    head = context.replicator.sync(now=context.clock.now(), run=context.run_id)
    places, failed = ledger_lag.pending(context), context.replicator.failed
    some = any(item.name not in failed for item in places)
    codes = [Code.DEGRADED if some and error.code.retry else error.code for error in failed.values()]
    codes += [Code.DEGRADED for item in places if item.waiting]
    codes += [Code.LEDGER_BROKEN for item in places if item.problem]
    problems = {name: f"{error.message}; {error.hint}" for name, error in failed.items()}
    problems |= {item.name: item.problem for item in places if item.problem}
    document = LedgerSyncDocument.of(
        host=context.ledger.host or None,
        head=head,
        mirrors=[MirrorItem.of(item, problem=problems.get(item.name)) for item in places],
        hosts=context.ledger.chains(),
        exit_code=first_of(codes),
    )
    return call.answer(document)
