"""`orgkey custody rotate`."""

from __future__ import annotations

import typer

from pipeline.cli import completion, escrow_command
from pipeline.cli.command import COPY_CODES, CUSTODY_CHANGE, DRY_RUN, Invocation, command, opt
from pipeline.cli.documents.escrow import RotateDocument, RotatePlanDocument
from pipeline.cli.output import report_error
from pipeline.core import passphrases
from pipeline.core.errors import Code, UsageProblem
from pipeline.core.typed_text import fingerprint
from pipeline.workflows import rotate as story
from pipeline.workflows.rotate import Rotation


@command(
    "orgkey custody rotate --remove FPR --reason 'has left'",
    (*COPY_CODES, Code.PROOF_FAILED),
    takes=["unseal"],
    job="rotate",
)
def rotate(
    call: Invocation,
    remove: list[str] | None = opt("--remove", "A custodian who leaves, as the configuration has it.", "FPR"),
    add: list[str] | None = opt("--add", "A custodian who joins, as the configuration has it.", "FPR"),
    reason: str | None = opt("--reason", "Why, for the ledger.", "TEXT"),
    accept_custody_change: bool = CUSTODY_CHANGE,
    epoch: str = opt(
        "--epoch",
        "The epoch to start from.",
        "latest|ID",
        default="latest",
        autocompletion=completion.ONE_EPOCH,
    ),
    dry_run: bool = DRY_RUN,
) -> Code:
    """Give the same key a new escrow passphrase, new shares and a new record.

    Applies the configured custody plan. Who leaves and who joins is named here, too: the configuration
    alone does not change the custodians. The old epoch stays where it is, and stays open to its holders.
    """
    for line in story.LIMITS:
        call.out.warn(line)
    context = call.context()
    with context.deadline.paused():
        why = _reason(reason, needed=not dry_run)
    request = story.RotationRequest(
        reason=why,
        epoch=None if epoch == "latest" else epoch,
        unseal=call.unseal_request(context.deadline),
        remove=frozenset(map(_person, remove or ())),
        add=frozenset(map(_person, add or ())),
        accept_custody_change=accept_custody_change,
    )
    if dry_run:
        plan = story.rehearse(context, request)
        document = RotatePlanDocument.of(plan)
        call.answer(document)
        if plan.refusal:
            report_error(plan.refusal, as_json=False)
            return plan.refusal.code
        return Code.OK
    result = story.rotate(context, request)
    return call.answer(
        RotateDocument.about(
            result.stored,
            supersedes=result.old.epoch,
            reason=result.reason,
            custodians_before=tuple(result.change.before),
            custodians_after=tuple(result.change.after),
            changes=tuple(result.change.lines),
            limits=tuple(story.LIMITS),
        ),
        _lines(result),
    )


def _reason(given: str | None, *, needed: bool) -> str:
    if given is None and needed and passphrases.answerable():
        given = str(typer.prompt("Why is custody rotated (for the ledger)", err=True))
    text = (given or "").strip()
    if needed and not (text and len(text) <= 500 and text.isprintable()):
        raise UsageProblem(
            "a rotation needs a reason", hint='give --reason, for example --reason "Bob has left the company"'
        )
    return text


def _person(text: str) -> str:
    """A fingerprint as the plan has it; a keeper of paper by name."""
    return fingerprint(text) or text.strip()


def _lines(result: Rotation) -> list[str]:
    stored = result.stored
    lines = [
        *escrow_command.lines(stored),
        "",
        f"replaces epoch {result.old.epoch}" + ("" if stored.proven else " once it is proven"),
        *(f"  {line}" for line in result.change.lines or ("same holders and custodians, new shares",)),
    ]
    if result.change.after:
        which = "" if stored.proven else f" --epoch {stored.record.epoch}"
        lines.append(
            f"next: `orgkey custody kit{which}` for the custodians; their old shares are of the old epoch"
        )
    return lines
