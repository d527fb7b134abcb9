"""`orgkey config validate`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta

from pipeline.cli.command import Invocation, command
from pipeline.cli.documents.setup import ConfigValidateDocument
from pipeline.cli.output import Output
from pipeline.config import Config, locate
from pipeline.config.holders import OpenpgpHolderConfig
from pipeline.core.clock import SystemClock
from pipeline.core.errors import Code, ProgramMissing, UsageProblem
from pipeline.core.finding import Finding, Level
from pipeline.custody.custodians import certificate_check
from pipeline.monitoring.notify import channels
from pipeline.posture import model


@command("orgkey config validate", (Code.PROGRAM_MISSING,))
def validate(call: Invocation) -> Code:
    """Read the configuration and the custodians' certificates, and say whether they are valid.

    Contacts nothing.
    """
    path, config = locate(call.config), call.loaded
    model.require_no_single_party(config)
    _judge(call.out, [*_certificates(config), *channels.findings(config)])
    names = {"targets": config.target, "holders": config.holder, "paths": config.path}
    document = ConfigValidateDocument.of(
        config, path=path, **{name: sorted(section) for name, section in names.items()}
    )
    return call.answer(document)


def _certificates(config: Config) -> Iterator[Finding]:
    """Look at the certificates of every group of custodians as a split of this moment would."""
    warning = timedelta(days=config.policy.certificate_warning_days)
    for name, holder in sorted(config.holder.items()):
        if isinstance(holder, OpenpgpHolderConfig):
            yield from certificate_check.findings(name, holder, SystemClock().now(), warning)


def _judge(out: Output, findings: Iterable[Finding]) -> None:
    """Warn of what is odd, and refuse what cannot be used; all of it is named, nothing is sent.

    Raises:
        UsageProblem: Nothing can be encrypted to somebody, a secret key is among the certificates, or an
            address of [notify] or [ping.*] cannot be read.
        ProgramMissing: What a notification needs is not installed.
    """
    said: dict[Level, list[Finding]] = {level: [] for level in Level}
    for finding in findings:
        said[finding.level].append(finding)
    for finding in said[Level.WARN]:
        out.warn(f"{finding.subject}: {finding.message}")
    if failed := said[Level.FAIL]:
        kind = ProgramMissing if failed[0].code is Code.PROGRAM_MISSING else UsageProblem
        raise kind(
            "; ".join(f"{finding.subject}: {finding.message}" for finding in failed),
            hint=failed[0].hint if len(failed) == 1 else "`orgkey doctor` says what to do about each",
        )
