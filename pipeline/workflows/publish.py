"""Put a record where it belongs, and prove it there: the end of an escrow, a rotation and a refresh.

A record is *pending* from the moment that the journal has it, and *published* once it was written to the
targets and read back; whatever ends a run between the two, the next one goes on there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from pipeline.archive import journal, lineage
from pipeline.archive.archive import Archive
from pipeline.archive.catalog import Catalog, not_read
from pipeline.archive.replicate import WriteResult
from pipeline.archive.run import KeyScope
from pipeline.core.clock import AHEAD
from pipeline.core.errors import (
    ClockProblem,
    Code,
    IntegrityProblem,
    LocalFilesProblem,
    OrgkeyError,
    error_of,
    first_of,
)
from pipeline.core.isolation import isolated
from pipeline.custody import plan_change
from pipeline.custody.shares import paths
from pipeline.evidence.ledger.events import EpochStored, EscrowEvent, RefreshEvent, RotateEvent
from pipeline.record import create
from pipeline.record.verify import Record, verify_record
from pipeline.storage.interface import Bounded, Receipt, Target, refused_size
from pipeline.workflows.drill import Drill, DrillRequest, command, unattended_paths, within

SOON: Final = timedelta(seconds=2)
_DEAD: Final = frozenset({Code.PROOF_FAILED, Code.NOT_ENOUGH_SHARES, Code.WRONG_SHARE})
"""How the drill of an epoch ends that no longer opens: its holders' keys are gone, for example."""


@dataclass(frozen=True)
class PendingEpoch:
    """The record of this run: a new one, or one that is taken up again.

    Attributes:
        record: The record.
        entry: Its place in the journal.
        confirmed: Receipts that are known already, by target.
        resumed: Whether an interrupted run is finished.
        already: Whether it was stored like this before.
    """

    record: Record
    entry: journal.JournalEntry
    confirmed: Mapping[str, Receipt]
    resumed: bool = False
    already: bool = False


@dataclass(frozen=True)
class PublishedEpoch:
    """What is stored now, and what was proven of it.

    Attributes:
        record: The record.
        written: Where it is, and where it is not.
        drill: The closing test restore; ``None`` when it was not asked for or could not start.
        resumed: Whether an interrupted run was finished.
        already: Whether the key was escrowed like this before.
        code: How the run ends.
        proven: Whether a drill has proven the epoch, now or before.
        targets: All targets, by name.
        enough: Whether copies stand in as many failure domains as the policy asks for.
    """

    record: Record
    written: WriteResult
    drill: Drill | None
    resumed: bool
    already: bool
    code: Code
    proven: bool
    targets: Mapping[str, Target]
    enough: bool = True

    def facts(self) -> dict[str, Any]:
        """What the ledger keeps of it: the fields of an :class:`EpochStored`."""
        return {
            "epoch": self.record.epoch,
            "record_sha256": self.record.sha256.hex,
            "plan": self.record.manifest.custody.plan_digest(),
            "copies": {
                name: {"location": receipt.location, "version": receipt.version}
                for name, receipt in self.written.receipts.items()
            },
            "failures": {name: int(error.code) for name, error in self.written.failures.items()},
            "resumed": self.resumed,
            "already": self.already,
            "proven": self.proven,
            "code": int(self.code),
        }


def plan(scope: KeyScope) -> create.CustodyPlan:
    """The custody plan as the configuration has it and the holders describe themselves today.

    Raises:
        OrgkeyError: A holder cannot be asked, or is not as configured.
    """
    holders = scope.backends("writer").holders()
    wanted = paths.from_config(scope.config, holders)
    needed = {need.holder for path in wanted for need in path.needs}
    return create.CustodyPlan(
        paths=wanted,
        holders=holders,
        openers=scope.backends("driller").holders(),
        descriptions=paths.describe(holders, needed),
    )


def moment_after(scope: KeyScope, last: Record | None) -> datetime:
    """The time of a new record: later than the last one's, since epochs are ordered by whole seconds.

    Waits for the next second where that is all it takes. Where the last record is dated later than now, by no
    more than clocks may differ, the new one is dated a second after it: else the last one stayed the latest.
    A record from further ahead is left to `status`, which says that a clock was wrong.

    Args:
        scope: The key.
        last: The newest authentic record of the key, if there is one.

    Raises:
        LocalFilesProblem: This host's clock is wrong.
    """
    scope.deadline.require_clock()
    now = scope.clock.now()
    following = last.manifest.created + timedelta(seconds=1) if last else now
    if timedelta() < following - now < SOON:
        scope.clock.sleep((following - now).total_seconds())
        now = scope.clock.now()
    return following if now < following <= now + AHEAD else now


def require_history(archive: Archive, catalog: Catalog, insist: str) -> None:
    """Make sure that what was stored before was seen, so that no new record supersedes it unawares.

    An epoch that counts lies in ``policy.copies`` failure domains: while fewer than that keep silent, it was
    seen at another one.

    Args:
        archive: All targets.
        catalog: What they hold.
        insist: What an operator can do who has lost it for good, in a sentence.

    Raises:
        OrgkeyError: A newer epoch is listed and could not be read, or too many targets could not be listed;
            of the cause's kind.
    """
    unread = catalog.unread()
    silent = {archive.targets[name].domain for name in catalog.unreachable}
    if not unread and len(silent) < archive.copies:
        return
    causes = [not_read(epoch) for epoch in unread] or list(catalog.unreachable.values())
    worst = first_of(error.code for error in causes)
    cause = next(error for error in causes if error.code is worst)
    raise error_of(worst)(
        f"what is stored already is not known: {cause.message}",
        hint=f"{cause.hint}; nothing was made. {insist}",
    )


@contextmanager
def making(plan: create.CustodyPlan) -> Iterator[None]:
    """Make a record and begin with it; where that fails, say that printed sheets are good for nothing.

    Whoever put one into an envelope would bring a share of no record.
    """
    try:
        yield
    except OrgkeyError as error:
        if any(getattr(holder, "printed", 0) for holder in plan.holders.values()):
            error.hint += "; nothing was stored: destroy the sheets that were printed"
        raise


def begin(scope: KeyScope, record: Record) -> PendingEpoch:
    """Take a new record into the journal: from here on it will be finished, by this run or a later one.

    Raises:
        UsageProblem: A target does not take a record of that size; nothing was written anywhere.
        LocalFilesProblem: The journal cannot be written.
    """
    for name, target in scope.backends("writer").targets().items():
        if isinstance(target, Bounded) and len(record.data) > target.largest:
            raise refused_size(name, len(record.data), target.largest)
    return PendingEpoch(record, scope.journal.begin(record.epoch, record.data), {})


def unfinished(scope: KeyScope, catalog: Catalog, wanted: Callable[[Record], bool]) -> PendingEpoch | None:
    """The newest epoch that an earlier run left unproven, interrupted or not drilled.

    One that is older than an epoch that is stored is left: another host has made that since, and its
    custodians count.

    Args:
        scope: The key.
        catalog: What is stored.
        wanted: Whether a record is one that this run would have made.

    Raises:
        LocalFilesProblem: The journal cannot be read, or holds damaged bytes.
    """
    for entry in reversed(scope.journal.entries()):
        if entry.proven():
            return None  # what was left before it has been superseded since
        data = entry.record_bytes()
        if data is None:
            continue
        try:
            record = verify_record(
                data, scope.fingerprint, deadline=scope.deadline, now=scope.clock.now(), epoch=entry.epoch
            )
        except ClockProblem as error:
            raise LocalFilesProblem(
                f"the interrupted epoch in {entry.path} is dated in the future: {error.message}",
                hint="set this host's clock if it is wrong; else move that directory away and run this again",
            ) from error
        except IntegrityProblem as error:
            raise LocalFilesProblem(
                f"the sealed record of the interrupted epoch in {entry.path} is damaged: {error.message}",
                hint="the state is rebuilt from the targets: move that directory away and run this again",
            ) from error
        newest = catalog.newest_record() or record
        if wanted(record) and newest.manifest.created <= record.manifest.created:
            receipts = entry.receipts()
            whole = set(receipts) >= set(scope.config.target)
            return PendingEpoch(record, entry, receipts, resumed=not whole, already=whole)
    return None


def entered(scope: KeyScope, epoch: str) -> tuple[int, ...]:
    """The codes with which runs of this host that stored an epoch have ended, as its ledger has them."""
    told = (lineage.stored(item) for item in scope.ledger.each() if item.own)
    return tuple(event.code for event in told if event is not None and event.epoch == epoch)


def dead(scope: KeyScope, epoch: str) -> bool:
    """Whether an epoch that this host stored did not open in its drill: trying again mends nothing."""
    return not _DEAD.isdisjoint(entered(scope, epoch))


def catch_up(scope: KeyScope, catalog: Catalog) -> None:
    """Enter the newest epoch in the ledger where this host has made and proved it, and has no entry of it.

    Its run was killed between the two, or the ledger was lost since.

    Args:
        scope: The key.
        catalog: What is stored.
    """
    records = {record.epoch: record for record in catalog.records()}
    entry = next(iter(scope.journal.entries()[-1:]), None)
    record = records.get(entry.epoch) if entry else None
    if entry is None or record is None or not (entry.receipts() and entry.proven()):
        return
    read = isolated(lambda: [lineage.stored(item) for item in scope.ledger.each()], "the ledger")
    if isinstance(read, OrgkeyError) or any(event.epoch == entry.epoch for event in read if event):
        return  # what cannot be read is told by what needs it
    manifest = record.manifest
    event: type[EpochStored] = EscrowEvent
    facts: dict[str, Any] = {"custodians": plan_change.people(manifest.custody.holders)}
    if manifest.supersedes is not None:
        event, facts = RefreshEvent, {"supersedes": manifest.supersedes.epoch}
        if not manifest.refreshed:
            before = records.get(manifest.supersedes.epoch)
            event = RotateEvent
            facts |= {
                "reason": "not known: it is entered by a later run",
                "custodians_before": plan_change.people(before.manifest.custody.holders) if before else (),
                "custodians_after": plan_change.people(manifest.custody.holders),
            }
    scope.reporter.warn(f"the ledger has no entry of epoch {record.epoch}, which was made here: it has now")
    told = {"epoch": record.epoch, "record_sha256": record.sha256.hex, "plan": manifest.custody.plan_digest()}
    scope.record_event(event(**told, **facts, already=True, proven=True, code=int(Code.OK)))


def publish(
    scope: KeyScope, archive: Archive, pending: PendingEpoch, *, with_drill: bool = True
) -> PublishedEpoch:
    """Write the record to all targets, read every copy back, and drill what is stored.

    Args:
        scope: The key.
        archive: All targets, under the writer's logins.
        pending: The record.
        with_drill: Whether what is stored is proven at once.

    Returns:
        The outcome, also when it is degraded or a proof failed: see ``code``.
    """
    record = pending.record
    written = archive.publish(
        record, confirmed=pending.confirmed, remember=pending.entry.add_receipt, beside=pending.already
    )
    for receipt in written.receipts.values():
        scope.reporter.progress(f"{receipt.target}: stored and read back, {receipt.location}")
    for name, failure in written.failures.items():
        scope.reporter.progress(f"{name}: {failure.message}")
    result = PublishedEpoch(
        record,
        written,
        None,
        pending.resumed,
        pending.already,
        written.code(archive.copies),
        pending.entry.proven() is not None,
        archive.targets,
        len(written.domains) >= archive.copies,
    )
    if result.code not in (Code.OK, Code.DEGRADED) or not with_drill or result.proven:
        return result
    if not unattended_paths(scope, record):
        scope.reporter.warn(
            "every custody path needs people, so nothing is proven yet: "
            f"drill it as a ceremony with `{command(record, epoch=record.epoch)}`"
        )
        return replace(result, code=first_of([result.code, Code.DEGRADED]))
    drill = within(scope, DrillRequest(epochs=frozenset({record.epoch}), targets=tuple(written.receipts)))
    code = first_of([result.code, drill.code])
    return replace(result, drill=drill, code=code, proven=drill.proved(record.sha256))
