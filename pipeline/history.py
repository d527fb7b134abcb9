"""What the ledger tells of the past: every test restore, by copy and custody path."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pipeline.clock import parse_stamp
from pipeline.errors import LedgerBroken
from pipeline.results import NOT_REACHED, PROOFS

DRILLS: Final = frozenset({"drill", "drill-failed"})
"""The ledger's events that hold the results of test restores."""


@dataclass(frozen=True)
class Drilled:
    """What one copy proved on one path at one time.

    Attributes:
        at: When.
        epoch: The epoch's name.
        copy: The target whose copy it was.
        path: The custody path; ``-`` when the copy was not good enough to try one.
        passed: Whether everything was proven.
        seconds: The way from the stored copy to a proven key, in seconds; ``None`` when it did not get there.
        stages: Seconds by stage, see :class:`pipeline.results.Result`.
        problems: What failed, in words, empty when it passed.
        proofs: Whether each proof was made, by name.
        by: The implementations or holders behind each proof, by name.
        certificates: Files of the certificates that this drill issued.
        run: The run's correlation id.
        sequence: The ledger entry that says so.
    """

    at: datetime
    epoch: str
    copy: str
    path: str
    passed: bool
    seconds: float | None
    stages: Mapping[str, float]
    problems: tuple[str, ...]
    proofs: Mapping[str, bool]
    by: Mapping[str, tuple[str, ...]]
    certificates: tuple[str, ...]
    run: str
    sequence: int


def drills(entries: Iterable[Mapping[str, Any]]) -> tuple[Drilled, ...]:
    """Read the test restores out of a ledger, oldest first.

    Args:
        entries: The ledger's entries, oldest first; their chain was checked.

    Raises:
        LedgerBroken: An entry of a drill has another form.
    """
    found: list[Drilled] = []
    for entry in entries:
        if entry["event"] in DRILLS:
            try:
                found += (_drilled(entry, result) for result in entry["details"]["results"])
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise LedgerBroken(
                    f"ledger entry {entry['sequence']} is of a drill, and has another form",
                    hint="keep the folder as it is and find out who could write to it",
                ) from error
    return tuple(found)


def last_passed(found: Iterable[Drilled], epochs: frozenset[str]) -> dict[tuple[str, str], Drilled]:
    """The newest passed test restore of each copy and path, of these epochs.

    Args:
        found: As of :func:`drills`, oldest first.
        epochs: Names of epochs; a drill of an older record proves nothing about the present one.

    Returns:
        By copy and path.
    """
    return {(item.copy, item.path): item for item in found if item.passed and item.epoch in epochs}


def _drilled(entry: Mapping[str, Any], result: Mapping[str, Any]) -> Drilled:
    proofs = result["proofs"]
    passed = bool(result["passed"])
    stages = {str(stage): float(value) for stage, value in result["seconds"].items()}
    return Drilled(
        parse_stamp(entry["at"]),
        str(result["epoch"]),
        str(result["copy"]),
        str(result["path"]),
        passed,
        stages.get("total") if passed else None,
        stages,
        _problems(proofs),
        {str(name): bool(proof["ok"]) for name, proof in proofs.items()},
        {str(name): tuple(map(str, proof["by"])) for name, proof in proofs.items()},
        tuple(map(str, entry["details"].get("certificates", ()))),
        str(entry["run"]),
        int(entry["sequence"]),
    )


def _problems(proofs: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """What failed, in the proofs' own order; what was not even tried is left out."""
    order = {name: number for number, name in enumerate(PROOFS)}
    failed = [
        (name, str(proofs[name].get("problem") or "not proven"))
        for name in sorted(proofs, key=lambda name: order.get(name, len(order)))
        if not proofs[name]["ok"]
    ]
    tried = [(name, why) for name, why in failed if why != NOT_REACHED]
    return tuple(f"{name}: {why}" for name, why in tried or failed)
