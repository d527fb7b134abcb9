"""What becomes of one version's retention: nothing is ever shortened."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeVar

from pipeline.config import Config
from pipeline.config.places import S3TargetConfig
from pipeline.core.errors import Code, OrgkeyError, UsageProblem
from pipeline.core.isolation import isolated
from pipeline.storage.interface import LockMode, Retainer, Retention

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ].+)?\Z")
WORKERS: Final = 8
T = TypeVar("T")

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    V = TypeVar("V", bound=DataclassInstance)


class Action(StrEnum):
    """What becomes of one version."""

    EXTEND = "would extend"
    EXTENDED = "extended"
    KEPT = "kept"
    LEFT = "left alone"
    FAILED = "failed"


@dataclass(frozen=True)
class Request:
    """What an operator asks for.

    Attributes:
        until: The new end, with zone UTC.
        epochs: Names; ``None`` for all and for the ledger's mirrors, empty for the latest.
        targets: Names; empty for all that have a retention.
        mode: ``None`` keeps the mode that each version has.
    """

    until: datetime
    epochs: Collection[str] | None = None
    targets: tuple[str, ...] = ()
    mode: LockMode | None = None


@dataclass(frozen=True)
class Fate:
    """What becomes of one version.

    Attributes:
        before: The retention that was found.
        wanted: What it is to become, or became; ``None`` where that failed.
        action: What is, or was, done.
        problem: What is wrong or odd, in words.
        code: ``OK``, or why this version is not retained as asked.
        ours: Whether its bytes are known on this host; others are left alone, and are not a failure here.
    """

    before: Retention | None = None
    wanted: Retention | None = None
    action: Action = Action.LEFT
    problem: str | None = None
    code: Code = Code.OK
    ours: bool = True

    @property
    def irrevocable(self) -> bool:
        """Whether nobody could delete the version, or unlock it, before the new date."""
        return self.action is Action.EXTEND and self.wanted is not None and self.wanted.mode == "COMPLIANCE"

    def failed(self, error: OrgkeyError) -> Fate:
        """The same, with what went wrong."""
        return replace(self, action=Action.FAILED, wanted=None, problem=error.message, code=error.code)


def moment(text: str) -> datetime:
    """Read an end of retention: a date, whose last second in UTC is meant, or a date and time with a zone.

    Raises:
        UsageProblem: It is neither.
    """
    try:
        if not _DATE.match(text):
            raise ValueError  # Python reads weeks and dates without dashes, too
        if len(text) == len("2027-12-31"):
            return datetime.combine(date.fromisoformat(text), datetime.max.time(), UTC).replace(microsecond=0)
        given = datetime.fromisoformat(text)
        if given.tzinfo is None:
            raise ValueError
        return given.astimezone(UTC).replace(microsecond=0)
    except (ValueError, OverflowError):
        raise UsageProblem(
            f"--until {text!r} is not a date",
            hint="give a date like 2027-12-31, or a time with its zone like 2027-12-31T12:00:00Z",
        ) from None


def decide(
    request: Request, retainer: Retainer[T], item: T, found: Fate, *, configured: LockMode | None, where: str
) -> Fate:
    """Say what is to become of a version.

    Args:
        request: What is asked for.
        retainer: Looks at the present retention.
        item: The version, as the retainer names it.
        found: What is known of it so far; what is not ``OK`` is left alone.
        configured: The mode for versions without a retention.
        where: The version, for people.

    Raises:
        UsageProblem: It can only be had with another ``--mode``.
    """
    if found.code is not Code.OK or not found.ours:
        return found
    before = isolated(lambda: retainer.retention(item), where)
    if isinstance(before, OrgkeyError):
        return found.failed(before)
    fate = replace(found, before=before)
    mode = request.mode or (before.mode if before else configured)
    if mode is None:
        raise UsageProblem(
            f"{where} has no retention yet, and no mode is configured",
            hint="give --mode GOVERNANCE or COMPLIANCE, or set lock_mode and lock_days of the target",
        )
    wanted = Retention(mode, request.until)
    if before is None or (before.until < request.until and before.mode == mode):
        return replace(fate, wanted=wanted, action=Action.EXTEND)
    if before.mode == mode:
        return replace(fate, wanted=before, action=Action.KEPT)
    if before.mode == "COMPLIANCE":
        if before.until < request.until:
            raise UsageProblem(
                f"{where} is under COMPLIANCE, which nobody can weaken",
                hint="leave out --mode, or give --mode COMPLIANCE",
            )
        return replace(fate, wanted=before, action=Action.KEPT)
    if before.until > request.until:
        return replace(
            fate,
            wanted=before,
            action=Action.KEPT,
            problem="GOVERNANCE lasts longer than asked: for COMPLIANCE give that date, or a later one",
            code=Code.DEGRADED,
        )
    return replace(fate, wanted=wanted, action=Action.EXTEND)


def configured_mode(config: Config, target: str) -> LockMode | None:
    """The mode that a target gives to versions without a retention."""
    settings = config.target[target]
    return settings.lock_mode if isinstance(settings, S3TargetConfig) else None


def each(items: Collection[V], fate: Callable[[V], Fate]) -> tuple[V, ...]:
    """Every item with what becomes of it, several at a time; in their order.

    Args:
        items: Frozen values with a ``fate``.
        fate: What becomes of one.
    """

    def one(item: V) -> V:
        return replace(item, fate=fate(item))

    with ThreadPoolExecutor(max_workers=WORKERS, thread_name_prefix="retain") as pool:
        return tuple(pool.map(one, items))


def extend(retainer: Retainer[T], item: T, fate: Fate) -> Fate:
    """Do what was decided."""
    if fate.action is not Action.EXTEND or fate.wanted is None:
        return fate
    wanted = fate.wanted
    after = isolated(lambda: retainer.retain(item, wanted), f"target {retainer.name}")
    if isinstance(after, OrgkeyError):
        return fate.failed(after)
    return replace(fate, wanted=after, action=Action.EXTENDED)
