"""`orgkey repair`."""

from __future__ import annotations

from pipeline.cli import options
from pipeline.cli.command import Invocation, command
from pipeline.cli.documents.upkeep import RepairDocument, RepairedItem
from pipeline.cli.help import COPY_CODES
from pipeline.core.errors import Code


@command("orgkey repair --dry-run", (*COPY_CODES, Code.CONFLICT), job="repair")
def repair(call: Invocation, epoch: str = options.epoch("all"), dry_run: bool = options.DRY_RUN) -> Code:
    """Copy records to missing, damaged or new targets.

    Needs no passphrase. Nothing is deleted or overwritten: where a place holds something else, the good
    copy goes beside it.
    """
    from pipeline.workflows import repair as story

    context = call.context()
    result = story.repair(context, options.epochs(epoch), dry_run=dry_run)
    document = RepairDocument(dry_run=dry_run, copies=RepairedItem.each(result.copies), exit_code=result.code)
    return call.answer(document, document.lines())
