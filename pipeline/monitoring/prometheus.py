"""The state of an escrow for Prometheus: a file for node-exporter's textfile collector.

Every sample has the key's fingerprint and its configured name: a host may look after several servers, and
of two equal series node-exporter keeps the first alone. The other labels are names of the configuration
and fixed words, never of backups or people: their number is bounded.
"""

from __future__ import annotations

import dataclasses
import os
import stat
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from pipeline.core import files
from pipeline.core.errors import Code, LocalFilesProblem
from pipeline.monitoring.status import Status

LIVE: Final = ("same", "renewed", "replaced", "unknown")
BACKUPS: Final = ("matched", "uncertain", "unmatched", "unreadable")
_LARGEST: Final = 1 << 20


@dataclass(frozen=True)
class Sample:
    """One value.

    Attributes:
        value: In base units.
        labels: What it is of.
    """

    value: float
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Of:
    """Whose samples they are.

    Attributes:
        fingerprint: The key's; empty where a configuration that cannot be read has never told it.
        name: What the configuration calls it (``key.name``); may be empty.
    """

    fingerprint: str = ""
    name: str = ""


class Page:
    """An exposition, family by family.

    Args:
        of: Whose samples they are.
    """

    def __init__(self, of: Of) -> None:
        from prometheus_client import CollectorRegistry

        self._registry = CollectorRegistry()
        self._of = dataclasses.asdict(of)

    def gauge(self, name: str, words: str, samples: Iterable[Sample]) -> None:
        """Add a family; one without a sample is left out.

        Args:
            name: Its name, without the prefix.
            words: What it is.
            samples: Its values, all with the same labels.
        """
        from prometheus_client import Gauge

        family: Gauge | None = None
        for item in samples:
            if family is None:
                labels = (*self._of, *item.labels)
                family = Gauge(f"orgkey_{name}", words, labels, registry=self._registry)
            family.labels(**self._of, **item.labels).set(float(item.value))

    def render(self) -> bytes:
        """The file."""
        from prometheus_client import generate_latest

        return generate_latest(self._registry)


def one(value: float | None, **labels: str) -> list[Sample]:
    """A family's only value, or none."""
    return [] if value is None else [Sample(value, labels)]


def of_status(found: Status, now: datetime, name: str = "") -> bytes:
    """The exposition of a status that could be judged.

    Args:
        found: The status.
        now: The present time.
        name: What the configuration calls the key.
    """
    page = Page(Of(found.survey.fingerprint, name))
    copies = found.epoch.copies if found.epoch else ()
    restored = [pair for pair in sorted(found.proven.items()) if not pair[1].replaced]
    rules: dict[str, bool] = {}
    for rule in found.rules:
        rules[rule.name] = rules.get(rule.name, True) and rule.ok
    page.gauge("gate_ok", "Whether every rule of the gate holds.", one(not found.broken))
    page.gauge(
        "gate_rule_ok",
        "Whether a rule of the gate holds everywhere.",
        (Sample(ok, {"rule": name}) for name, ok in sorted(rules.items())),
    )
    page.gauge("epoch_age_seconds", "Since the latest epoch was made.", one(found.age_seconds))
    page.gauge(
        "last_drill_timestamp_seconds",
        "When this host last restored a copy by a path in a drill.",
        (Sample(item.at.timestamp(), {"copy": copy, "path": path}) for (copy, path), item in restored),
    )
    page.gauge(
        "drill_rto_seconds",
        "How long that restore took.",
        (
            Sample(item.seconds, {"copy": copy, "path": path})
            for (copy, path), item in restored
            if item.seconds is not None
        ),
    )
    page.gauge(
        "copy_ok",
        "Whether the copy of the latest epoch was read whole and is authentic.",
        (Sample(copy.ok, {"target": copy.target, "domain": copy.domain}) for copy in copies),
    )
    page.gauge(
        "copy_retention_seconds",
        "What is left of the lock of the latest epoch's copy.",
        (
            Sample((copy.retain_until - now).total_seconds(), {"target": copy.target})
            for copy in copies
            if copy.retain_until
        ),
    )
    page.gauge(
        "live_state",
        "How the server's live key stands to the escrowed one; 1 for the state that it is in.",
        (Sample(found.live.state == state, {"state": state}) for state in LIVE),
    )
    if found.backups:
        states = Counter(_backup(backup.code) for backup in found.backups)
        page.gauge(
            "backups",
            "Backups that lie in the configured places, by whom they are encrypted to; none was opened.",
            (Sample(states[state], {"state": state}) for state in BACKUPS),
        )
    newest = found.newest_backup
    page.gauge(
        "newest_backup_timestamp_seconds",
        "When the newest backup was written.",
        one(newest.timestamp() if newest else None),
    )
    page.gauge(
        "custodian_overdue",
        "Shares of people whose check-in is overdue.",
        one(sum(item.overdue for item in found.custodians) if found.custodians else None),
    )
    _end(page, True, found.code, now)
    return page.render()


def of_failure(code: Code, now: datetime, of: Of) -> bytes:
    """The exposition of a status that could not be judged: what it was before is not repeated.

    Args:
        code: Why.
        now: The present time.
        of: Whose it is.
    """
    page = Page(of)
    _end(page, False, code, now)
    return page.render()


def before(path: Path) -> Of:
    """Whose samples a file has: what is left to say whose it is where the configuration cannot be read.

    Args:
        path: The file that is about to be replaced.
    """
    from prometheus_client.parser import text_string_to_metric_families

    try:
        data = files.read_regular(path, _LARGEST) or b""
        for family in text_string_to_metric_families(data.decode()):
            for sample in family.samples:
                return Of(sample.labels.get("fingerprint", ""), sample.labels.get("name", ""))
    except (OSError, ValueError):
        pass
    return Of()


def write(path: Path, data: bytes) -> None:
    """Replace the file at once; readable by all, as the collector is another user.

    Args:
        path: Where, ending in ``.prom`` for node-exporter.
        data: The exposition.

    Raises:
        LocalFilesProblem: It cannot be written, or something is there that is no file.
    """
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        mode = stat.S_IFREG  # nothing is there, or the writing says why not
    if not stat.S_ISREG(mode):
        raise LocalFilesProblem(
            f"{path} is not a file, so it is not replaced", hint="name a file in the collector's directory"
        )
    files.replace(path, data, mode=0o644)


def _end(page: Page, judged: bool, code: Code, now: datetime) -> None:
    page.gauge("status_ok", "Whether the status could be judged at all.", one(judged))
    page.gauge("exit_code", "The exit code of that run of orgkey status.", one(int(code)))
    page.gauge("last_status_timestamp_seconds", "When orgkey status last ran.", one(now.timestamp()))


def _backup(code: Code) -> str:
    return {Code.OK: "matched", Code.DEGRADED: "uncertain", Code.STALE: "unmatched"}.get(code, "unreadable")
