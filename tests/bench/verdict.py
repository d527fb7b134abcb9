"""What was measured against what is allowed, as a table and as JSON."""

from __future__ import annotations

import os
import platform
import resource
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from tests.bench.measure import Series


@dataclass(frozen=True)
class Comparison:
    """One subject against its peer.

    Attributes:
        what: For people.
        ours: Our runs.
        peer: The peer's runs.
        limit: The largest ratio of the medians that is allowed.
        peak_limit_kib: How much memory our largest process may have at its peak, in KiB.
    """

    what: str
    ours: Series
    peer: Series
    limit: float
    peak_limit_kib: int | None = None

    @property
    def ratio(self) -> float:
        """Our median wall time over the peer's."""
        return self.ours.seconds / self.peer.seconds

    @property
    def by_pairs(self) -> float:
        """The median of the ratios of neighbouring runs: what to look at when the host's load drifts."""
        pairs = zip(self.ours.samples, self.peer.samples, strict=True)
        return median(ours.seconds / peer.seconds for ours, peer in pairs)

    @property
    def ok(self) -> bool:
        """Whether the limits are kept."""
        small = (
            self.peak_limit_kib is None
            or max(one.peak_kib for one in self.ours.samples) <= self.peak_limit_kib
        )
        return self.ratio <= self.limit and small

    def to_json(self) -> dict[str, Any]:
        """As part of the document orgkey.bench/1."""
        return {
            "what": self.what,
            "ours": _series(self.ours),
            "peer": _series(self.peer),
            "ratio": round(self.ratio, 4),
            "ratio_by_pairs": round(self.by_pairs, 4),
            "limit": self.limit,
            "peak_limit_kib": self.peak_limit_kib,
            "ok": self.ok,
        }


def document(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """The document orgkey.bench/1."""
    return {
        "schema": "orgkey.bench/1",
        "host": {
            "cpus": os.cpu_count(),
            "machine": platform.machine(),
            "system": platform.platform(),
            "python": sys.version.split()[0],
            "load": [round(value, 2) for value in os.getloadavg()],
        },
        "comparisons": [item.to_json() for item in comparisons],
        "ok": all(item.ok for item in comparisons),
    }


def table(comparisons: Sequence[Comparison]) -> list[str]:
    """The same for people."""
    head = ("what", "ours", "peer", "ratio", "by pairs", "limit", "verdict", "ours, peak", "peer, peak")
    rows = [
        (
            item.what,
            f"{item.ours.seconds:.3f} s",
            f"{item.peer.seconds:.3f} s",
            f"{item.ratio:.2f}",
            f"{item.by_pairs:.2f}",
            f"{item.limit:.2f}",
            "ok" if item.ok else "MISSED",
            _peak(item.ours),
            _peak(item.peer),
        )
        for item in comparisons
    ]
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    ]
    fewest = min(len(item.ours.samples) for item in comparisons)
    most = max(len(item.ours.samples) for item in comparisons)
    counts = f"{fewest} to {most}" if fewest != most else str(most)
    return [
        *lines,
        f"medians of {counts} alternating runs of each; peak: of the largest process of a run",
    ]


def _peak(series: Series) -> str:
    # A child's peak begins with what its parent had when it was started: below that nothing is known.
    floor = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return f"{'at most ' if series.peak_kib <= floor else ''}{series.peak_kib / 1024:.0f} MiB"


def _series(series: Series) -> dict[str, Any]:
    return {
        "name": series.name,
        "median_seconds": round(series.seconds, 4),
        "median_cpu_seconds": round(series.cpu_seconds, 4),
        "median_peak_kib": series.peak_kib,
        "seconds": [round(sample.seconds, 4) for sample in series.samples],
        "peak_kib": [sample.peak_kib for sample in series.samples],
    }
