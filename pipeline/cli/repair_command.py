"""`orgkey repair`."""

from __future__ import annotations

from pipeline.cli.command import COPY_CODES, DRY_RUN, Invocation, command, epoch_option, epochs
from pipeline.cli.documents.upkeep import RepairDocument
from pipeline.core.errors import Code
from pipeline.workflows import repair as story


@command("orgkey repair --dry-run", (*COPY_CODES, Code.CONFLICT), job="repair")
def repair(call: Invocation, epoch: str = epoch_option("all"), dry_run: bool = DRY_RUN) -> Code:
    """Copy records to missing, damaged or new targets.

    Needs no passphrase. Nothing is deleted or overwritten: where a place holds something else, the good
    copy goes beside it.
    """
    context = call.context()
    result = story.repair(context, epochs(epoch), dry_run=dry_run)
    return call.answer(RepairDocument.of(result, dry_run=dry_run))
