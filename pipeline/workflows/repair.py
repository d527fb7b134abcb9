"""Bring missing, damaged and new copies back from a good one. Needs no passphrase."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from pipeline.archive.archive import Archive
from pipeline.archive.catalog import Copy, Epoch
from pipeline.archive.run import KeyScope
from pipeline.core.errors import Code, first_of
from pipeline.evidence.ledger.events import RepairEvent, WrittenCopy


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
        hint: What to do about that.
    """

    epoch: str
    target: str
    action: str
    location: str
    version: str | None
    problem: str | None
    code: Code
    hint: str | None = None


@dataclass(frozen=True)
class Repair:
    """The outcome.

    Attributes:
        copies: One for each epoch and target.
        code: How the run ends.
    """

    copies: tuple[Repaired, ...]
    code: Code


def repair(scope: KeyScope, epochs: Collection[str] | None = None, *, dry_run: bool = False) -> Repair:
    """Copy records to where they are missing or damaged.

    Args:
        scope: The key.
        epochs: Names of epochs; ``None`` for all, empty for the latest.
        dry_run: Only say what would be done.

    Raises:
        OrgkeyError: Nothing is stored, or no copy is good.
    """
    with scope.locked(None if dry_run else "repair-failed"):
        archive = scope.archive("writer")
        chosen = archive.catalog().choose(epochs)
        done = [item for epoch in chosen for item in _repair_epoch(scope, archive, epoch, dry_run=dry_run)]
        result = Repair(tuple(done), first_of(item.code for item in done))
        if not dry_run and any(item.action not in ("kept", "not read") for item in done):
            copies = tuple(
                WrittenCopy(epoch=item.epoch, target=item.target, action=item.action)
                for item in done
                if item.action != "kept"
            )
            scope.record_event(RepairEvent(code=int(result.code), copies=copies))
        return result


def _repair_epoch(scope: KeyScope, archive: Archive, epoch: Epoch, *, dry_run: bool) -> list[Repaired]:
    record = epoch.record
    if record is None:
        return [
            _left(copy, "not read", epoch.name)
            if copy.unread
            else replace(_left(copy, "failed", epoch.name), code=Code.INTEGRITY)
            for copy in epoch.copies
        ]
    # What could not be read may well be good: nothing is written beside what was not seen to be bad.
    bad = {copy.target: copy for copy in epoch.copies if not copy.ok and not copy.unread}
    done = {
        # A false version on top of a good one stays until an administrator removes it, and is told as such.
        copy.target: _left(copy, "kept" if copy.ok else "not read", record.epoch)
        for copy in epoch.copies
        if copy.target not in bad
    }
    if dry_run:
        done |= {
            name: replace(_left(copy, "would copy", record.epoch), code=Code.OK) for name, copy in bad.items()
        }
    elif bad:
        written = archive.at(bad).publish(record, beside=True)
        if written.receipts:
            entry = scope.journal.entry(record.epoch) or scope.journal.begin(record.epoch, None)
        for name, receipt in written.receipts.items():
            entry.add_receipt(receipt)
            scope.reporter.progress(f"{name}: copied to {receipt.location}")
            why = bad[name].problem
            done[name] = Repaired(
                record.epoch, name, "copied", receipt.location, receipt.version, why, Code.OK
            )
        for name, error in written.failures.items():
            failed = _left(bad[name], "failed", record.epoch)
            done[name] = replace(failed, problem=error.message, code=error.code, hint=error.hint)
    return [done[copy.target] for copy in epoch.copies]


def _left(copy: Copy, action: str, epoch: str) -> Repaired:
    hint = copy.hint if action == "not read" else None
    return Repaired(epoch, copy.target, action, copy.location, copy.version, copy.problem, copy.code, hint)
