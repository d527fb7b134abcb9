"""What a fleet's run shows: a screen, a page for managers, one file of metrics."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.cli.fleet_run import MemberResult
from pipeline.cli.output import counted, table
from pipeline.core.errors import Code
from pipeline.core.exit_codes import PRECEDENCE
from pipeline.monitoring import prometheus
from pipeline.report.formats import fleet


def lines(results: Sequence[MemberResult], verdicts: Mapping[str, int], code: Code, most: int) -> list[str]:
    """What a person reads: how many have which verdict, and then only those that are not good.

    Args:
        results: Of each member.
        verdicts: How many have which.
        code: How the run ends.
        most: So many are named.
    """
    bad = sorted((item for item in results if item.code is not Code.OK), key=lambda item: _rank(item.code))
    rows = [(item.member.name, str(int(item.code)), _why(item)) for item in bad[:most]]
    counts = ", ".join(
        f"{verdicts[name]} {name}" for name in sorted(verdicts, key=lambda name: (name != "good", name))
    )
    return [
        *(table(("key", "code", "why"), rows) if rows else ()),
        *([f"and {len(bad) - most} more"] if len(bad) > most else []),
        *([""] if rows else []),
        f"{counted(len(results), 'key')}: {counts or 'none'}; exit code {int(code)}: {code.meaning}",
    ]


def _rank(code: Code) -> int:
    return PRECEDENCE.index(code) if code in PRECEDENCE else len(PRECEDENCE)


def _why(item: MemberResult) -> str:
    if item.problem:
        return item.problem
    document = item.document or {}
    broken = (document.get("gate") or {}).get("broken") or [
        found["message"] for found in document.get("findings", ()) if found.get("level") == "fail"
    ]
    more = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
    return f"{str(broken[0]).partition(';')[0]}{more}" if broken else item.code.meaning


@contextmanager
def metrics_of(path: Path | None, names: Sequence[str]) -> Iterator[Callable[[str], Sequence[str]]]:
    """Have each member write its metrics, and write them as one file in the end.

    Args:
        path: Where; ``None`` for no metrics.
        names: The members' names.
    """
    if path is None:
        yield lambda _: ()
        return
    with tempfile.TemporaryDirectory(prefix="orgkey-metrics-") as folder:
        parts = {name: Path(folder, f"{name}.prom") for name in sorted(names)}
        for name, part in parts.items():  # what stays where a member ends before it has judged anything
            whose = prometheus.KeyLabels(name=name)
            part.write_bytes(prometheus.of_failure(Code.INTERNAL, datetime.now(UTC), whose))
        yield lambda name: ("--metrics", str(parts[name]))
        prometheus.write(path, prometheus.merged({name: part.read_bytes() for name, part in parts.items()}))


def page(results: Sequence[MemberResult], links: Mapping[str, str]) -> bytes:
    """The page for managers.

    Args:
        results: Each member's status.
        links: The name of each member's report beside the page, by the member's name.
    """
    rows = []
    for item in results:
        document: Mapping[str, Any] = item.document or {}
        backup = document.get("verified_backup")
        overdue = [one for one in document.get("custodians", ()) if one.get("overdue")]
        rows.append(
            fleet.FleetRow(
                item.member.name,
                document.get("fingerprint") or "",
                item.verdict,
                int(item.code),
                document.get("last_drill_age_seconds"),
                backup["modified"] if backup else None,
                tuple(str(one["name"]) for one in overdue),
                "" if item.code is Code.OK else _why(item),
                links.get(item.member.name, ""),
            )
        )
    return fleet.render(rows, datetime.now(UTC))
