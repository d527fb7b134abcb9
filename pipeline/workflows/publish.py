"""Put a sealed record where it belongs, and prove it there: the end of an escrow and of a rotation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from pipeline.archive import journal
from pipeline.archive.catalog import Survey, not_read
from pipeline.archive.run import Estate, KeyScope
from pipeline.archive.write import Placed, place
from pipeline.core.errors import (
    Code,
    IntegrityProblem,
    LocalFilesProblem,
    error_of,
    first_of,
)
from pipeline.custody.shares import paths
from pipeline.record import create
from pipeline.record.verify import Record, verify_record
from pipeline.storage.interface import Bounded, Receipt, Slot, Target, refused_size
from pipeline.workflows import drill as drills
from pipeline.workflows.drill import Drill, DrillRequest

SOON: Final = timedelta(seconds=2)


@dataclass(frozen=True)
class Chosen:
    """The record of this run: a new one, or one that is taken up again.

    Attributes:
        record: The record.
        entry: Its place in the journal.
        confirmed: Receipts that are known already, by target.
        resumed: Whether an interrupted run is finished.
        already: Whether it was stored like this before.
    """

    record: Record
    entry: journal.Entry
    confirmed: Mapping[str, Receipt]
    resumed: bool = False
    already: bool = False


@dataclass(frozen=True)
class Stored:
    """What is stored now, and what was proven of it.

    Attributes:
        record: The record.
        placed: Where it is, and where it is not.
        drill: The closing test restore; ``None`` when it was not asked for or could not start.
        resumed: Whether an interrupted run was finished.
        already: Whether the key was escrowed like this before.
        code: How the run ends.
        proven: Whether a drill has proven the epoch, now or before.
        kinds: The kind of every target, by name.
        domains: The failure domain of every target, by name.
        enough: Whether copies stand in as many failure domains as the policy asks for.
    """

    record: Record
    placed: Placed
    drill: Drill | None
    resumed: bool
    already: bool
    code: Code
    proven: bool
    kinds: Mapping[str, str]
    domains: Mapping[str, str]
    enough: bool = True


def plan(context: KeyScope, writer: Estate) -> create.CustodyPlan:
    """The custody plan as the configuration has it and the holders describe themselves today.

    Args:
        context: The run.
        writer: Whose logins seal.

    Raises:
        OrgkeyError: A holder cannot be asked, or is not as configured.
    """
    holders = writer.holders()
    wanted = paths.from_config(context.config, holders)
    needed = {need.holder for path in wanted for need in path.needs}
    return create.CustodyPlan(
        paths=wanted,
        holders=holders,
        openers=context.backends("driller").holders(),
        descriptions=paths.describe(holders, needed),
    )


def moment_after(context: KeyScope, last: Record | None) -> datetime:
    """The time of a new record: later than the last one's, since epochs are ordered by whole seconds.

    Waits for the next second where that is all it takes. A last record from the future (a clock was wrong,
    then or now) is left to `status`, which says so.

    Args:
        context: The run.
        last: The newest authentic record of the key, if there is one.

    Raises:
        LocalFilesProblem: This host's clock is wrong.
    """
    context.deadline.require_clock()
    now = context.clock.now()
    if last is not None and timedelta() <= last.manifest.created - now.replace(microsecond=0) < SOON:
        context.clock.sleep((last.manifest.created + timedelta(seconds=1) - now).total_seconds())
        now = context.clock.now()
    return now


def require_history(context: KeyScope, targets: Mapping[str, Target], survey: Survey, insist: str) -> None:
    """Make sure that what was stored before was seen, so that nothing is minted over it unawares.

    An epoch that counts lies in ``policy.copies`` failure domains: while fewer than that keep silent, it was
    seen at another one.

    Args:
        context: The run.
        targets: By name, all of them.
        survey: What they hold.
        insist: What an operator can do to whom that is lost for good, in a sentence.

    Raises:
        OrgkeyError: A newer epoch is listed and could not be read, or too many targets could not be listed;
            of the cause's kind.
    """
    unread = survey.unread()
    silent = {targets[name].domain for name in survey.unreachable}
    if not unread and len(silent) < context.config.policy.copies:
        return
    causes = [not_read(epoch) for epoch in unread] or list(survey.unreachable.values())
    worst = first_of(error.code for error in causes)
    cause = next(error for error in causes if error.code is worst)
    raise error_of(worst)(
        f"what is stored already is not known: {cause.message}",
        hint=f"{cause.hint}; nothing was made. {insist}",
    )


def begin(context: KeyScope, record: Record) -> Chosen:
    """Take a new record into the journal: from here on it will be finished, by this run or a later one.

    Raises:
        UsageProblem: A target does not take a record of that size; nothing was written anywhere.
        LocalFilesProblem: The journal cannot be written.
    """
    for name, target in context.backends("writer").targets().items():
        if isinstance(target, Bounded) and len(record.data) > target.largest:
            raise refused_size(name, len(record.data), target.largest)
    return Chosen(record, context.journal.begin(record.epoch, record.data), {})


def unfinished(context: KeyScope, wanted: Callable[[Record], bool]) -> Chosen | None:
    """The newest epoch that an earlier run left unproven, interrupted or not drilled.

    Args:
        context: The run.
        wanted: Whether a record is one that this run would have made.

    Raises:
        LocalFilesProblem: The journal cannot be read, or holds damaged bytes.
    """
    for entry in reversed(context.journal.entries()):
        data = entry.record_bytes()
        if data is None or entry.proven():
            continue
        try:
            record = verify_record(
                data,
                context.fingerprint,
                deadline=context.deadline,
                now=context.clock.now(),
                epoch=entry.epoch,
            )
        except IntegrityProblem as error:
            raise LocalFilesProblem(
                f"the sealed record of the interrupted epoch in {entry.path} is damaged: {error.message}",
                hint="the state is rebuilt from the targets: move that directory away and run this again",
            ) from error
        if wanted(record):
            receipts = entry.receipts()
            whole = set(receipts) >= set(context.config.target)
            return Chosen(record, entry, receipts, resumed=not whole, already=whole)
    return None


def store(
    context: KeyScope, targets: Mapping[str, Target], chosen: Chosen, *, with_drill: bool = True
) -> Stored:
    """Write the record to all targets, read every copy back, and drill what is stored.

    Args:
        context: The run.
        targets: By name, under the writer's logins.
        chosen: The record.
        with_drill: Whether what is stored is proven at once.

    Returns:
        The outcome, also when it is degraded or a proof failed: see ``code``.
    """
    record = chosen.record
    placed = place(
        targets,
        Slot(record.fingerprint, record.epoch),
        record.data,
        confirmed=chosen.confirmed,
        remember=chosen.entry.add_receipt,
        beside=chosen.already,
    )
    for receipt in placed.receipts.values():
        context.reporter.progress(f"{receipt.target}: stored and read back, {receipt.location}")
    for name, failure in placed.failures.items():
        context.reporter.progress(f"{name}: {failure.message}")
    result = Stored(
        record,
        placed,
        None,
        chosen.resumed,
        chosen.already,
        placed.code(context.config.policy.copies),
        chosen.entry.proven() is not None,
        {name: target.kind for name, target in targets.items()},
        {name: target.domain for name, target in targets.items()},
        len(placed.domains) >= context.config.policy.copies,
    )
    if result.code not in (Code.OK, Code.DEGRADED) or not with_drill or result.proven:
        return result
    if not drills.unattended_paths(context.backends("driller"), record):
        context.reporter.warn(
            "every custody path needs people, so nothing is proven yet: "
            f"drill it as a ceremony, orgkey drill --epoch {record.epoch} --via PATH"
        )
        return replace(result, code=first_of([result.code, Code.DEGRADED]))
    drill = drills.within(
        context, DrillRequest(epochs=frozenset({record.epoch}), targets=tuple(placed.receipts))
    )
    code = first_of([result.code, drill.code])
    return replace(result, drill=drill, code=code, proven=drill.proved(record.sha256))


def facts(result: Stored) -> dict[str, Any]:
    """What the ledger keeps of it: the fields of an :class:`EpochStored`."""
    return {
        "epoch": result.record.epoch,
        "record_sha256": result.record.sha256.hex,
        "plan": result.record.manifest.custody.plan_digest(),
        "copies": {
            name: {"location": receipt.location, "version": receipt.version}
            for name, receipt in result.placed.receipts.items()
        },
        "failures": {name: int(error.code) for name, error in result.placed.failures.items()},
        "resumed": result.resumed,
        "already": result.already,
        "proven": result.proven,
        "code": int(result.code),
    }
