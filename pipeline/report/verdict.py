"""The answer on the first page: can the key be restored today, from where, by whom, how fast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from pipeline.config import Policy
from pipeline.history import Drilled
from pipeline.report.model import Answer, Cell, CopyFacts, PathFacts, Proof, Verdict


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
    passed = [item for item in tried if item.passed]
    last, proven = (tried[-1] if tried else None), (passed[-1] if passed else None)
    state = Proof.NEVER
    if not copy.ok:
        state = Proof.UNREADABLE
    elif last is not None and not last.passed:
        state = Proof.FAILED
    elif proven is not None:
        state = Proof.OVERDUE if _old(proven.at, path, policy, now) else Proof.PROVEN
    problem = copy.problem if not copy.ok else "; ".join(last.problems) if last and not last.passed else None
    told = {item.sequence for item in (last, proven) if item}
    return Cell(
        copy.target,
        path.name,
        state,
        proven.at if proven else None,
        last.at if last else None,
        proven.seconds if proven else None,
        problem,
        tuple(f"L{number}" for number in sorted(told)),
    )


def _old(at: datetime, path: PathFacts, policy: Policy, now: datetime) -> bool:
    """People cannot come every week: a path of theirs has the limit for paths alone."""
    limits = [policy.max_path_drill_age_days]
    if not path.people:
        limits += [policy.max_drill_age_days, policy.max_copy_drill_age_days]
    days = min((limit for limit in limits if limit is not None), default=None)
    return days is not None and now - at > timedelta(days=days)


def judge(
    copies: Sequence[CopyFacts],
    paths: Sequence[PathFacts],
    cells: Sequence[Cell],
    closed: Mapping[str, str],
    gaps: Sequence[str],
    objective: float | None,
) -> Verdict:
    """Answer the question.

    Args:
        copies: The latest epoch's, as they are today; empty when nothing is stored.
        paths: The latest epoch's.
        cells: The matrix.
        closed: Paths that cannot be opened today, with the reason: a holder does not answer.
        gaps: What the gate and the ledger are short of, in words, worst first.
        objective: The recovery time that the policy allows, in seconds.
    """
    good = tuple(copy.target for copy in copies if copy.ok)
    ways = [cell for cell in cells if cell.state in (Proof.PROVEN, Proof.OVERDUE) and cell.path not in closed]
    proven = [cell for cell in ways if cell.state is Proof.PROVEN]
    open_paths = tuple(path.name for path in paths if any(cell.path == path.name for cell in ways))
    times = [cell.seconds for cell in ways if cell.seconds is not None]
    rto = max(times, default=None)
    reasons = list(dict.fromkeys([*(f"path {name}: {why}" for name, why in closed.items()), *gaps]))
    proven_at = max((cell.proven_at for cell in cells if cell.proven_at), default=None)
    answer, sentence = _answer(copies, paths, good, open_paths, ways, proven, cells, closed)
    if answer is Answer.YES and reasons:
        answer = Answer.GAPS
    return Verdict(
        answer,
        sentence,
        good,
        open_paths,
        any(path.people for path in paths if path.name in open_paths),
        proven_at,
        rto,
        objective,
        tuple(reasons),
        tuple(sorted({item for cell in ways for item in cell.evidence})),
    )


def _answer(
    copies: Sequence[CopyFacts],
    paths: Sequence[PathFacts],
    good: Sequence[str],
    open_paths: Sequence[str],
    ways: Sequence[Cell],
    proven: Sequence[Cell],
    cells: Sequence[Cell],
    closed: Mapping[str, str],
) -> tuple[Answer, str]:
    if not copies:
        return Answer.NO, "The Org Key cannot be restored: nothing authentic is stored for it."
    if not good:
        return Answer.NO, "The Org Key cannot be restored today: no copy is good."
    if ways:
        counted = (
            f"from {len(good)} of {len(copies)} copies by {len(open_paths)} of {len(paths)} custody paths"
        )
        if proven:
            return Answer.YES, f"The Org Key can be restored today {counted}."
        return Answer.GAPS, f"The Org Key could be restored {counted}; the last proof of it is overdue."
    failed = {cell.path for cell in cells if cell.state is Proof.FAILED}
    shut = [path.name for path in paths if path.name in closed or path.name in failed]
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
