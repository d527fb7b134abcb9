"""`orgkey status`."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from pipeline.archive import overview
from pipeline.archive.run import KeyScope
from pipeline.cli import jobs, status_text
from pipeline.cli import nagios as plugin
from pipeline.cli.command import COPY_CODES, WHERE, Invocation, command, opt
from pipeline.cli.documents.stored import StatusDocument
from pipeline.cli.output import Output
from pipeline.core.errors import Code, OrgkeyError, UsageProblem, first_of
from pipeline.monitoring import prometheus
from pipeline.monitoring import status as story


@command("orgkey status --metrics orgkey.prom", (*COPY_CODES, Code.STALE), job="status")
def status(
    call: Invocation,
    metrics: Path | None = opt(
        "--metrics",
        "Also write it for Prometheus: a .prom file for node-exporter's textfile collector.",
        "FILE",
        WHERE,
    ),
    nagios: bool = opt(
        "--nagios", "One line and the exit codes 0 to 3, as a monitoring plugin.", None, WHERE
    ),
) -> Code:
    """Say how fresh and how proven the escrow is.

    The gate for monitoring: exit code 40 when a rule of the policy is broken.
    """
    if nagios and call.json:
        raise UsageProblem("--nagios and --json exclude each other", hint="give one of them")
    context = None
    try:
        context = call.context()
        result = story.status(context)
    except Exception as error:
        _write_failure(call.out, metrics, error, context)
        raise
    for problem in overview.replication_problems((result.survey, *result.former), context.clock.now()):
        call.out.warn(problem)
    jobs.judged(result.rules)
    code = result.code
    if metrics is not None:
        try:
            prometheus.write(metrics, prometheus.of_status(result, context.clock.now(), _name(context)))
        except OrgkeyError as error:
            # The gate's result is printed all the same.
            call.out.warn(f"{error.message}; {error.hint}")
            code = first_of([code, error.code])
    lines = status_text.lines(result)
    if nagios:
        code = plugin.judged(result, code)
        lines = [plugin.of_status(replace(result, code=code), context.config.policy)]
    return call.answer(StatusDocument.about(result, code), lines)


def _name(context: KeyScope) -> str:
    return (context.config.key.name or "") if context.config.key else ""


def _write_failure(out: Output, metrics: Path | None, error: Exception, context: KeyScope | None) -> None:
    """What stood in the file must not look fresh for ever."""
    if metrics is None:
        return
    code = error.code if isinstance(error, OrgkeyError) else Code.INTERNAL
    try:
        known = prometheus.KeyLabels(context.fingerprint, _name(context)) if context else None
        of = known or prometheus.before(metrics)
        prometheus.write(metrics, prometheus.of_failure(code, datetime.now(UTC), of))
    except OrgkeyError as other:
        out.warn(f"{other.message}; {other.hint}")
