"""What a person reads of a status: one screen in the usual case."""

from __future__ import annotations

import shutil
import textwrap
from collections import Counter
from typing import TYPE_CHECKING

from pipeline.cli.output import age, printable, spaced, table
from pipeline.errors import Code

if TYPE_CHECKING:
    from pipeline.history import Drilled
    from pipeline.status import Status
    from pipeline.survey import Copy, Epoch

WIDEST = 100
_MOST = 4
"""How many other epochs are named."""


def lines(result: Status) -> list[str]:
    """The summary, verdict last: that is what stays above the prompt.

    Args:
        result: The status.
    """
    shown = [f"key        {spaced(result.survey.fingerprint)}"]
    if result.epoch:
        shown += [
            f"epoch      {result.epoch.name} ({result.epoch.state}), {age(result.age_seconds)} old",
            *_others(result),
            f"last drill {age(result.last_drill_age_seconds)}"
            + (" ago" if result.last_drill_age_seconds is not None else ""),
            f"live key   {result.live.state}{_reason(result)}",
            *_foretold(result),
            "",
            *_copies(result, result.epoch),
            *_paths(result, result.epoch),
            *_custodians(result),
        ]
    for former in result.former:
        latest = former.latest()
        told = f"{latest.name} ({latest.state}), {len(latest.good)} good copies" if latest else "NOT STORED"
        shown += [f"former key {spaced(former.fingerprint)}", f"           {told}"]
    shown += _backups(result)
    return [*shown, "", *verdict(result)]


def verdict(result: Status) -> list[str]:
    """The gate, and each broken rule in words."""
    if not result.broken:
        return [f"gate: ok, all {len(result.rules)} rules hold"]
    width = min(max(shutil.get_terminal_size((WIDEST, 24)).columns, 40), WIDEST)
    told = [f"gate: BROKEN (exit code {int(result.code)}: {result.code.meaning})"]
    for rule in result.broken:
        # A path or an address in it is there to be copied: it is not cut.
        told += textwrap.wrap(
            printable(rule),
            width,
            initial_indent="  - ",
            subsequent_indent="    ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    return told


def _copies(result: Status, epoch: Epoch) -> list[str]:
    replicated = any(copy.replication for copy in epoch.copies)
    rows = [
        (
            copy.target,
            copy.domain,
            "good" if copy.ok else "BAD",
            _restored(result, copy),
            f"until {copy.retain_until:%Y-%m-%d}" if copy.retain_until else "",
            *((copy.replication.status.lower() if copy.replication else "",) if replicated else ()),
        )
        for copy in epoch.copies
    ]
    headings = ("copy", "domain", "state", "restored", "lock")
    return table((*headings, "replication") if replicated else headings, rows)


def _restored(result: Status, copy: Copy) -> str:
    found = [item for (target, _), item in result.proven.items() if target == copy.target]
    return _when(result, max(found, key=lambda item: item.at, default=None))


def _paths(result: Status, epoch: Epoch) -> list[str]:
    if epoch.record is None:
        return []
    rows = []
    for path in epoch.record.manifest.custody.paths:
        found = [item for (_, name), item in result.proven.items() if name == path.name]
        needs = " and ".join(need.holder for need in path.needs)
        rows.append((path.name, needs, _when(result, max(found, key=lambda item: item.at, default=None))))
    return ["", *table(("path", "needs", "restored"), rows)]


def _when(result: Status, item: Drilled | None) -> str:
    if item is None:
        return "never on this host"
    took = f", took {item.seconds:.1f} s" if item.seconds is not None else ""
    return f"{age((result.judged_at - item.at).total_seconds())} ago{took}"


def _others(result: Status) -> list[str]:
    others = [epoch for epoch in reversed(result.survey.epochs) if epoch is not result.epoch]
    told = [f"also       {_other(result, epoch)}" for epoch in others[:_MOST]]
    more = len(others) - _MOST
    return [*told, f"           and {more} more, see `orgkey list`"] if more > 0 else told


def _other(result: Status, epoch: Epoch) -> str:
    plan = ", another custody plan than the configuration's" if epoch.name in result.outdated else ""
    return f"{epoch.name} ({epoch.state}{plan})"


def _reason(result: Status) -> str:
    if result.live.state == "unknown" and result.live.reason is None:
        return " (key.live is not set)"
    return f" ({printable(result.live.reason)})" if result.live.reason else ""


def _foretold(result: Status) -> list[str]:
    """When the server renews the key by itself, and which other keys it lists under its name."""
    told = []
    if (renewal := result.renewal) and renewal.expires:
        expires, (early, late) = renewal.expires.date(), (moment.date() for moment in renewal.due)
        told.append(
            {
                "ahead": f"renewal    ahead: about {early} (older ones {late}); expires {expires}",
                "due": f"renewal    DUE since {early} (older ones {late}); expires {expires}",
                "overdue": f"renewal    OVERDUE: what is known of the key expired on {expires}",
            }[renewal.state]
        )
    if result.live.others and result.live.state != "replaced":
        told.append(f"           another key is listed under its name: {', '.join(result.live.others)}")
    return told


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


def _backups(result: Status) -> list[str]:
    if not result.backups:
        return []
    counts = Counter(
        {
            Code.OK: "opened by an escrowed key",
            Code.DEGRADED: "of hidden recipients",
            Code.STALE: "NOT OPENED",
        }.get(backup.code, "NOT READABLE")
        for backup in result.backups
    )
    told = ", ".join(f"{count} {words}" for words, count in counts.items())
    newest = result.newest_backup
    when = f"; the newest is {age((result.judged_at - newest).total_seconds())} old" if newest else ""
    return ["", f"backups    {told}{when}; see `orgkey backups map`"]
