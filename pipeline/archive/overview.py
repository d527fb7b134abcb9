"""What `list`, `verify` and `status` say of everything that is stored."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pipeline.archive.catalog import Catalog, CopyState
from pipeline.core.clock import Deadline
from pipeline.core.errors import Code, OrgkeyError, first_of
from pipeline.custody.shares.manifest_section import PathEntry
from pipeline.evidence.ledger.events import VerifyEvent
from pipeline.record.verify import Record

_CALL = re.compile(r"^(?:target|holder) [^ ]+, [^:]+: ")
"""What a message begins with where it names the call; the cause may be the same for several."""
_PEOPLE = {"openpgp": "custodians", "paper": "sheets"}


@dataclass(frozen=True)
class Silence:
    """One cause that keeps something from being looked at: what is behind it is not known.

    Attributes:
        subjects: What could not be looked at: targets, copies, holders.
        code: The exit code that it stands for.
        message: The cause.
        hint: What to do.
        stores: Whether a target or a copy is among them, so that it is not known what is stored.
    """

    subjects: tuple[str, ...]
    code: Code
    message: str
    hint: str
    stores: bool = True

    @property
    def text(self) -> str:
        """In one line."""
        how = "reached" if self.code in (Code.UNREACHABLE, Code.DEADLINE) else "asked"
        named = (
            f"{' and '.join(self.subjects)} cannot be {how}" if self.stores else "a holder cannot be asked"
        )
        return "; ".join(filter(None, (f"{named}: {self.message}", self.hint)))


def silences(surveys: Iterable[Catalog], holders: Iterable[tuple[str, OrgkeyError]] = ()) -> list[Silence]:
    """What could not be looked at, one for each cause: a server may be target and holder at once.

    Args:
        surveys: What is stored.
        holders: Holders that could not be asked, with the error.
    """
    silent = []
    for survey in surveys:
        for name, error in survey.unreachable.items():
            silent.append(Silence((f"target {name}",), error.code, error.message, error.hint))
        for copy in (copy for epoch in survey.epochs for copy in epoch.copies):
            if copy.standing is CopyState.UNREACHABLE and copy.target not in survey.unreachable:
                why = copy.problem or "it cannot be read"
                silent.append(Silence((f"the copy at {copy.target}",), copy.code, why, copy.hint or ""))
    for name, error in holders:
        silent.append(Silence((f"holder {name}",), error.code, error.message, error.hint, stores=False))
    found: dict[str, Silence] = {}
    for item in silent:
        cause = _CALL.sub("", item.message)
        known = found.get(cause)
        subjects = dict.fromkeys((*(known.subjects if known else ()), *item.subjects))
        stores = item.stores or (known is not None and known.stores)
        found[cause] = replace(known or item, subjects=tuple(subjects), stores=stores)
    return list(found.values())


def needs(record: Record, path: PathEntry) -> tuple[str, ...]:
    """What a custody path needs, in words: ``3 of 5 custodians (people)``, ``vault``.

    Args:
        record: The record that the path is of.
        path: The path.
    """
    kinds = {name: item.kind for name, item in record.manifest.custody.holders.items()}
    return tuple(
        f"{need.threshold} of {need.size} {_PEOPLE[kinds[need.holder]]} ({need.holder})"
        if kinds[need.holder] in _PEOPLE
        else f"holder {need.holder} ({kinds[need.holder]})"
        for need in path.needs
    )


def replication_problems(surveys: Iterable[Catalog], now: datetime) -> list[str]:
    """What to tell of copies whose replication failed, or takes long.

    Args:
        surveys: What is stored.
        now: The present time.
    """
    return [
        f"{copy.location}: {problem}"
        for item in surveys
        for epoch in item.epochs
        for copy in epoch.copies
        if copy.replication and (problem := copy.replication.problem(now))
    ]


def verdict(survey: Catalog, copies: int) -> list[Code]:
    """The codes of everything that is wrong; too few good copies of an epoch weigh more than a missing one.

    A copy that could not be read counts for neither: whether it is good is not known.

    Args:
        survey: What is stored.
        copies: How many distinct failure domains must hold a good copy (``policy.copies``).
    """
    codes = survey.codes()
    for epoch in survey.epochs:
        known = {copy.domain for copy in epoch.copies if not copy.unread}
        unknown = {copy.domain for copy in epoch.copies if copy.unread}
        good = {copy.domain for copy in epoch.good}
        if len(good | unknown) < min(copies, len(known | unknown)):
            codes.append(Code.INTEGRITY)
        if any(copy.unlocked or copy.twin for copy in epoch.good):
            codes.append(Code.STALE)
    return codes


def judged(codes: Iterable[Code], deadline: Deadline) -> Code:
    """How a run ends that only looks; a clock that is wrong is named where nothing weighs more.

    Args:
        codes: Those of everything that is wrong.
        deadline: The run's, with what servers said of the time.
    """
    code = first_of(codes)
    wrong = deadline.dates.problem()
    return wrong.code if wrong and code in (Code.OK, Code.DEGRADED, Code.STALE) else code


def event(surveys: Sequence[Catalog], code: Code) -> VerifyEvent:
    """What the ledger keeps of a verification."""
    return VerifyEvent(
        code=int(code),
        epochs={
            epoch.name: {copy.target: "good" if copy.ok else copy.problem for copy in epoch.copies}
            for item in surveys
            for epoch in item.epochs
        },
        unreachable=tuple(sorted({name for item in surveys for name in item.unreachable})),
    )
