"""Which custody plan the newest epoch follows that anything here knows of.

A new epoch hands out shares of the Org Key. Whoever can write to the configuration must not choose who
gets them: a plan is compared with that of the newest epoch, as the stored records, the journal and the
ledger know it. What was known once counts also where it cannot be read now.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from pipeline.archive.catalog import Catalog
from pipeline.archive.run import KeyScope
from pipeline.core.clock import AHEAD
from pipeline.core.errors import ClockProblem, IntegrityProblem, OrgkeyError, Stale
from pipeline.core.isolation import isolated
from pipeline.custody import plan_change
from pipeline.evidence.ledger.drill_history import read
from pipeline.evidence.ledger.entry import Malformed
from pipeline.evidence.ledger.events import EpochStored, MalformedEvent, event_of
from pipeline.evidence.ledger.store import LedgerEntry
from pipeline.record.create import CustodyPlan
from pipeline.record.verify import Record, verify_record
from pipeline.storage.ledger_mirror import Mirror
from pipeline.storage.names import is_epoch

EVENTS: Final = frozenset({"escrow", "rotate", "refresh"})
"""The ledger's events that tell of an epoch that was made."""
_HINT: Final = (
    "make sure that this plan is meant, and that the targets are where they were; then give "
    "--accept-custody-change, or put the old plan back"
)
_LOOKED_AT: Final = 16
"""Of how many hosts, how many of a mirror's newest entries are read for an epoch that is not known here."""
INSIST: Final = (
    "If it is lost for good, `orgkey escrow --new-epoch` insists, with --accept-custody-change where "
    "nothing else knows the last custody plan"
)
"""What an operator can do who has lost what is stored."""


@dataclass(frozen=True)
class Remembered:
    """An epoch that this host made or proved.

    Attributes:
        epoch: Its name.
        plan: The digest of its custody plan; ``None`` where nothing says it.
        where: What remembers it, for people.
    """

    epoch: str
    plan: str | None
    where: str


def require_same(
    scope: KeyScope, last: Record | None, plan: CustodyPlan, unread: OrgkeyError | None = None
) -> None:
    """Make sure that a new epoch follows the plan of the newest one.

    Args:
        scope: The key.
        last: The newest authentic record that could be read: of this key, else of a former one.
        plan: The configured plan.
        unread: Why what is stored is not known whole, where an operator goes on all the same.

    Raises:
        Stale: It is another plan, or what the newest one is cannot be told.
    """
    if require_remembered(scope, last, plan):
        return
    if unread is not None:
        raise Stale(
            f"the custody plan cannot be compared with that of the last epoch: {unread.message}", hint=_HINT
        )
    if last is not None and not plan.is_of(last):
        raise Stale(
            f"the custody plan is not that of the last epoch, {last.epoch}: {difference(last, plan)}",
            hint=_HINT,
        )


def require_remembered(scope: KeyScope, last: Record | None, plan: CustodyPlan) -> bool:
    """Make sure that a plan is that of the epoch that this host remembers, where nothing newer was read.

    Args:
        scope: The key.
        last: The newest authentic record that could be read.
        plan: The configured plan.

    Returns:
        Whether such an epoch is remembered, and the plan is its plan.

    Raises:
        Stale: It is another plan, or what was the plan cannot be told.
    """
    known = remembered(scope)
    if known is None or (last is not None and _moment(known.epoch, scope) <= _moment(last.epoch, scope)):
        return False
    if known.plan in plan.digests:
        return True
    raise Stale(
        f"the custody plan is not that of epoch {known.epoch}, which {known.where} knows, "
        "and which cannot be read at the configured targets"
        if known.plan
        else f"{known.where} knows of epoch {known.epoch}, which cannot be read at the configured targets: "
        "whether the custody plan is still the same is not known",
        hint=_HINT,
    )


def newer_known(scope: KeyScope, survey: Catalog, chosen: str) -> str | None:
    """Say that a newer epoch of this key than the latest is known, and that nobody shows it.

    This host's state may be a backup's, or gone: the newest entries at the ledger's mirrors are looked at as
    well, where the target answers anyway. Nothing proves those entries; what they tell is worth a warning.

    Args:
        scope: The key.
        survey: What is stored.
        chosen: The latest epoch's name.

    Returns:
        What an operator should know; ``None`` when nothing newer is known.
    """
    known = [*_journal(scope), *_ledger(scope, others=True), *_mirrors(scope, survey)]
    shown = {epoch.name for epoch in survey.epochs}
    newer = [item for item in known if item.epoch > chosen and item.epoch not in shown]
    newest = max(newer, key=lambda item: item.epoch, default=None)
    if newest is None:
        return None
    return (
        f"{newest.where} knows of epoch {newest.epoch}, which is newer than {chosen}, "
        "and no target shows it: was it taken away?"
    )


def difference(record: Record, plan: CustodyPlan) -> str:
    """How a plan differs from a record's, in words."""
    lines = plan_change.compare_plans(record.manifest.custody, plan.paths, plan.descriptions).lines
    return "; ".join(lines) or "it was described in another way"


def remembered(scope: KeyScope) -> Remembered | None:
    """The newest epoch that this host knows of: of this key, else of the former ones.

    Raises:
        LedgerBroken, LocalFilesProblem: What is remembered cannot be read.
    """
    for runs in ((scope,), scope.former()):
        found = [item for run in runs for item in (*_journal(run), *_ledger(run))]
        # Of one epoch, what says its plan goes before what does not.
        newest = max(
            found, key=lambda item: (*_moment(item.epoch, scope), item.plan is not None), default=None
        )
        if newest is not None:
            return newest
    return None


def _moment(epoch: str, scope: KeyScope) -> tuple[bool, str]:
    """Orders epochs by time; one that a wrong clock dated in the future stands before all others."""
    return epoch < f"{scope.clock.now() + AHEAD:%Y%m%dT%H%M%SZ}", epoch


def _journal(scope: KeyScope) -> Iterator[Remembered]:
    for entry in scope.journal.entries():
        where = "this host's journal"
        data, mark = entry.record_bytes(), entry.proven() or {}
        plan = mark.get("plan")
        if data is not None:
            try:
                record = verify_record(
                    data, scope.fingerprint, deadline=scope.deadline, now=scope.clock.now()
                )
                plan = record.manifest.custody.plan_digest()
            except (IntegrityProblem, ClockProblem):
                plan = None
        yield Remembered(entry.epoch, plan if isinstance(plan, str) else None, where)


def _ledger(scope: KeyScope, *, others: bool = False) -> Iterator[Remembered]:
    """What this host entered; what other hosts did is told, and says nothing of the plan."""
    for entry in scope.ledger.entries():
        event = stored(entry) if entry.own or others else None
        if event is not None and entry.own:
            yield Remembered(event.epoch, event.plan, "this host's ledger")
        elif event is not None:
            yield Remembered(event.epoch, None, f"the ledger of host {entry.host}")


def stored(entry: LedgerEntry) -> EpochStored | None:
    """The epoch that an entry says was made; nothing where it is malformed."""
    try:
        event = event_of(entry) if entry.event in EVENTS else None
    except MalformedEvent:
        return None
    return event if isinstance(event, EpochStored) and is_epoch(event.epoch) else None


def _mirrors(scope: KeyScope, survey: Catalog) -> Iterator[Remembered]:
    """The epochs of which the newest entries at the mirrors tell that this host's ledger has not."""
    answering = {copy.target for epoch in survey.epochs for copy in epoch.copies} - set(survey.unreachable)
    if not answering.intersection(scope.config.ledger.mirrors):
        return
    for name, mirror in scope.backends("driller").mirrors(scope.fingerprint).items():
        if name not in answering:
            continue
        told = isolated(partial(_told, scope, mirror), f"ledger mirror {name}")
        if not isinstance(told, OrgkeyError):
            yield from (Remembered(epoch, None, f"the ledger's mirror {name}") for epoch in told)


def _told(scope: KeyScope, mirror: Mirror) -> list[str]:
    found = []
    for host in mirror.hosts()[:_LOOKED_AT]:
        chain = scope.ledger.copy_of(host)
        listing = mirror.listing(host, chain.head().sequence)
        for number in sorted(listing)[-_LOOKED_AT:]:
            try:
                entry = chain.parse(number, mirror.get(listing[number][0]))
                history = read([entry])
            except (IntegrityProblem, Malformed):
                continue
            found += [item.epoch for item in history.drills]
            found += [event.epoch] if (event := stored(entry)) is not None else []
    return [epoch for epoch in found if is_epoch(epoch)]
