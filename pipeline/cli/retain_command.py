"""`orgkey retain`."""

from __future__ import annotations

from contextlib import nullcontext
from enum import StrEnum

import typer

from pipeline.cli import completion
from pipeline.cli.command import COPY_CODES, DRY_RUN, WHERE, Invocation, command, epoch_option, epochs, opt
from pipeline.cli.documents.upkeep import RetainDocument
from pipeline.cli.output import Output
from pipeline.core import passphrases
from pipeline.core.clock import stamp
from pipeline.core.errors import Code, UsageProblem
from pipeline.workflows.retention import records, rules


class Mode(StrEnum):
    """How firm a retention is."""

    GOVERNANCE = "GOVERNANCE"
    COMPLIANCE = "COMPLIANCE"


@command("orgkey retain --until 2030-12-31 --dry-run", COPY_CODES, job="retain")
def retain(
    call: Invocation,
    until: str = opt("--until", "The new end: a date (UTC), or a time with its zone.", "DATE"),
    epoch: str = epoch_option("all"),
    target: list[str] | None = opt(
        "--target", "Only this target; may be given again.", "NAME", WHERE, autocompletion=completion.TARGETS
    ),
    mode: Mode | None = opt("--mode", "Left out, each version keeps the mode it has.", case_sensitive=False),
    dry_run: bool = DRY_RUN,
    yes: bool = opt("--yes", "Do not ask before a lock that nobody can lift."),
) -> Code:
    """Extend the retention of stored records (S3 with Object Lock).

    The driller's login reads which versions are authentic; that of `[identity.retention]` extends them.
    Nothing is shortened. The ledger's entries at its mirrors go along, unless single epochs are chosen.
    """
    request = rules.Request(
        rules.moment(until), epochs(epoch), tuple(target or ()), mode.value if mode else None
    )
    context = call.context()
    with nullcontext() if dry_run else context.recorded("retain-failed"):
        result = records.plan(context, request, sync=not dry_run)
        asked = not dry_run and result.irrevocable and _confirm(call.out, result, yes=yes)
    if not dry_run:
        if asked:
            context = call.context()  # the time that a person took is not the run's
        result = records.retain(context, result)
    for name, kind in result.without.items():
        call.out.progress(f"{name}: has no retention ({kind})")
    for failure in result.failures.values():
        call.out.warn(failure.message)
    return call.answer(RetainDocument.about(result, dry_run=dry_run))


def _confirm(out: Output, planned: records.Plan, *, yes: bool) -> bool:
    """Say what cannot be undone, and have it confirmed.

    Returns:
        Whether a person was asked.

    Raises:
        UsageProblem: There is nobody to ask, or the answer is no.
    """
    out.warn(
        f"{planned.irrevocable} versions would be under COMPLIANCE until {stamp(planned.request.until)}: "
        "nobody can shorten that or delete them before, not even the account's root"
    )
    if yes:
        return False
    if not passphrases.answerable():
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
