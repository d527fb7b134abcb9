"""Bring missing, damaged and new copies back from a good one. Needs no passphrase."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pipeline.archive.catalog import Copy, Epoch, Reader, choose
from pipeline.archive.run import KeyScope
from pipeline.archive.write import place_beside
from pipeline.core.errors import Code, OrgkeyError, first_of
from pipeline.core.isolation import isolated
from pipeline.evidence.ledger.events import RepairEvent, WrittenCopy
from pipeline.record.verify import Record
from pipeline.storage.interface import Receipt, Slot, Target


@dataclass(frozen=True)
class Repaired:
    """What was done about one copy.

    Attributes:
        epoch: The epoch's name.
        target: Whose copy.
        action: ``kept``, ``copied``, ``would copy``, ``not read`` (left alone) or ``failed``.
        location: Where the good copy lies now.
        version: Its version.
        problem: What was wrong, or why it still is.
        code: ``OK``, or why the copy is still bad.
    """

    epoch: str
    target: str
    action: str
    location: str
    version: str | None
    problem: str | None
    code: Code


@dataclass(frozen=True)
class Repair:
    """The outcome.

    Attributes:
        copies: One for each epoch and target.
        code: How the run ends.
    """

    copies: tuple[Repaired, ...]
    code: Code


def repair(context: KeyScope, epochs: Collection[str] | None = None, *, dry_run: bool = False) -> Repair:
    """Copy records to where they are missing or damaged.

    Args:
        context: The run.
        epochs: Names of epochs; ``None`` for all, empty for the latest.
        dry_run: Only say what would be done.

    Raises:
        OrgkeyError: Nothing is stored, or no copy is good.
    """
    with context.locked(None if dry_run else "repair-failed"):
        targets = context.backends("writer").targets()
        reader = Reader.of(context, targets)
        survey = reader.survey(context.fingerprint, journal=context.journal)
        done: list[Repaired] = []
        for epoch in choose(survey, epochs):
            done.extend(_repair_epoch(context, targets, epoch, dry_run=dry_run))
        result = Repair(tuple(done), first_of(item.code for item in done))
        if not dry_run and any(item.action not in ("kept", "not read") for item in done):
            copies = tuple(
                WrittenCopy(epoch=item.epoch, target=item.target, action=item.action)
                for item in done
                if item.action != "kept"
            )
            context.record_event(RepairEvent(code=int(result.code), copies=copies))
        return result


def _repair_epoch(
    context: KeyScope, targets: dict[str, Target], epoch: Epoch, *, dry_run: bool
) -> list[Repaired]:
    record = epoch.record
    if record is None:
        return [
            Repaired(
                epoch.name,
                copy.target,
                "not read" if copy.unread else "failed",
                copy.location,
                None,
                copy.problem,
                copy.code if copy.unread else Code.INTEGRITY,
            )
            for copy in epoch.copies
        ]
    with ThreadPoolExecutor(max_workers=8, thread_name_prefix="repair") as pool:
        jobs = [
            pool.submit(_repair_copy, context, targets[copy.target], record, copy, dry_run)
            for copy in epoch.copies
        ]
        done = [job.result() for job in jobs]
    receipts = [receipt for _, receipt in done if receipt]
    if receipts:  # here, and not where the copies are made: those run at the same time
        entry = context.journal.entry(record.epoch) or context.journal.begin(record.epoch, None)
        for receipt in receipts:
            entry.add_receipt(receipt)
    return [repaired for repaired, _ in done]


def _repair_copy(
    context: KeyScope, target: Target, record: Record, copy: Copy, dry_run: bool
) -> tuple[Repaired, Receipt | None]:
    name, bad = record.epoch, copy.problem
    if copy.ok:
        # A false version on top of a good one stays until an administrator removes it, and is told as such.
        return Repaired(name, copy.target, "kept", copy.location, copy.version, bad, copy.code), None
    if copy.unread:
        # It may well be good: nothing is written beside what was not seen to be bad.
        return Repaired(name, copy.target, "not read", copy.location, None, bad, copy.code), None
    if dry_run:
        return Repaired(name, copy.target, "would copy", copy.location, None, bad, Code.OK), None
    slot = Slot(record.fingerprint, name)
    receipt = isolated(lambda: place_beside(target, slot, record.data), f"target {target.name}")
    if isinstance(receipt, OrgkeyError):
        return Repaired(
            name, copy.target, "failed", copy.location, copy.version, receipt.message, receipt.code
        ), None
    context.reporter.progress(f"{target.name}: copied to {receipt.location}")
    return Repaired(name, copy.target, "copied", receipt.location, receipt.version, bad, Code.OK), receipt
