"""`orgkey refresh`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli import ceremony_prompt, escrow_command, jobs, options, shares
from pipeline.cli.options import Common
from pipeline.core.errors import Code, LocalFilesProblem

if TYPE_CHECKING:
    from pipeline.archive.context import Context
    from pipeline.workflows.refresh import Refreshed


@jobs.job("refresh")
def refresh(
    public: Annotated[
        Path | None,
        typer.Option("--public", metavar="FILE", help="The server's public key; else what key.live gives."),
    ] = None,
    via: Annotated[
        str | None, typer.Option("--via", metavar="PATH", help="Open the epoch by this custody path.")
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
    """Store a renewed public part with the same secret.

    The latest epoch is stored again, with the newer self-signatures of a key that has renewed itself. The
    secret, its shares and the record id are carried over: custodians' shares, kits and paper stay good.
    Another key is never taken.
    """
    common = Common(config, state_dir, fingerprint, json, quiet, verbose)
    out = common.output()
    from pipeline.workflows import refresh as story

    context = common.context(out)
    request = story.Request(
        _public(context, public),
        via,
        shares.read(share, context.deadline, share_fd),
        ceremony_prompt.at_terminal(out, context.deadline),
    )
    if dry_run:
        old, action = story.rehearse(context, request)
        body = {"schema": "orgkey.refresh-plan/1", "supersedes": old, "action": action}
        out.emit(body, [f"dry run: epoch {old}: would {action}", "nothing was written"])
        return Code.OK
    done = story.refresh(context, request)
    out.emit(_document(done), _lines(done))
    return done.stored.code if done.stored else Code.OK


def _public(context: Context, named: Path | None) -> bytes:
    from pipeline.archive import live_key as live
    from pipeline.core import files

    if named is None:
        return live.fetch(context)
    try:
        with files.expanded(named).open("rb") as stream:
            return stream.read(live.MAX_BYTES + 1)
    except OSError as error:
        raise LocalFilesProblem(
            f"cannot read {named}: {error.strerror or error}", hint="check the path and its permissions"
        ) from error


def _document(done: Refreshed) -> dict[str, Any]:
    stored = escrow_command.document(done.stored) if done.stored else {"epoch": None, "exit_code": 0}
    return stored | {
        "schema": "orgkey.refresh/1",
        "supersedes": done.old.epoch,
        "refreshed": done.stored is not None,
    }


def _lines(done: Refreshed) -> list[str]:
    if done.stored is None:
        return [f"epoch {done.old.epoch} has this public part, or a newer one, already"]
    return [
        *escrow_command.lines(done.stored),
        "",
        f"replaces epoch {done.old.epoch}; shares, kits and paper stay as they are",
    ]
