"""`orgkey refresh`."""

from __future__ import annotations

from pathlib import Path

from pipeline.archive import live_key
from pipeline.cli import escrow_command
from pipeline.cli.command import COPY_CODES, DRY_RUN, WHERE, Invocation, command, opt
from pipeline.cli.documents.escrow import NothingToRefreshDocument, RefreshDocument, RefreshPlanDocument
from pipeline.core import files
from pipeline.core.errors import Code
from pipeline.workflows import refresh as story


@command(
    "orgkey refresh --public live.asc",
    (*COPY_CODES, Code.PROOF_FAILED),
    takes=["unseal"],
    job="refresh",
)
def refresh(
    call: Invocation,
    public: Path | None = opt(
        "--public", "The server's public key; else what key.live gives.", "FILE", WHERE
    ),
    dry_run: bool = DRY_RUN,
) -> Code:
    """Store a renewed public part with the same secret.

    The latest epoch is stored again, with the newer self-signatures of a key that has renewed itself. The
    secret, its shares and the record id are carried over: custodians' shares, kits and paper stay good.
    Another key is never taken.
    """
    context = call.context()
    request = story.RefreshRequest(
        files.read_named(public, live_key.MAX_BYTES) if public else live_key.fetch(context),
        call.unseal_request(context.deadline),
    )
    if dry_run:
        old, action = story.rehearse(context, request)
        document = RefreshPlanDocument(supersedes=old, action=action)
        return call.answer(document, [f"dry run: epoch {old}: would {action}", "nothing was written"])
    done = story.refresh(context, request)
    old = done.old.epoch
    if done.stored is None:
        nothing = NothingToRefreshDocument(supersedes=old)
        return call.answer(nothing, [f"epoch {old} has this public part, or a newer one, already"])
    replaced = ["", f"replaces epoch {old}; shares, kits and paper stay as they are"]
    lines = [*escrow_command.lines(done.stored), *replaced]
    return call.answer(RefreshDocument.about(done.stored, supersedes=old), lines)
