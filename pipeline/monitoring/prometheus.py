"""The state of an escrow for Prometheus: a file for node-exporter's textfile collector.

Every sample has the key's fingerprint and its configured name: a host may look after several servers, and
of two equal series node-exporter keeps the first alone. The other labels are names of the configuration
and fixed words, never of backups or people: their number is bounded.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

from pipeline.core import files
from pipeline.core.clock import parse_stamp
from pipeline.core.errors import Code, LocalFilesProblem
from pipeline.monitoring.status import Status

LIVE: Final = ("same", "renewed", "replaced", "unknown")
BACKUPS: Final = ("matched", "uncertain", "unmatched", "unreadable")
_LARGEST: Final = 1 << 20


class KeyLabels(NamedTuple):
    """Whose samples they are.

    Attributes:
        fingerprint: The key's; empty where a configuration that cannot be read has never shown it.
        name: What the configuration calls it (``key.name``); may be empty.
    """

    fingerprint: str = ""
    name: str = ""


class Page:
    """An exposition, family by family.

    Args:
        key: Whose samples they are.
    """

    def __init__(self, key: KeyLabels) -> None:
        from prometheus_client import CollectorRegistry

        self._registry = CollectorRegistry()
        self._key = key._asdict()

    def gauge(self, name: str, words: str, value: float | None) -> None:
        """Add a family of one sample; left out without a value.

        Args:
            name: Its name, without the prefix.
            words: What it is.
            value: Its value, in base units.
        """
        self.gauges(name, words, (), [((), value)] if value is not None else [])

    def gauges(
        self, name: str, words: str, labels: tuple[str, ...], samples: Iterable[tuple[tuple[str, ...], float]]
    ) -> None:
        """Add a family; one without a sample is left out.

        Args:
            name: Its name, without the prefix.
            words: What it is.
            labels: What samples are told apart by.
            samples: For each its labels' values, and its value in base units.
        """
        from prometheus_client import Gauge

        found = list(samples)
        if found:
            family = Gauge(f"orgkey_{name}", words, (*self._key, *labels), registry=self._registry)
            for values, value in found:
                family.labels(*self._key.values(), *values).set(float(value))

    def render(self) -> bytes:
        """The file."""
        from prometheus_client import generate_latest

        return generate_latest(self._registry)


def of_status(found: Status, now: datetime, name: str = "") -> bytes:
    """The exposition of a status that could be judged.

    Args:
        found: The status.
        now: The present time.
        name: What the configuration calls the key.
    """
    page = Page(KeyLabels(found.survey.fingerprint, name))
    copies = found.epoch.copies if found.epoch else ()
    restored = [(pair, item) for pair, item in sorted(found.proven.items()) if not item.replaced]
    broken = {rule.name for rule in found.rules if not rule.ok}
    rules = [((name,), name not in broken) for name in sorted({rule.name for rule in found.rules})]
    page.gauge("gate_ok", "Whether every rule of the gate holds.", not found.broken)
    page.gauges("gate_rule_ok", "Whether a rule of the gate holds everywhere.", ("rule",), rules)
    page.gauge("epoch_age_seconds", "Since the latest epoch was made.", found.age_seconds)
    page.gauges(
        "last_drill_timestamp_seconds",
        "When this host last restored a copy by a path in a drill.",
        ("copy", "path"),
        ((pair, item.at.timestamp()) for pair, item in restored),
    )
    page.gauges(
        "drill_rto_seconds",
        "How long that restore took.",
        ("copy", "path"),
        ((pair, item.seconds) for pair, item in restored if item.seconds is not None),
    )
    page.gauges(
        "copy_ok",
        "Whether the copy of the latest epoch was read whole and is authentic.",
        ("target", "domain"),
        (((copy.target, copy.domain), copy.ok) for copy in copies),
    )
    page.gauges(
        "copy_retention_seconds",
        "What is left of the lock of the latest epoch's copy.",
        ("target",),
        (((it.target,), (it.retain_until - now).total_seconds()) for it in copies if it.retain_until),
    )
    page.gauges(
        "live_state",
        "How the server's live key stands to the escrowed one; 1 for the state that it is in.",
        ("state",),
        (((state,), found.live.state == state) for state in LIVE),
    )
    if found.backups:
        states = Counter(_backup(backup.code) for backup in found.backups)
        page.gauges(
            "backups",
            "Backups that are in the configured places, by whom they are encrypted to; none was opened.",
            ("state",),
            (((state,), states[state]) for state in BACKUPS),
        )
    newest = found.newest_backup.timestamp() if found.newest_backup else None
    page.gauge("newest_backup_timestamp_seconds", "When the newest backup was written.", newest)
    read = found.verified_backup
    page.gauge(
        "newest_verified_backup_timestamp_seconds",
        "When the newest backup was written that was read to its end, as it lies there now.",
        parse_stamp(read.read.modified).timestamp() if read and read.read.modified else None,
    )
    overdue = sum(item.overdue for item in found.custodians) if found.custodians else None
    page.gauge("custodian_overdue", "Shares of people whose check-in is overdue.", overdue)
    return _ended(page, True, found.code, now)


def of_failure(code: Code, now: datetime, key: KeyLabels) -> bytes:
    """The exposition of a status that could not be judged: what it was before is not repeated.

    Args:
        code: Why.
        now: The present time.
        key: Whose it is.
    """
    return _ended(Page(key), False, code, now)


def before(path: Path) -> KeyLabels:
    """Whose samples a file has: what is left to say whose it is where the configuration cannot be read.

    Args:
        path: The file that is about to be replaced.
    """
    from prometheus_client.parser import text_string_to_metric_families

    try:
        data = files.read_regular(path, _LARGEST) or b""
        for family in text_string_to_metric_families(data.decode()):
            for sample in family.samples:
                return KeyLabels(sample.labels.get("fingerprint", ""), sample.labels.get("name", ""))
    except (OSError, ValueError):
        pass
    return KeyLabels()


def merged(pages: Iterable[bytes]) -> bytes:
    """One exposition of several: each family once, with the samples of all.

    Args:
        pages: What :func:`of_status` or :func:`of_failure` gave.
    """
    families: dict[str, tuple[list[str], list[str]]] = {}
    for page in pages:
        head: list[str] = []
        name = ""
        for line in page.decode().splitlines():
            if line.startswith("# HELP "):
                head, name = [line], line.split(" ")[2]
            elif line.startswith("#"):
                head.append(line)
            else:
                families.setdefault(name, (head, []))[1].append(line)
    lines = [line for head, samples in families.values() for line in (*head, *samples)]
    return "".join(f"{line}\n" for line in lines).encode()


def write(path: Path, data: bytes) -> None:
    """Replace the file at once; readable by all, as the collector is another user.

    Args:
        path: Where, ending in ``.prom`` for node-exporter.
        data: The exposition.

    Raises:
        LocalFilesProblem: It cannot be written, or what is there is not a file.
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


def _ended(page: Page, judged: bool, code: Code, now: datetime) -> bytes:
    page.gauge("status_ok", "Whether the status could be judged at all.", judged)
    page.gauge("exit_code", "The exit code of that run of orgkey status.", int(code))
    page.gauge("last_status_timestamp_seconds", "When orgkey status last ran.", now.timestamp())
    return page.render()


def _backup(code: Code) -> str:
    return {Code.OK: "matched", Code.DEGRADED: "uncertain", Code.STALE: "unmatched"}.get(code, "unreadable")
