"""`orgkey doctor`."""

from __future__ import annotations

from pipeline.cli.command import SERVER_CODES, Invocation, command
from pipeline.cli.documents.setup import DoctorDocument
from pipeline.core.errors import Code
from pipeline.monitoring import doctor as checks


@command("orgkey doctor", SERVER_CODES)
def doctor(call: Invocation) -> Code:
    """Check everything that a run will need. Writes nothing.

    The host, the configuration, each target and holder under both logins: reachable, permitted, not
    over-privileged, not in one party's hand.
    """
    findings = checks.examine(call.context(call.pin))
    return call.answer(DoctorDocument.of(findings=findings, exit_code=checks.verdict(findings)))
