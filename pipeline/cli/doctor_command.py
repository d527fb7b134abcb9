"""`orgkey doctor`."""

from __future__ import annotations

from pipeline.cli.command import NO_PIN, Invocation, command
from pipeline.cli.documents.setup import DoctorDocument, FindingItem
from pipeline.cli.help import SERVER_CODES
from pipeline.core.errors import Code


@command("orgkey doctor", SERVER_CODES)
def doctor(call: Invocation) -> Code:
    """Check everything that a run will need. Writes nothing.

    The host, the configuration, each target and holder under both logins: reachable, permitted, not
    over-privileged, not in one party's hand.
    """
    from pipeline.monitoring import doctor

    pin = call.fingerprint or (call.loaded.key.fingerprint if call.loaded.key else NO_PIN)
    findings = doctor.examine(call.context(pin))
    document = DoctorDocument(findings=FindingItem.each(findings), exit_code=doctor.verdict(findings))
    return call.answer(document, document.lines())
