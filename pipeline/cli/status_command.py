"""`orgkey status`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli import backups_map, jobs, options, status_text
from pipeline.cli.options import Common
from pipeline.core.errors import Code, OrgkeyError, first_of

if TYPE_CHECKING:
    from pipeline.archive.context import Context
    from pipeline.cli.output import Output
    from pipeline.monitoring.status import Status


Metrics = Annotated[
    Path | None,
    typer.Option(
        "--metrics",
        metavar="FILE",
        help="Also write it for Prometheus: a .prom file for node-exporter's textfile collector.",
    ),
]


@jobs.job("status")
def status(
    metrics: Metrics = None,
    config: options.ConfigFile = None,
    state_dir: options.StateDir = None,
    fingerprint: options.Fingerprint = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> Code:
    """Say how fresh and how proven the escrow is.

    The gate for monitoring: exit code 40 when a rule of the policy is broken.
    """
    common = Common(config, state_dir, fingerprint, json, quiet, verbose)
    out = common.output()
    context = None
    try:
        context = common.context(out)
        from pipeline.monitoring import status as story

        result = story.status(context)
    except Exception as error:
        _write_failure(out, metrics, error, context)
        raise
    from pipeline.archive import overview

    for problem in overview.replication_problems((result.survey, *result.former), context.clock.now()):
        out.warn(problem)
    jobs.judged(result.rules)
    code = result.code
    if metrics is not None:
        from pipeline.monitoring import prometheus as exposition

        try:
            exposition.write(metrics, exposition.of_status(result, context.clock.now(), _name(context)))
        except OrgkeyError as error:
            # The gate is told all the same.
            out.warn(f"{error.message}; {error.hint}")
            code = first_of([code, error.code])
    out.emit(_document(result) | {"exit_code": int(code)}, status_text.lines(result))
    return code


def _name(context: Context) -> str:
    return (context.config.key.name or "") if context.config.key else ""


def _write_failure(out: Output, metrics: Path | None, error: Exception, context: Context | None) -> None:
    """What stood in the file must not look fresh for ever."""
    if metrics is None:
        return
    from datetime import UTC, datetime

    from pipeline.monitoring import prometheus as exposition

    code = error.code if isinstance(error, OrgkeyError) else Code.INTERNAL
    try:
        of = exposition.Of(context.fingerprint, _name(context)) if context else exposition.before(metrics)
        exposition.write(metrics, exposition.of_failure(code, datetime.now(UTC), of))
    except OrgkeyError as other:
        out.warn(f"{other.message}; {other.hint}")


def _document(result: Status) -> dict[str, Any]:
    from pipeline.archive.overview import copies_json
    from pipeline.core.clock import stamp

    return {
        "schema": "orgkey.status/1",
        "fingerprint": result.survey.fingerprint,
        "epoch": result.epoch.name if result.epoch else None,
        "state": str(result.epoch.state) if result.epoch else None,
        "age_seconds": result.age_seconds,
        "last_drill_age_seconds": result.last_drill_age_seconds,
        "live": result.live.state,
        "live_reason": result.live.reason,
        "live_others": list(result.live.others),
        "renewal": _renewal(result),
        "copies": copies_json(result.epoch.copies) if result.epoch else [],
        "last_known": _known(result),
        "epochs": [
            {
                "epoch": epoch.name,
                "state": str(epoch.state),
                "plan": "old" if epoch.name in result.outdated else "current",
            }
            for epoch in result.survey.epochs
        ],
        "former": [
            {
                "fingerprint": former.fingerprint,
                "epoch": latest.name if (latest := former.latest()) else None,
                "state": str(latest.state) if latest else None,
                "copies": copies_json(latest.copies) if latest else [],
            }
            for former in result.former
        ],
        "backups": backups_map.backups_json(result.backups),
        "custodians": [
            {
                "custodian": item.seat.share.label,
                "name": item.seat.name,
                "path": item.seat.path.name,
                "holder": item.seat.share.holder,
                "index": item.seat.share.index,
                "last_check_in": stamp(item.last) if item.last else None,
                "age_seconds": item.age_seconds,
                "overdue": item.overdue,
                "pending": item.pending,
            }
            for item in result.custodians
        ],
        "gate": {
            "ok": not result.broken,
            "broken": list(result.broken),
            "warned": list(result.warned),
            "rules": [
                {
                    "name": rule.name,
                    "subject": rule.subject,
                    "ok": rule.ok,
                    "warned": rule.warned,
                    "text": rule.text,
                    "value": rule.value,
                    "limit": rule.limit,
                }
                for rule in result.rules
            ],
        },
        "exit_code": int(result.code),
    }


def _known(result: Status) -> dict[str, Any] | None:
    """What this host knows without asking anyone: what is left where nobody answers."""
    from pipeline.core.clock import stamp

    known = result.known
    if known is None:
        return None
    proven = stamp(known.proven) if known.proven else None
    return {"epoch": known.epoch, "proven": proven, "copies": list(known.copies)}


def _renewal(result: Status) -> dict[str, Any] | None:
    from pipeline.core.clock import stamp

    if result.renewal is None:
        return None
    due: list[str | None] = [stamp(moment) for moment in result.renewal.due] or [None, None]
    return {
        "state": result.renewal.state,
        "expires": stamp(result.renewal.expires) if result.renewal.expires else None,
        "due_31_days": due[0],
        "due_1_day": due[1],
    }
