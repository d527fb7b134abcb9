"""A status as the Monitoring Plugins guidelines want it: one line with numbers, and four exit codes."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from pipeline.cli.output import printable
from pipeline.core import log
from pipeline.core.errors import Code

if TYPE_CHECKING:
    from pipeline.config.sections import Policy
    from pipeline.monitoring.status import Status

_DAY: Final = 86400
_UNKNOWN: Final = frozenset(
    {
        Code.INTERNAL,
        Code.USAGE,
        Code.LOCAL_FILES,
        Code.PROGRAM_MISSING,
        Code.UNREACHABLE,
        Code.DENIED,
        Code.DEADLINE,
        Code.LOCKED,
        Code.INTERRUPTED,
    }
)


class PluginState(IntEnum):
    """What a plugin's exit code means (Monitoring Plugins guidelines, "Plugin Return Codes")."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3

    @classmethod
    def of(cls, code: Code) -> PluginState:
        """The state that an exit code stands for: what could not be judged is not known."""
        if code in _UNKNOWN:
            return cls.UNKNOWN
        return {Code.OK: cls.OK, Code.DEGRADED: cls.WARNING}.get(code, cls.CRITICAL)


def line(code: Code, text: str, data: Iterator[str] | None = None) -> str:
    """The one line of output.

    Args:
        code: How the run ends.
        text: What is told.
        data: Performance data.
    """
    # A bar would begin the performance data.
    told = f"ORGKEY {PluginState.of(code).name} - {printable(log.without_logins(text)).replace('|', '/')}"
    return " | ".join(filter(None, (told, " ".join(data or ()))))


def judged(found: Status, code: Code) -> Code:
    """The exit code to tell by: what is known to be broken stays broken where others are silent.

    Args:
        found: The status.
        code: How the run ends.
    """
    # Rules that are broken also where somebody does not answer, each with whether that is not why.
    known = {
        "reachable": False,
        "stored": not found.unknown,
        "live": found.live.state != "unknown",
        "backups": any(backup.code is Code.STALE for backup in found.backups),
    }
    broken = any(known.get(rule.name, True) for rule in found.rules if not rule.ok)
    return Code.STALE if broken and PluginState.of(code) is PluginState.UNKNOWN else code


def of_status(found: Status, policy: Policy) -> str:
    """The line of a status that could be judged.

    Args:
        found: The status.
        policy: Its limits, which are the thresholds.
    """
    broken = len(found.broken)
    text = f"{broken} of {len(found.rules)} rules do not hold: {'; '.join(found.broken)}"
    if not broken:
        text = f"all {len(found.rules)} rules hold" if found.code is Code.OK else found.code.meaning
    return line(found.code, text, _data(found, policy))


def _data(found: Status, policy: Policy) -> Iterator[str]:
    """``label=value[unit];warning;critical;minimum`` of each number; ages in seconds."""
    yield f"rules_broken={len(found.broken)};;0;0"
    if found.epoch:
        yield f"copies_good={len(found.epoch.good)};;{policy.copies}:;0"
    for label, age, limit in (
        ("epoch_age", found.age_seconds, policy.max_age_days),
        ("drill_age", found.last_drill_age_seconds, policy.max_drill_age_days),
        *(
            (
                f"newest_backup_age_{place}",
                (found.judged_at - at).total_seconds() if at else None,
                policy.max_backup_age_days,
            )
            for place, at in found.newest_backups.items()
        ),
    ):
        if age is not None:
            yield f"{label}={max(age, 0):.0f}s;;{f'{limit * _DAY:.0f}' if limit is not None else ''};0"
    if found.custodians:
        yield f"check_ins_overdue={sum(item.overdue for item in found.custodians)};;;0"
