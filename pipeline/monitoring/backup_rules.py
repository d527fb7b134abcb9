"""The gate's rules about the server's backups: that they arrive, and are read to their end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from pipeline.config.sections import Policy
from pipeline.core.clock import AHEAD, within
from pipeline.core.errors import Code
from pipeline.evidence.ledger.backup_history import SOUND, BackupHistory, RecordedReading
from pipeline.monitoring.rules import DAY, Rule, aged, measured, require
from pipeline.workflows.backups.backup_map import Backup
from pipeline.workflows.backups.selection import Places

NAMED = 5
"""How many backups of a kind are named one by one."""


def backups(policy: Policy, newest: Mapping[str, datetime | None], now: datetime) -> list[Rule]:
    """The newest backup of each place is young enough: else none are made, or they arrive elsewhere.

    Args:
        policy: The limit.
        newest: When the newest one of each place was written; ``None`` when none tells.
        now: The present time.
    """
    name, limit = "max_backup_age_days", policy.max_backup_age_days
    if limit is None:
        return []
    rules = []
    for place, at in newest.items():
        mend = f"look at the server's backup job and at the way to backups.{place}"
        if at is None:
            text = f"the age of no backup in {place} is known, policy.{name} is {limit:g}"
            rules.append(measured(name, False, text, mend, None, limit, place))
            continue
        rules += aged(
            f"the newest backup in {place}", name, limit, max((now - at).total_seconds(), 0.0), mend, place
        )
    return rules


def verified_backups(
    policy: Policy, found: Sequence[Backup], places: Places, history: BackupHistory, now: datetime
) -> list[Rule]:
    """Backups were read to their end, lately enough, and are what was to be expected after those before them.

    Args:
        policy: The limits.
        found: The backups that are in the configured places now.
        places: These places.
        history: This host's readings.
        now: The present time.
    """
    wrong = []
    for backup in found:
        last = history.last(backup.source.location)
        if last is None or last.read.sha256 in history.known:
            continue
        read, what = last.read, f"backup {backup.source.name}"
        if not read.ok and read.code != Code.STALE:
            wrong.append(f"{what} failed when it was read on {last.at:%Y-%m-%d}: {read.problem}")
        elif read.history not in (None, *SOUND):
            wrong.append(
                f"{what} is {read.history}: {read.history_text}; find out who wrote it; if it is in order, "
                f"put {read.sha256} into policy.known_backups"
            )
    rules = require("backup-history", wrong[:NAMED], "no backup that was read is damaged or unexpected")
    if len(wrong) > NAMED:
        rules.append(Rule("backup-history", False, f"and {len(wrong) - NAMED} backups more"))
    name, limit = "max_backup_verify_age_days", policy.max_backup_verify_age_days
    if limit is not None:
        unread = [_unread_for(backup, history, now) for backup in found]
        late = [backup for backup, seconds in zip(found, unread, strict=True) if seconds > limit * DAY]
        command = f"run `orgkey backups verify --unread-for {limit:g}`"
        named = ", ".join(backup.source.name for backup in late[:NAMED])
        more = f" and {len(late) - NAMED} more" if len(late) > NAMED else ""
        oldest = max(unread, default=0.0) / DAY
        text = f"{len(late)} of {len(found)} backups were not read to their end for {limit:g} days"
        text += f" (policy.{name})" + (f": {named}{more}" if late else "")
        value = round(oldest, 1) if oldest != float("inf") else None
        rules.append(measured(name, not late, text, command, value, limit))
    name, limit = "max_newest_verify_age_days", policy.max_newest_verify_age_days
    for place in places.configured if limit is not None else ():
        assert limit is not None
        at, mend = history.newest_read(place), f"run `orgkey backups verify --newest 1 {place}`"
        if at is None:
            text = f"the newest backup of {place} was never read to its end, policy.{name} is {limit:g}"
            rules.append(measured(name, False, text, mend, None, limit, place))
            continue
        days = (now - at).total_seconds() / DAY
        text = f"the newest backup of {place} was last read to its end {days:.1f} days ago"
        text += f", policy.{name} is {limit:g}"
        rules.append(measured(name, within(now - at, limit), text, mend, round(days, 1), limit, place))
    return rules


def newest_verified(
    found: Sequence[Backup], places: Places, readings: BackupHistory
) -> dict[str, RecordedReading | None]:
    """The newest backup of each place that was read to its end, as it lies there now."""
    newest = dict[str, RecordedReading | None].fromkeys(places.configured)
    for backup in found:
        one = readings.verified(backup.source.location, backup.source.state)
        if one and one.read.modified:
            place = places.name(backup.source)
            newest[place] = max(newest.get(place) or one, one, key=written)
    return newest


def written(reading: RecordedReading | None) -> str:
    """When the backup of a reading was written; what is not known comes first."""
    return reading.read.modified or "" if reading else ""


def _unread_for(backup: Backup, history: BackupHistory, now: datetime) -> float:
    """For how many seconds nobody has read what lies there: since it was read, else since it was written."""
    read = history.verified(backup.source.location, backup.source.state)
    since = read.at if read else backup.source.modified
    known = since is not None and since - now <= AHEAD  # a date in the future says nothing
    return (now - since).total_seconds() if since and known else float("inf")
