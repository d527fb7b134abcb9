"""`orgkey retain`."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli import jobs, options
from pipeline.cli.options import Common
from pipeline.cli.output import Output, table
from pipeline.core.errors import Code, OrgkeyError, UsageProblem

if TYPE_CHECKING:
    from pipeline.workflows.retention.ledger import Mirrored
    from pipeline.workflows.retention.records import Plan, Version


class Mode(StrEnum):
    """How firm a retention is."""

    GOVERNANCE = "GOVERNANCE"
    COMPLIANCE = "COMPLIANCE"


@jobs.job("retain")
def retain(
    until: Annotated[
        str,
        typer.Option("--until", metavar="DATE", help="The new end: a date (UTC), or a time with its zone."),
    ],
    epoch: options.EpochChoice = "all",
    target: Annotated[
        list[str] | None,
        typer.Option("--target", metavar="NAME", help="Only this target; may be given again."),
    ] = None,
    mode: Annotated[
        Mode | None,
        typer.Option("--mode", case_sensitive=False, help="Left out, each version keeps the mode it has."),
    ] = None,
    dry_run: options.DryRun = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask before a lock that nobody can lift.")
    ] = False,
    config: options.ConfigFile = None,
    state_dir: options.StateDir = None,
    fingerprint: options.Fingerprint = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> Code:
    """Extend the retention of stored records (S3 with Object Lock).

    The driller's login reads which versions are authentic; that of `[identity.retention]` extends them.
    Nothing is shortened. The ledger's entries at its mirrors go along, unless single epochs are chosen.
    """
    common = Common(config, state_dir, fingerprint, json, quiet, verbose)
    out = common.output()
    from pipeline.workflows import publish as store
    from pipeline.workflows.retention import records as story
    from pipeline.workflows.retention import rules as retention

    request = retention.Request(
        retention.moment(until), options.epochs(epoch), tuple(target or ()), mode.value if mode else None
    )
    loaded = common.load(out)
    context = common.context(out, loaded)
    try:
        result = story.plan(context, request, sync=not dry_run)
        if not dry_run:
            if result.irrevocable and _confirm(out, result, yes=yes):
                context = common.context(out, loaded)  # the time that a person took is not the run's
            result = story.retain(context, result)
    except OrgkeyError as error:
        if not dry_run:
            store.remember_failure(context, "retain-failed", error)
        raise
    for name, kind in result.without.items():
        out.progress(f"{name}: has no retention ({kind})")
    for failure in result.failures.values():
        out.warn(failure.message)
    out.emit(_document(result, dry_run=dry_run), _lines(result, dry_run=dry_run))
    return result.code


def _confirm(out: Output, planned: Plan, *, yes: bool) -> bool:
    """Say what cannot be undone, and have it confirmed.

    Returns:
        Whether a person was asked.

    Raises:
        UsageProblem: There is nobody to ask, or the answer is no.
    """
    from pipeline.core import passphrases as inputs
    from pipeline.core.clock import stamp

    out.warn(
        f"{planned.irrevocable} versions would be under COMPLIANCE until {stamp(planned.request.until)}: "
        "nobody can shorten that or delete them before, not even the account's root"
    )
    if yes:
        return False
    if not inputs.interactive():
        raise UsageProblem(
            "nobody is here to confirm a lock under COMPLIANCE, which cannot be undone by anyone",
            hint="give --yes; `--dry-run` shows what would be done",
        )
    if not typer.confirm("Lock them?", err=True):
        raise UsageProblem(
            "nothing was extended",
            hint="a lock of --mode GOVERNANCE can be removed by those who have the right to",
        )
    return True


def _document(result: Plan, *, dry_run: bool) -> dict[str, Any]:
    from pipeline.core.clock import stamp

    def one(item: Version) -> dict[str, Any]:
        return {
            "target": item.target,
            "epoch": item.epoch,
            "location": item.stored.location if item.stored else None,
            "version": item.stored.version if item.stored else None,
            "action": item.fate.action.value,
            "mode": item.fate.wanted.mode if item.fate.wanted else None,
            "retain_until": stamp(item.fate.wanted.until) if item.fate.wanted else None,
            "mode_before": item.fate.before.mode if item.fate.before else None,
            "retain_until_before": stamp(item.fate.before.until) if item.fate.before else None,
            "problem": item.fate.problem,
            "exit_code": int(item.fate.code),
        }

    def at(item: Mirrored) -> dict[str, Any]:
        return {
            "target": item.target,
            "versions": {action.value: number for action, number in item.counts.items()},
            "missing": item.missing,
            "unknown": item.unknown,
            "retain_until": stamp(item.until) if item.until else None,
            "problem": item.problem,
            "exit_code": int(item.code),
        }

    return {
        "schema": "orgkey.retain/1",
        "dry_run": dry_run,
        "until": stamp(result.request.until),
        "mode": result.request.mode,
        "versions": [one(item) for item in result.versions],
        "ledger": [at(item) for item in result.ledger],
        "without_retention": [{"target": name, "kind": kind} for name, kind in result.without.items()],
        "unreadable": [
            {"target": name, "problem": error.message, "exit_code": int(error.code)}
            for name, error in result.failures.items()
        ],
        "exit_code": int(result.code),
    }


def _lines(result: Plan, *, dry_run: bool) -> list[str]:
    lines = table(
        ("epoch", "copy", "version", "action", "until", ""),
        [
            (
                item.epoch,
                item.target,
                (item.stored.version or "") if item.stored else "",
                item.fate.action.value,
                f"{item.fate.wanted.until:%Y-%m-%d} {item.fate.wanted.mode}" if item.fate.wanted else "-",
                item.fate.problem or "",
            )
            for item in result.versions
        ]
        + [
            (
                "ledger",
                item.target,
                "",
                ", ".join(f"{action} {number}" for action, number in item.counts.items()) or "-",
                f"{item.until:%Y-%m-%d}" if item.until else "-",
                item.problem or "",
            )
            for item in result.ledger
        ],
    )
    return [*lines, "nothing was written"] if dry_run else lines
