"""`orgkey ledger sync`."""

from __future__ import annotations

from pipeline.cli import options
from pipeline.cli.options import Common
from pipeline.cli.output import table
from pipeline.errors import Code, UsageProblem


def sync(
    config: options.ConfigFile = None,
    state_dir: options.StateDir = None,
    fingerprint: options.Fingerprint = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> Code:
    """Fetch the entries that mirrors have and this host lacks, and push those that wait.

    Every run does so on its way and gives up soon; this one takes the time that it needs. Where entries
    still wait afterwards it ends with 24, where a mirror is not believed with 41.
    """
    common = Common(config, state_dir, fingerprint, json, quiet, verbose)
    out = common.output()
    context = common.context(out)
    if not (context.config.ledger.mirrors or context.config.ledger.heads):
        raise UsageProblem(
            "the ledger has no mirrors", hint="name targets in [ledger], see `orgkey config schema`"
        )
    from pipeline import mirrored

    head = context.scribe.sync(now=context.clock.now(), run=context.run)
    places = mirrored.pending(context)
    code = Code.DEGRADED if any(item.waiting for item in places) else Code.OK
    if any(item.problem for item in places):
        code = Code.LEDGER_BROKEN
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
                    "problem": item.problem,
                }
                for item in places
            ],
            "exit_code": int(code),
        },
        table(
            ("mirror", "has", "up to", "waiting", ""),
            [
                (item.name, item.kind, str(item.confirmed), str(item.waiting), item.problem or "")
                for item in places
            ],
        ),
    )
    return code
