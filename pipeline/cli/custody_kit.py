"""`orgkey custody kit`."""

from __future__ import annotations

from pathlib import Path

from pipeline.cli.command import COPY_CODES, ONE_EPOCH, WHERE, Invocation, command, opt
from pipeline.cli.documents.custody import CustodyKitDocument, KitFileItem
from pipeline.core.errors import Code, UsageProblem
from pipeline.workflows.kit import kit as story

PAPER = {"a4": "a4", "letter": "us-letter"}


@command("orgkey custody kit --out kit", (*COPY_CODES, Code.PROGRAM_MISSING))
def kit(
    call: Invocation,
    out_dir: Path = opt("--out", "The new folder.", "DIR", WHERE),
    epoch: str = ONE_EPOCH,
    no_bundle: bool = opt("--no-bundle", "Leave out the offline bundle of this program."),
    paper: str = opt("--paper", "Size of the sheets.", "a4|letter", default="a4"),
) -> Code:
    """Make a recovery kit: a sheet for each custodian, and a folder for the safe.

    A custodian's sheet says what the share is, who to call, and the exact commands. The safe gets a record, a
    description of how to recover from it, and this program for a machine without network. Nothing in the kit
    is a secret in the clear.
    """
    if paper not in PAPER:
        raise UsageProblem(f"--paper {paper} is unknown", hint="it takes a4 or letter")
    chosen = None if epoch == "latest" else epoch
    made = story.make(call.context(), out_dir, epoch=chosen, with_bundle=not no_bundle, paper=PAPER[paper])
    files = tuple(KitFileItem(name=name, sha256=digest) for name, digest in made.files.items())
    return call.answer(CustodyKitDocument.of(made, files=files))
