"""The answer on the first page: can the key be restored today, from where, by whom, how fast."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from pipeline.config.sections import Policy
from pipeline.core.clock import AHEAD, within
from pipeline.evidence.ledger.drill_history import Drilled, LastKnown
from pipeline.report.drill_facts import Cell, ProofState
from pipeline.report.model import CopyFacts, PathFacts, ReportVerdict, Restorability

_PEOPLE: Final = re.compile(r"([0-9]+ of [0-9]+) (custodians|sheets) ")


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
    # One that a wrong clock dated in the future counts where there is no other, and heals nothing.
    mine = sorted(
        (item for item in drills if item.epoch == epoch),
        key=lambda item: not item.passed or item.at - now <= AHEAD,
    )
    return tuple(_cell(copy, path, mine, policy, now) for copy in copies for path in paths)


def _cell(copy: CopyFacts, path: PathFacts, drills: Sequence[Drilled], policy: Policy, now: datetime) -> Cell:
    # A copy that was too bad to try a path counts against all of them.
    tried = [item for item in drills if item.copy == copy.target and item.path in (path.name, "-")]
    passed = [item for item in tried if item.passed and not item.replaced]
    last, proven = (tried[-1] if tried else None), (passed[-1] if passed else None)
    state, problem = ProofState.NEVER, None
    if not copy.ok:
        state, problem = ProofState.UNREADABLE, copy.problem
    elif last is not None and not last.passed:
        state, problem = ProofState.FAILED, "; ".join(last.problems)
    elif proven is not None:
        state = ProofState.OVERDUE if _old(proven.at, path, policy, now) else ProofState.PROVEN
    entries = sorted((item.entry for item in (last, proven) if item), key=lambda it: (it.host, it.number))
    return Cell(
        copy=copy.target,
        path=path.name,
        state=state,
        proven_at=proven.at if proven else None,
        tried_at=last.at if last else None,
        seconds=proven.seconds if proven else None,
        problem=problem,
        evidence=tuple(dict.fromkeys(entry.label for entry in entries)),
    )


def _old(at: datetime, path: PathFacts, policy: Policy, now: datetime) -> bool:
    """People cannot come every week: a path of theirs has the limit for paths alone."""
    limits = [policy.max_path_drill_age_days]
    if not path.people:
        limits += [policy.max_drill_age_days, policy.max_copy_drill_age_days]
    days = min((limit for limit in limits if limit is not None), default=None)
    return days is not None and not within(now - at, days)


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
    known: LastKnown | None = None


def judge(
    copies: Sequence[CopyFacts], paths: Sequence[PathFacts], cells: Sequence[Cell], today: Today
) -> ReportVerdict:
    """Answer the question.

    Args:
        copies: The latest epoch's, as they are today; empty when nothing is stored, or nothing was seen.
        paths: The latest epoch's.
        cells: The matrix.
        today: What else is known.
    """
    good = tuple(copy.target for copy in copies if copy.ok)
    restored = (ProofState.PROVEN, ProofState.OVERDUE)
    ways = [cell for cell in cells if cell.state in restored and cell.path not in today.closed]
    open_paths = tuple(path for path in paths if any(cell.path == path.name for cell in ways))
    gaps = dict.fromkeys([*(f"path {name}: {why}" for name, why in today.closed.items()), *today.gaps])
    proven_at = max((cell.proven_at for cell in cells if cell.proven_at), default=None)
    known = f"{len(good)} of {len(copies)} copies"
    if ways:
        answer, sentence = _restorable(known, len(paths), ways, today)
    elif good:
        answer, sentence = _shut(known, paths, cells, today.closed)
    elif today.unseen:
        answer, sentence = _unknown(today)
        proven_at = proven_at or (today.known.proven if today.known else None)
    else:
        why = " today: no copy is good" if copies else ": nothing authentic is stored for it"
        answer, sentence = Restorability.NO, f"The Org Key cannot be restored{why}."
    return ReportVerdict(
        answer=Restorability.GAPS if answer is Restorability.YES and gaps else answer,
        sentence=sentence,
        where=good,
        paths=tuple(path.name for path in open_paths),
        people=any(path.people for path in open_paths),
        proven_at=proven_at,
        rto_seconds=max((cell.seconds for cell in ways if cell.seconds is not None), default=None),
        rto_objective=today.objective,
        gaps=tuple(gaps),
        evidence=tuple(sorted({item for cell in ways for item in cell.evidence})),
        by=tuple(f"{path.name} ({_who(path)})" for path in open_paths),
    )


def _unknown(today: Today) -> tuple[Restorability, str]:
    known = today.known.text if today.known else "this host's ledger does not name an epoch"
    sentence = f"Whether the Org Key can be restored is not known: {today.unseen} cannot be asked."
    return Restorability.UNKNOWN, f"{sentence} {known[0].upper()}{known[1:]}."


def _restorable(known: str, paths: int, ways: Sequence[Cell], today: Today) -> tuple[Restorability, str]:
    """Some copy was restored by some path that is open today: how lately."""
    counted = f"from {known} by {len({cell.path for cell in ways})} of {paths} custody paths"
    last = max((cell.proven_at for cell in ways if cell.proven_at), default=None)
    if all(cell.state is not ProofState.PROVEN for cell in ways):
        late = "the last proof of it is overdue"
    elif last is not None and last < today.since:
        ago = (today.now - last).days
        late = f"last proven {ago} days ago, no test restore passed since {today.since:%Y-%m-%d}"
    else:
        return Restorability.YES, f"The Org Key can be restored today {counted}."
    return Restorability.GAPS, f"The Org Key could be restored {counted}; {late}."


def _shut(
    known: str, paths: Sequence[PathFacts], cells: Sequence[Cell], closed: Mapping[str, str]
) -> tuple[Restorability, str]:
    """Copies are good, and no path that is open today has a proof."""
    failed = {cell.path for cell in cells if cell.state is ProofState.FAILED}
    shut = [path.name for path in paths if path.name in failed or path.name in closed]
    untried = [path.name for path in paths if path.name not in shut]
    if not untried:
        why = "copies are good, but no custody path opens them"
        return Restorability.NO, f"The Org Key cannot be restored today: {why}."
    why = "no test restore has proven one of them"
    if shut:
        why = f"{_named(shut)} does not open them today, and nothing has proven {_named(untried)} yet"
    return Restorability.UNPROVEN, f"{known} are good, but {why}."


def _named(paths: Sequence[str]) -> str:
    return f"custody path{'s' if len(paths) > 1 else ''} {' and '.join(paths)}"


def _who(path: PathFacts) -> str:
    """Who has to act for a path: ``3 of 5 people``, ``machines alone``."""
    people = [
        f"{found[1]} {'sheets of paper' if found[2] == 'sheets' else 'people'}"
        for need in path.needs
        if (found := _PEOPLE.match(need))
    ]
    if not people:
        return "people" if path.people else "machines alone"
    return " and ".join([*people, *(["machines"] if len(people) < len(path.needs) else [])])
