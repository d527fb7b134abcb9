"""`orgkey repair`."""

from __future__ import annotations

from pipeline.cli import jobs, options
from pipeline.cli.options import Common
from pipeline.cli.output import table
from pipeline.core.errors import Code, OrgkeyError


@jobs.job("repair")
def repair(
    epoch: options.EpochChoice = "all",
    dry_run: options.DryRun = False,
    config: options.ConfigFile = None,
    state_dir: options.StateDir = None,
    fingerprint: options.Fingerprint = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> Code:
    """Copy records to missing, damaged or new targets.

    Needs no passphrase. Nothing is deleted or overwritten: where a place holds something else, the good
    copy goes beside it.
    """
    common = Common(config, state_dir, fingerprint, json, quiet, verbose)
    out = common.output()
    context = common.context(out)
    from pipeline.workflows import publish as store
    from pipeline.workflows import repair as story

    try:
        result = story.repair(context, options.epochs(epoch), dry_run=dry_run)
    except OrgkeyError as error:
        if not dry_run:
            store.remember_failure(context, "repair-failed", error)
        raise
    out.emit(
        {
            "schema": "orgkey.repair/1",
            "dry_run": dry_run,
            "copies": [
                {
                    "epoch": item.epoch,
                    "target": item.target,
                    "action": item.action,
                    "location": item.location,
                    "version": item.version,
                    "problem": item.problem,
                    "exit_code": int(item.code),
                }
                for item in result.copies
            ],
            "exit_code": int(result.code),
        },
        table(
            ("epoch", "copy", "action", "where", "why"),
            [
                (item.epoch, item.target, item.action, item.location, item.problem or "")
                for item in result.copies
            ],
        ),
    )
    return result.code
