"""The answer on the first page: can the key be restored today, from where, by whom, how fast."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from pipeline.config import Policy
from pipeline.evidence.ledger.drill_history import Drilled, Known
from pipeline.report.model import Answer, Cell, CopyFacts, PathFacts, Proof, Verdict

_BROUGHT: Final = re.compile(r"([0-9]+ of [0-9]+) (custodians|sheets) ")


def matrix(
    copies: Sequence[CopyFacts],
    paths: Sequence[PathFacts],
    drills: Sequence[Drilled],
    epoch: str,
    policy: Policy,
    now: datetime,
) -> tuple[Cell, ...]:
    """How every copy stands on every path.

    Args:
        copies: The latest epoch's, as they are today.
        paths: The latest epoch's.
        drills: All of the ledger, oldest first.
        epoch: The latest epoch's name; a test restore of another one proves nothing here.
        policy: How old a proof may be.
        now: The present time.
    """
    mine = [item for item in drills if item.epoch == epoch]
    return tuple(_cell(copy, path, mine, policy, now) for copy in copies for path in paths)


def _cell(copy: CopyFacts, path: PathFacts, drills: Sequence[Drilled], policy: Policy, now: datetime) -> Cell:
    # A copy that was too bad to try a path counts against all of them.
    tried = [item for item in drills if item.copy == copy.target and item.path in (path.name, "-")]
    passed = [item for item in tried if item.passed and not item.replaced]
    last, proven = (tried[-1] if tried else None), (passed[-1] if passed else None)
    state = Proof.NEVER
    if not copy.ok:
        state = Proof.UNREADABLE
    elif last is not None and not last.passed:
        state = Proof.FAILED
    elif proven is not None:
        state = Proof.OVERDUE if _old(proven.at, path, policy, now) else Proof.PROVEN
    problem = copy.problem if not copy.ok else "; ".join(last.problems) if last and not last.passed else None
    told = [item.entry for item in (last, proven) if item]
    return Cell(
        copy.target,
        path.name,
        state,
        proven.at if proven else None,
        last.at if last else None,
        proven.seconds if proven else None,
        problem,
        tuple(dict.fromkeys(entry.label for entry in sorted(told, key=lambda one: (one.host, one.number)))),
    )


def _old(at: datetime, path: PathFacts, policy: Policy, now: datetime) -> bool:
    """People cannot come every week: a path of theirs has the limit for paths alone."""
    limits = [policy.max_path_drill_age_days]
    if not path.people:
        limits += [policy.max_drill_age_days, policy.max_copy_drill_age_days]
    days = min((limit for limit in limits if limit is not None), default=None)
    return days is not None and now - at > timedelta(days=days)


@dataclass(frozen=True)
class Today:
    """What a verdict is judged by beside copies, paths and proofs.

    Attributes:
        now: The present time.
        since: The beginning of the period.
        closed: Paths that could not be opened today, with the reason: a holder does not answer.
        gaps: What the gate and the ledger are short of, in words, worst first.
        objective: The recovery time that the policy allows, in seconds.
        unseen: Targets and copies that could not be looked at, in words; empty where all was.
        known: What this host knows of the newest epoch without asking anyone.
    """

    now: datetime
    since: datetime
    closed: Mapping[str, str] = field(default_factory=dict)
    gaps: Sequence[str] = ()
    objective: float | None = None
    unseen: str = ""
    known: Known | None = None


def judge(
    copies: Sequence[CopyFacts], paths: Sequence[PathFacts], cells: Sequence[Cell], today: Today
) -> Verdict:
    """Answer the question.

    Args:
        copies: The latest epoch's, as they are today; empty when nothing is stored, or nothing was seen.
        paths: The latest epoch's.
        cells: The matrix.
        today: What else is known.
    """
    closed = today.closed
    good = tuple(copy.target for copy in copies if copy.ok)
    ways = [cell for cell in cells if cell.state in (Proof.PROVEN, Proof.OVERDUE) and cell.path not in closed]
    open_paths = tuple(path for path in paths if any(cell.path == path.name for cell in ways))
    times = [cell.seconds for cell in ways if cell.seconds is not None]
    reasons = dict.fromkeys([*(f"path {name}: {why}" for name, why in closed.items()), *today.gaps])
    proven_at = max((cell.proven_at for cell in cells if cell.proven_at), default=None)
    answer, sentence = _answer(copies, paths, good, cells, ways, today)
    if answer is Answer.UNKNOWN and proven_at is None and today.known:
        proven_at = today.known.proven
    if answer is Answer.YES and reasons:
        answer = Answer.GAPS
    return Verdict(
        answer,
        sentence,
        good,
        tuple(path.name for path in open_paths),
        any(path.people for path in open_paths),
        proven_at,
        max(times, default=None),
        today.objective,
        tuple(reasons),
        tuple(sorted({item for cell in ways for item in cell.evidence})),
        tuple(f"{path.name} ({_who(path)})" for path in open_paths),
    )


def _answer(
    copies: Sequence[CopyFacts],
    paths: Sequence[PathFacts],
    good: Sequence[str],
    cells: Sequence[Cell],
    ways: Sequence[Cell],
    today: Today,
) -> tuple[Answer, str]:
    if not good and today.unseen:
        known = today.known.text if today.known else "this host's ledger knows of no epoch"
        said = f"Whether the Org Key can be restored is not known: {today.unseen} cannot be asked."
        return Answer.UNKNOWN, f"{said} {known[0].upper()}{known[1:]}."
    if not copies:
        return Answer.NO, "The Org Key cannot be restored: nothing authentic is stored for it."
    if not good:
        return Answer.NO, "The Org Key cannot be restored today: no copy is good."
    if ways:
        return _restorable(copies, paths, good, ways, today)
    return _shut(copies, paths, good, cells, today.closed)


def _restorable(
    copies: Sequence[CopyFacts],
    paths: Sequence[PathFacts],
    good: Sequence[str],
    ways: Sequence[Cell],
    today: Today,
) -> tuple[Answer, str]:
    """Some copy was restored by some path that is open today: how lately."""
    opened = len({cell.path for cell in ways})
    counted = f"from {len(good)} of {len(copies)} copies by {opened} of {len(paths)} custody paths"
    last = max((cell.proven_at for cell in ways if cell.proven_at), default=None)
    if all(cell.state is not Proof.PROVEN for cell in ways):
        return Answer.GAPS, f"The Org Key could be restored {counted}; the last proof of it is overdue."
    if last is not None and last < today.since:
        ago = f"{(today.now - last).days} days ago"
        return (
            Answer.GAPS,
            f"The Org Key could be restored {counted}; last proven {ago}, no test restore passed since "
            f"{today.since:%Y-%m-%d}.",
        )
    return Answer.YES, f"The Org Key can be restored today {counted}."


def _shut(
    copies: Sequence[CopyFacts],
    paths: Sequence[PathFacts],
    good: Sequence[str],
    cells: Sequence[Cell],
    closed: Mapping[str, str],
) -> tuple[Answer, str]:
    """Copies are good, and no path that is open today has a proof."""
    failed = {cell.path for cell in cells if cell.state is Proof.FAILED}
    shut = [path.name for path in paths if path.name in failed or path.name in closed]
    untried = [path.name for path in paths if path.name not in shut]
    counted = f"{len(good)} of {len(copies)} copies are good, but"
    if not untried:
        return (
            Answer.NO,
            "The Org Key cannot be restored today: copies are good, but no custody path opens them.",
        )
    if not shut:
        return Answer.UNPROVEN, f"{counted} no test restore has proven one of them."
    return (
        Answer.UNPROVEN,
        f"{counted} {_named(shut)} does not open them today, and nothing has proven {_named(untried)} yet.",
    )


def _named(paths: Sequence[str]) -> str:
    return f"custody path{'s' if len(paths) > 1 else ''} {' and '.join(paths)}"


def _who(path: PathFacts) -> str:
    """Who has to act for a path: ``3 of 5 people``, ``machines alone``."""
    brought = [found for need in path.needs if (found := _BROUGHT.match(need))]
    said = [f"{one[1]} {'sheets of paper' if one[2] == 'sheets' else 'people'}" for one in brought]
    if not said:
        return "people" if path.people else "machines alone"
    return " and ".join([*said, *(["machines"] if len(said) < len(path.needs) else [])])
