"""`orgkey verify`."""

from __future__ import annotations

from pipeline.archive import overview
from pipeline.cli.command import COPY_CODES, Invocation, command
from pipeline.cli.documents.stored import VerifyDocument
from pipeline.cli.list_command import last_known, lines, warn
from pipeline.core.errors import Code


@command("orgkey verify", (*COPY_CODES, Code.STALE), job="verify")
def verify(call: Invocation) -> Code:
    """Read every copy whole and check that it is authentic.

    Every epoch, every target. Needs no passphrase.
    """
    context = call.context()
    with context.recorded("verify-failed"):
        surveys = context.catalogs()
    code = overview.judged(
        (code for item in surveys for code in overview.verdict(item, context.config.policy.copies)),
        context.deadline,
    )
    if code is Code.OK and not any(item.epochs for item in surveys):
        code = Code.STALE
        call.out.warn("nothing is stored for this key")
    warn(call.out, context, surveys)
    known = last_known(context, surveys)
    context.note_event(overview.event(surveys, code))
    return call.answer(
        VerifyDocument.about(surveys, known, exit_code=code),
        [*lines(context, surveys, known), f"exit code {int(code)}: {code.meaning}"],
    )
