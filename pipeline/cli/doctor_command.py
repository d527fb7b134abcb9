"""`orgkey doctor`."""

from __future__ import annotations

from pipeline.cli.command import SERVER_CODES, Invocation, command, opt
from pipeline.cli.documents.setup import DoctorDocument
from pipeline.core.errors import Code
from pipeline.monitoring import doctor as checks


@command("orgkey doctor", SERVER_CODES)
def doctor(
    call: Invocation,
    try_writing: bool = opt(
        "--try-writing", "Store a small object at each S3 target, as records are stored."
    ),
) -> Code:
    """Check everything that a run will need. Writes nothing, unless --try-writing says so.

    The host, the configuration, each target and holder under both logins: reachable, permitted, not
    over-privileged, not in one party's hand. Whether a server locks, and refuses to overwrite, shows only
    when something is written: before the first escrow, --try-writing stores a small object at each S3
    target, which stays there for as long as a record would.
    """
    findings = checks.examine(call.context(call.pin), try_writing=try_writing)
    return call.answer(DoctorDocument.of(findings=findings, exit_code=checks.verdict(findings)))
