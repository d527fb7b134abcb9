"""`orgkey status`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.cli import backups_map, options
from pipeline.cli.options import Common
from pipeline.cli.output import age, printable, spaced, table
from pipeline.errors import Code

if TYPE_CHECKING:
    from pipeline.status import Status
    from pipeline.survey import Epoch


def status(
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
    context = common.context(out)
    from pipeline import status as story

    result = story.status(context)
    out.emit(_document(result), _lines(result))
    return result.code


def _document(result: Status) -> dict[str, Any]:
    from pipeline.clock import stamp
    from pipeline.overview import copies_json

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
        "gate": {"ok": not result.broken, "broken": list(result.broken)},
        "exit_code": int(result.code),
    }


def _lines(result: Status) -> list[str]:
    shown = [f"key        {spaced(result.survey.fingerprint)}"]
    if result.epoch:
        shown += [
            f"epoch      {result.epoch.name} ({result.epoch.state}), {age(result.age_seconds)} old",
            f"last drill {age(result.last_drill_age_seconds)}"
            + (" ago" if result.last_drill_age_seconds is not None else ""),
            f"live key   {result.live.state}{_reason(result)}",
            *_foretold(result),
            "",
            *table(
                ("copy", "domain", "", "where"),
                [
                    (copy.target, copy.domain, "good" if copy.ok else "BAD", copy.problem or copy.location)
                    for copy in result.epoch.copies
                ],
            ),
        ]
        others = [epoch for epoch in reversed(result.survey.epochs) if epoch.name != result.epoch.name]
        shown += ["", *(_other(result, epoch) for epoch in others)] if others else []
        shown += _custodians(result)
    for former in result.former:
        latest = former.latest()
        told = f"{latest.name} ({latest.state}), {len(latest.good)} good copies" if latest else "NOT STORED"
        shown += ["", f"former key {spaced(former.fingerprint)}", f"epoch      {told}"]
    if result.backups:
        shown += ["", *backups_map.lines(result.backups)]
    shown.append("")
    if not result.broken:
        return [*shown, "gate: ok"]
    return [
        *shown,
        f"gate: BROKEN (exit code {int(result.code)}: {result.code.meaning})",
        *(f"  - {rule}" for rule in result.broken),
    ]


def _reason(result: Status) -> str:
    if result.live.state == "unknown" and result.live.reason is None:
        return " (key.live is not set)"
    return f" ({printable(result.live.reason)})" if result.live.reason else ""


def _renewal(result: Status) -> dict[str, Any] | None:
    from pipeline.clock import stamp

    if result.renewal is None:
        return None
    due: list[str | None] = [stamp(moment) for moment in result.renewal.due] or [None, None]
    return {
        "state": result.renewal.state,
        "expires": stamp(result.renewal.expires) if result.renewal.expires else None,
        "due_31_days": due[0],
        "due_1_day": due[1],
    }


def _foretold(result: Status) -> list[str]:
    """When the server renews the key by itself, and which other keys it lists under its name."""
    told = []
    if (renewal := result.renewal) and renewal.expires:
        expires, (early, late) = renewal.expires.date(), (moment.date() for moment in renewal.due)
        told.append(
            {
                "ahead": f"renewal    ahead: about {early} (older releases {late}); expires {expires}",
                "due": f"renewal    DUE since {early} (older releases {late}); expires {expires}",
                "overdue": f"renewal    OVERDUE: what is known of the key expired on {expires}",
            }[renewal.state]
        )
    if result.live.others and result.live.state != "replaced":
        told.append(f"           another key is listed under its name: {', '.join(result.live.others)}")
    return told


def _other(result: Status, epoch: Epoch) -> str:
    plan = ", another custody plan than the configuration's" if epoch.name in result.outdated else ""
    return f"also stored {epoch.name} ({epoch.state}{plan})"


def _custodians(result: Status) -> list[str]:
    if not result.custodians:
        return []
    rows = [
        (
            printable(item.seat.name),
            item.seat.path.name,
            f"{age(item.age_seconds)} ago" if item.last else "never",
            "OVERDUE" if item.overdue else "asked" if item.pending else "",
        )
        for item in result.custodians
    ]
    return ["", *table(("custodian", "path", "last check-in", ""), rows)]
