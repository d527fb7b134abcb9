"""`orgkey custody rotate`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli import ceremony_prompt, escrow_command, jobs, options, shares
from pipeline.cli.options import Common
from pipeline.cli.output import report_error
from pipeline.core.errors import Code, UsageProblem

if TYPE_CHECKING:
    from pipeline.workflows.rotate import Rehearsal, Rotation


@jobs.job("rotate", "custody rotate")
def rotate(
    remove: Annotated[
        list[str] | None,
        typer.Option("--remove", metavar="FPR", help="A custodian who leaves, as the configuration has it."),
    ] = None,
    add: Annotated[
        list[str] | None,
        typer.Option("--add", metavar="FPR", help="A custodian who joins, as the configuration has it."),
    ] = None,
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="TEXT", help="Why, for the ledger.")
    ] = None,
    accept_custody_change: options.AcceptCustodyChange = False,
    epoch: Annotated[
        str, typer.Option("--epoch", metavar="latest|ID", help="The epoch to start from.")
    ] = "latest",
    via: Annotated[
        str | None, typer.Option("--via", metavar="PATH", help="Open the old epoch by this custody path.")
    ] = None,
    share: shares.ShareFiles = None,
    share_fd: shares.ShareFds = None,
    dry_run: options.DryRun = False,
    config: options.ConfigFile = None,
    state_dir: options.StateDir = None,
    fingerprint: options.Fingerprint = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> Code:
    """Give the same key a new escrow passphrase, new shares and a new record.

    Applies the configured custody plan. Who leaves and who joins is named here, too: the configuration
    alone does not change the custodians. The old epoch stays where it is, and stays open to its holders.
    """
    common = Common(config, state_dir, fingerprint, json, quiet, verbose)
    out = common.output()
    from pipeline.workflows import rotate as story

    for line in story.LIMITS:
        out.warn(line)
    context = common.context(out)
    request = story.Request(
        reason=_reason(reason, needed=not dry_run),
        epoch=None if epoch == "latest" else epoch,
        path=via,
        shares=shares.read(share, context.deadline, share_fd),
        ask=ceremony_prompt.at_terminal(out, context.deadline),
        remove=frozenset(_person(item) for item in remove or ()),
        add=frozenset(_person(item) for item in add or ()),
        accept_custody_change=accept_custody_change,
    )
    if dry_run:
        plan = story.rehearse(context, request)
        out.emit(*_plan(plan))
        if plan.refusal:
            report_error(plan.refusal, as_json=False)
            return plan.refusal.code
        return Code.OK
    result = story.rotate(context, request)
    out.emit(_document(result), _lines(result))
    return result.stored.code


def _reason(given: str | None, *, needed: bool) -> str:
    from pipeline.core import passphrases as inputs

    if given is None and needed and inputs.interactive():
        given = str(typer.prompt("Why is custody rotated (for the ledger)", err=True))
    text = (given or "").strip()
    if needed and not (text and len(text) <= 500 and text.isprintable()):
        raise UsageProblem(
            "a rotation needs a reason", hint='give --reason, for example --reason "Bob has left the company"'
        )
    return text


def _person(text: str) -> str:
    """A fingerprint as the plan has it; a keeper of paper by name."""
    digits = re.sub(r"[\s:]", "", text).upper().removeprefix("0X")
    return digits if re.fullmatch(r"[0-9A-F]{40}", digits) else text.strip()


def _document(result: Rotation) -> dict[str, Any]:
    from pipeline.workflows.rotate import LIMITS

    return escrow_command.document(result.stored) | {
        "schema": "orgkey.custody-rotate/1",
        "supersedes": result.old.epoch,
        "reason": result.reason,
        "custodians_before": list(result.change.before),
        "custodians_after": list(result.change.after),
        "changes": list(result.change.lines),
        "limits": list(LIMITS),
    }


def _lines(result: Rotation) -> list[str]:
    stored = result.stored
    lines = [
        *escrow_command.lines(stored),
        "",
        f"replaces epoch {result.old.epoch}" + ("" if stored.proven else " once it is proven"),
        *(f"  {line}" for line in result.change.lines or ("same holders and custodians, new shares",)),
    ]
    if result.change.after:
        lines.append("next: `orgkey custody kit` for the custodians; their old shares are of the old epoch")
    return lines


def _plan(plan: Rehearsal) -> tuple[dict[str, Any], list[str]]:
    """What a dry run prints."""
    body = {
        "schema": "orgkey.custody-rotate-plan/1",
        "supersedes": plan.old,
        "action": plan.action,
        "custodians_before": list(plan.change.before),
        "custodians_after": list(plan.change.after),
        "changes": list(plan.change.lines),
        "targets": list(plan.targets),
        "refused": plan.refusal.message if plan.refusal else None,
    }
    lines = [f"dry run: would {plan.action}"]
    lines += [f"  {line}" for line in plan.change.lines]
    lines += [f"  to {name}" for name in plan.targets]
    return body, [*lines, "nothing was written"]
