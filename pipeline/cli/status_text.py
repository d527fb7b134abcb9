"""What a person reads of a status: one screen in the usual case."""

from __future__ import annotations

import shutil
import textwrap
from collections import Counter
from collections.abc import Iterable

from pipeline.archive import overview
from pipeline.archive.catalog import Copy, Epoch
from pipeline.cli.output import age, printable, spaced, table
from pipeline.core.errors import Code
from pipeline.evidence.ledger.drill_history import Drilled
from pipeline.monitoring.status import Status

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
        text = "UNKNOWN" if overview.silences([former]) else "NOT STORED"
        if latest:
            text = f"{latest.name} ({latest.state}), {len(latest.good)} good copies"
        shown += [f"former key {spaced(former.fingerprint)}", f"           {text}"]
    shown += _backups(result)
    return [*shown, "", *verdict(result)]


def verdict(result: Status) -> list[str]:
    """The gate, and each broken rule in words."""
    doubts = ["warnings:", *_items(_warned(result)), ""] if result.warned else []
    if not result.broken:
        return [*doubts, f"gate: ok, all {len(result.rules)} rules hold"]
    headline = f"gate: BROKEN (exit code {int(result.code)}: {result.code.meaning})"
    return [*doubts, headline, *_items(result.broken)]


def _warned(result: Status) -> list[str]:
    """The warnings, with the limits that are not set in one: none of them is news every day."""
    limits = [rule for rule in result.rules if rule.warned and rule.name.startswith("max_")]
    if len(limits) < 2:
        return list(result.warned)
    names = ", ".join(rule.name for rule in limits)
    return [
        f"no limit is set in [policy] for {len(limits)} ages: {names}",
        *(rule.text for rule in result.rules if rule.warned and rule not in limits),
    ]


def _items(texts: Iterable[str]) -> list[str]:
    width = min(max(shutil.get_terminal_size((WIDEST, 24)).columns, 40), WIDEST)
    # A path or an address in it is there to be copied: it is not cut.
    wrapper = textwrap.TextWrapper(width, break_long_words=False, break_on_hyphens=False)
    wrapper.initial_indent, wrapper.subsequent_indent = "  - ", "    "
    return [line for text in texts for line in wrapper.wrap(printable(text))]


def _copies(result: Status, epoch: Epoch) -> list[str]:
    replicated = any(copy.replication for copy in epoch.copies)
    rows = [
        (
            copy.target,
            copy.domain,
            copy_state(copy),
            _restored(result, copy),
            _lock(copy),
            *((copy.replication.status.lower() if copy.replication else "",) if replicated else ()),
        )
        for copy in epoch.copies
    ]
    headings = ("copy", "domain", "state", "restored", "lock")
    return table((*headings, "replication") if replicated else headings, rows)


def copy_state(copy: Copy) -> str:
    """How a copy stands, in a word, and why it could not be looked at."""
    state = "good" if copy.ok else str(copy.standing).upper()
    why = "sealed" if " is sealed" in (copy.problem or "") else "denied" if copy.code is Code.DENIED else ""
    return f"{state} ({why})" if why and copy.standing == "unreachable" else state


def _lock(copy: Copy) -> str:
    until = f"until {copy.retain_until:%Y-%m-%d}" if copy.retain_until else ""
    return " ".join(filter(None, ("TOO SHORT" if until else "NONE", until))) if copy.unlocked else until


def _restored(result: Status, copy: Copy) -> str:
    mine = [item for (target, _), item in result.proven.items() if target == copy.target]
    found = [item for item in mine if not item.replaced]
    if mine and not found:
        return "not since it was copied anew"
    return _when(result, found)


def _paths(result: Status, epoch: Epoch) -> list[str]:
    if epoch.record is None:
        return []
    rows = []
    for path in epoch.record.manifest.custody.paths:
        found = [item for (_, name), item in result.proven.items() if name == path.name]
        needs = " and ".join(overview.needs(epoch.record, path))
        rows.append((path.name, needs, _when(result, found)))
    return ["", *table(("path", "needs", "restored"), rows)]


def _when(result: Status, drills: list[Drilled]) -> str:
    if not drills:  # where the ledger is broken, what it tells of them is not read
        broken = any(rule.name == "ledger" and not rule.ok for rule in result.rules)
        return "not known" if broken else "never on this host"
    item = max(drills, key=lambda item: item.at)
    took = f", took {item.seconds:.1f} s" if item.seconds is not None else ""
    return f"{age((result.judged_at - item.at).total_seconds())} ago{took}"


def _others(result: Status) -> list[str]:
    others = [epoch for epoch in reversed(result.survey.epochs) if epoch is not result.epoch]
    other = dict.fromkeys(result.outdated or (), ", another custody plan than the configuration's")
    lines = [f"also       {item.name} ({item.state}{other.get(item.name, '')})" for item in others[:_MOST]]
    more = len(others) - _MOST
    return [*lines, f"           and {more} more, see `orgkey list`"] if more > 0 else lines


def _reason(result: Status) -> str:
    if result.live.state == "unknown" and result.live.reason is None:
        return " (key.live is not set)"
    return f" ({printable(result.live.reason)})" if result.live.reason else ""


def _foretold(result: Status) -> list[str]:
    """When the server renews the key by itself, and which other keys are listed under its name."""
    lines = []
    if (renewal := result.renewal) and renewal.expires:
        expires, (early, late) = renewal.expires.date(), (moment.date() for moment in renewal.due)
        lines.append(
            {
                "ahead": f"renewal    ahead: about {early} (older ones {late}); expires {expires}",
                "due": f"renewal    DUE since {early} (older ones {late}); expires {expires}",
                "overdue": f"renewal    OVERDUE: what is known of the key expired on {expires}",
            }[renewal.state]
        )
    if result.live.others and result.live.state != "replaced":
        lines.append(f"           another key is listed under its name: {', '.join(result.live.others)}")
    return lines


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
            Code.OK: "for an escrowed key (not opened)",
            Code.DEGRADED: "of hidden recipients",
            Code.STALE: "for NO escrowed key",
        }.get(backup.code, "NOT READABLE")
        for backup in result.backups
    )
    text = ", ".join(f"{count} {words}" for words, count in counts.items())
    several, now = len(result.newest_backups) > 1, result.judged_at
    when = "".join(
        f"; the newest{f' in {place}' if several else ''} is {age((now - at).total_seconds())} old"
        for place, at in result.newest_backups.items()
        if at
    )
    more = "" if counts.keys() == {"for an escrowed key (not opened)"} else "; see `orgkey backups map`"
    return ["", f"backups    {text}{when}{more}"]
