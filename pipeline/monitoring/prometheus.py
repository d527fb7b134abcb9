"""The state of an escrow for Prometheus: a file for node-exporter's textfile collector.

Every sample has the key's fingerprint and its configured name: a host may look after several servers, and
of two equal series node-exporter keeps the first alone. The other labels are names of the configuration
and fixed words, never of backups or people: their number is bounded.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from pipeline.core import files
from pipeline.core.clock import parse_stamp
from pipeline.core.errors import Code, LocalFilesProblem
from pipeline.core.templates import expression, table
from pipeline.monitoring.status import Status

_LARGEST: Final = 1 << 20


class KeyLabels(NamedTuple):
    """Whose samples they are.

    Attributes:
        fingerprint: The key's; empty where a configuration that cannot be read has never shown it.
        name: What the configuration calls it (``key.name``); may be empty.
    """

    fingerprint: str = ""
    name: str = ""


def of_status(found: Status, now: datetime, name: str = "") -> bytes:
    """The exposition of a status that could be judged.

    Args:
        found: The status.
        now: The present time.
        name: What the configuration calls the key.
    """
    restored = [item for _, item in sorted(found.proven.items()) if not item.replaced]
    facts = {
        "found": found,
        "rules": sorted({rule.name for rule in found.rules}),
        "broken": {rule.name for rule in found.rules if not rule.ok},
        "restored": restored,
        "verified": [
            (place, parse_stamp(one.read.modified))
            for place, one in found.verified_backups.items()
            if one and one.read.modified
        ],
        "backups": Counter(_backup(backup.code) for backup in found.backups),
    }
    return _exposition(KeyLabels(found.survey.fingerprint, name), found.code, now, **facts)


def of_failure(code: Code, now: datetime, key: KeyLabels) -> bytes:
    """The exposition of a status that could not be judged: what it was before is not repeated.

    Args:
        code: Why.
        now: The present time.
        key: Whose it is.
    """
    return _exposition(key, code, now, found=None)


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


def merged(pages: Mapping[str, bytes]) -> bytes:
    """One exposition of several: each family once, with the samples of all.

    A page's name becomes the label ``config`` of its samples: of two configurations for one key none hides
    the other, and no two samples are equal, for which node-exporter would drop the whole file.

    Args:
        pages: What :func:`of_status` or :func:`of_failure` gave, by name.
    """
    families: dict[str, tuple[list[str], list[str]]] = {}
    for called, page in pages.items():
        head: list[str] = []
        name = ""
        label = called.translate({ord(char): f"\\{char}" for char in '\\"'}).replace("\n", "\\n")
        for line in page.decode().removesuffix("\n").split("\n"):
            if line.startswith("# HELP "):
                head, name = [line], line.split(" ")[2]
            elif line.startswith("#"):
                head.append(line)
            else:
                sample = line.replace("{", f'{{config="{label}",', 1)
                families.setdefault(name, (head, []))[1].append(sample)
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


def _exposition(key: KeyLabels, code: Code, now: datetime, **facts: Any) -> bytes:
    """Write the families of ``metrics.toml``."""
    from prometheus_client import CollectorRegistry, Gauge, generate_latest

    registry, whose, families = CollectorRegistry(), key._asdict(), table(__package__, "metrics.toml")
    facts |= {"code": int(code), "now": now}
    for row in [*(families["judged"] if facts["found"] else ()), *families["ended"]]:
        labels, samples = row.get("labels", {}), []
        for it in expression(row.get("each", "[none]"))(facts) or ():
            value = expression(row["value"])(facts, it=it)
            if value is not None:
                values = [expression(text)(facts, it=it) for text in labels.values()]
                samples.append((values, float(value)))
        if samples:
            family = Gauge(f"orgkey_{row['name']}", row["help"], (*whose, *labels), registry=registry)
            for values, number in samples:
                family.labels(*whose.values(), *values).set(number)
    return generate_latest(registry)


def _backup(code: Code) -> str:
    return {Code.OK: "matched", Code.DEGRADED: "uncertain", Code.STALE: "unmatched"}.get(code, "unreadable")
