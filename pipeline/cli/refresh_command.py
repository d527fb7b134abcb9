"""`orgkey refresh`."""

from __future__ import annotations

from pathlib import Path

from pipeline.cli import escrow_command, options
from pipeline.cli.command import Invocation, command, read_file
from pipeline.cli.documents.escrow import (
    NothingToRefreshDocument,
    RefreshDocument,
    RefreshPlanDocument,
)
from pipeline.cli.help import COPY_CODES, SHARE_CODES, WHERE
from pipeline.cli.options import UNSEAL, opt
from pipeline.core.errors import Code


@command(
    "orgkey refresh --public live.asc",
    (*COPY_CODES, *SHARE_CODES, Code.PROOF_FAILED),
    takes=UNSEAL,
    job="refresh",
)
def refresh(
    call: Invocation,
    public: Path | None = opt(
        "--public", "The server's public key; else what key.live gives.", "FILE", WHERE
    ),
    dry_run: bool = options.DRY_RUN,
) -> Code:
    """Store a renewed public part with the same secret.

    The latest epoch is stored again, with the newer self-signatures of a key that has renewed itself. The
    secret, its shares and the record id are carried over: custodians' shares, kits and paper stay good.
    Another key is never taken.
    """
    from pipeline.archive import live_key
    from pipeline.workflows import refresh as story

    context = call.context()
    request = story.RefreshRequest(
        read_file(public, live_key.MAX_BYTES) if public else live_key.fetch(context),
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
    lines = [
        *escrow_command.lines(done.stored),
        "",
        f"replaces epoch {old}; shares, kits and paper stay as they are",
    ]
    return call.answer(RefreshDocument.about(done.stored, supersedes=old), lines)
