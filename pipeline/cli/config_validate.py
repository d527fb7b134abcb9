"""`orgkey config validate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.cli.command import Invocation, command
from pipeline.cli.documents.setup import ConfigValidateDocument
from pipeline.core.errors import Code, ProgramMissing, UsageProblem
from pipeline.core.finding import Level

if TYPE_CHECKING:
    from pipeline.cli.output import Output
    from pipeline.config import Config


@command("orgkey config validate", (Code.PROGRAM_MISSING,))
def validate(call: Invocation) -> Code:
    """Read the configuration and the custodians' certificates, and say whether they are valid.

    Contacts nothing.
    """
    from pipeline.config import locate
    from pipeline.posture import model

    path, config = locate(call.config), call.loaded
    model.require_no_single_party(config)
    _judge_certificates(call.out, config)
    _judge_alarms(config)
    document = ConfigValidateDocument(
        path=path,
        fingerprint=config.key.fingerprint if config.key else None,
        targets=tuple(sorted(config.target)),
        holders=tuple(sorted(config.holder)),
        paths=tuple(sorted(config.path)),
    )
    return call.answer(document, [f"{path} is valid" + ("" if config.key else "; no key is pinned yet")])


def _judge_certificates(out: Output, config: Config) -> None:
    """Look at the certificates of every group of custodians as a split of this moment would.

    Raises:
        UsageProblem: Nothing can be encrypted to somebody, or a secret key is among them; all are named.
    """
    from datetime import timedelta

    from pipeline.config import OpenpgpHolderConfig
    from pipeline.core.clock import SystemClock
    from pipeline.custody.custodians import certificate_check

    warning = timedelta(days=config.policy.certificate_warning_days)
    findings = [
        finding
        for name, holder in sorted(config.holder.items())
        if isinstance(holder, OpenpgpHolderConfig)
        for finding in certificate_check.findings(name, holder, SystemClock().now(), warning)
    ]
    for finding in findings:
        if finding.level is Level.WARN:
            out.warn(f"{finding.subject}: {finding.message}")
    failed = [finding for finding in findings if finding.level is Level.FAIL]
    if failed:
        raise UsageProblem(
            "; ".join(f"{finding.subject}: {finding.message}" for finding in failed),
            hint=failed[0].hint if len(failed) == 1 else "`orgkey doctor` says what to do about each",
        )


def _judge_alarms(config: Config) -> None:
    """See that [notify] and [ping.*] can be used; nothing is sent.

    Raises:
        UsageProblem: An address cannot be read, or is missing.
        ProgramMissing: What one of them needs is not installed.
    """
    from pipeline.monitoring.notify import channels

    for finding in channels.findings(config):
        if finding.level is Level.FAIL:
            kind = ProgramMissing if finding.code is Code.PROGRAM_MISSING else UsageProblem
            raise kind(f"{finding.subject}: {finding.message}", hint=finding.hint)
