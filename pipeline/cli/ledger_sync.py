"""`orgkey ledger sync`."""

from __future__ import annotations

from pipeline.cli.command import Invocation, command
from pipeline.cli.help import SERVER_CODES
from pipeline.cli.output import table
from pipeline.core.errors import Code, UsageProblem, first_of


@command("orgkey ledger sync", (*SERVER_CODES, Code.DEGRADED, Code.LEDGER_BROKEN))
def sync(
    call: Invocation,
) -> Code:
    """Fetch the entries that mirrors have and this host lacks, and push those that wait.

    Every run does so on its way and gives up soon; this one takes the time that it needs. Where entries
    still wait afterwards it ends with 24, where a mirror is not believed with 41. Where no mirror could be
    asked, or one will not answer without a change, it ends with that failure's code.
    """
    out = call.out
    context = call.context()
    if not (context.config.ledger.mirrors or context.config.ledger.heads):
        raise UsageProblem(
            "the ledger has no mirrors", hint="name targets in [ledger], see `orgkey config schema`"
        )
    from pipeline.monitoring import ledger_lag as mirrored

    head = context.scribe.sync(now=context.clock.now(), run=context.run_id)
    places, failed = mirrored.pending(context), context.scribe.failed
    some = any(item.name not in failed for item in places)
    codes = [Code.DEGRADED if some and error.code.retry else error.code for error in failed.values()]
    codes += [Code.DEGRADED for item in places if item.waiting]
    codes += [Code.LEDGER_BROKEN for item in places if item.problem]
    code = first_of(codes)
    problems = {name: f"{error.message}; {error.hint}" for name, error in failed.items()}
    problems |= {item.name: item.problem for item in places if item.problem}
    out.emit(
        {
            "schema": "orgkey.ledger-sync/1",
            "head": {"sequence": head.sequence, "sha256": head.digest.hex},
            "mirrors": [
                {
                    "name": item.name,
                    "kind": item.kind,
                    "confirmed": item.confirmed,
                    "waiting": item.waiting,
                    "problem": problems.get(item.name),
                }
                for item in places
            ],
            "exit_code": int(code),
        },
        table(
            ("mirror", "has", "up to", "waiting", ""),
            [
                (item.name, item.kind, str(item.confirmed), str(item.waiting), problems.get(item.name, ""))
                for item in places
            ],
        ),
    )
    return code
