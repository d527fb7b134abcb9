"""`orgkey certificate stamp`."""

from __future__ import annotations

from pipeline.cli.command import Invocation, command
from pipeline.cli.documents.evidence import CertificateStampDocument
from pipeline.core.errors import Code, UsageProblem
from pipeline.evidence import statement, timestamp


@command("orgkey certificate stamp", (Code.UNREACHABLE,))
def stamp(call: Invocation) -> Code:
    """Ask the time-stamp authority again for every certificate of this host that is not yet stamped.

    A drill does it, too. Exit code 20 when one still waits.
    """
    context = call.context()
    settings = context.config.certificate
    if settings.timestamp is None:
        raise UsageProblem(
            "no time-stamp authority is configured", hint="set certificate.timestamp and timestamp_ca_file"
        )
    folder = context.root / statement.FOLDER
    tried = timestamp.ask_all(folder, settings, limit=context.deadline.limit, most=1000)
    left = timestamp.pending(folder)
    reasons = [one.reason for one in tried.values() if one.reason]
    document = CertificateStampDocument(
        stamped=tuple(str(path) for path, one in tried.items() if one.state == "stamped"),
        pending=tuple(map(str, left)),
        problem=reasons[0] if reasons else None,
        exit_code=Code.UNREACHABLE if left else Code.OK,
    )
    return call.answer(document, document.lines(reasons))
