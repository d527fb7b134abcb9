"""Put a record at its targets, read every copy back, and say whether that is enough."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from pipeline.archive.catalog import one_place
from pipeline.core.digest import sha256
from pipeline.core.errors import Code, Conflict, IntegrityProblem, OrgkeyError, first_of
from pipeline.core.isolation import isolated
from pipeline.storage.interface import Locking, Presence, Receipt, Slot, Stored, Target


@dataclass(frozen=True)
class WriteResult:
    """The outcome at all targets.

    Attributes:
        receipts: What was confirmed *and read back*, by target.
        failures: Why the others failed, by target.
    """

    receipts: Mapping[str, Receipt]
    failures: Mapping[str, OrgkeyError]

    @property
    def domains(self) -> set[str]:
        """The failure domains with a verified copy."""
        return {receipt.domain for receipt in self.receipts.values()}

    def code(self, copies: int) -> Code:
        """Judge the outcome.

        Args:
            copies: How many distinct failure domains must hold a copy (``policy.copies``).

        Returns:
            ``OK`` when every target holds one, ``DEGRADED`` when enough do, else the cause's code.
        """
        if not self.failures:
            return Code.OK
        if len(self.domains) >= copies:
            return Code.DEGRADED
        return first_of(failure.code for failure in self.failures.values())


def replicate(
    targets: Mapping[str, Target],
    slot: Slot,
    data: bytes,
    *,
    confirmed: Mapping[str, Receipt],
    remember: Callable[[Receipt], None],
    beside: bool = False,
) -> WriteResult:
    """Write a record wherever it is not yet, all targets at once, and read every copy back.

    Args:
        targets: By name.
        slot: The place at each target.
        data: The record.
        confirmed: Receipts of an earlier run; those copies are only read back.
        remember: Told each receipt as soon as its copy was read back.
        beside: Leave a place that holds something else alone, and use one beside it.

    Raises:
        LocalFilesProblem: A receipt cannot be kept, which is a failure of the run and not of the target.
    """
    put = write_beside if beside else write_one
    receipts: dict[str, Receipt] = {}
    failures: dict[str, OrgkeyError] = {}
    with ThreadPoolExecutor(max_workers=8, thread_name_prefix="replicate") as pool:
        jobs = {
            name: pool.submit(
                isolated, partial(put, target, slot, data, confirmed.get(name)), f"target {name}"
            )
            for name, target in targets.items()
        }
        for name, job in jobs.items():
            outcome = job.result()
            if isinstance(outcome, OrgkeyError):
                failures[name] = outcome
                continue
            receipts[name] = outcome
            remember(outcome)
    for name, other in _twins(targets, slot, receipts).items():
        failures[name] = one_place(name, other)
        del receipts[name]
    return WriteResult(receipts, failures)


def _twins(targets: Mapping[str, Target], slot: Slot, receipts: Mapping[str, Receipt]) -> dict[str, str]:
    """The targets that hold nothing but what another one of their kind holds, with that one."""
    kinds = Counter(receipt.kind for receipt in receipts.values())
    first: dict[tuple[str, str], str] = {}
    twins: dict[str, str] = {}
    for name, receipt in receipts.items():
        where = replace(slot, epoch=receipt.slot or slot.epoch)
        look = partial(targets[name].find, where.fingerprint, where.epoch)
        listed = isolated(look, f"target {name}") if kinds[receipt.kind] > 1 else []
        if isinstance(listed, OrgkeyError):
            continue  # not known; `status` looks again
        for stored in listed:
            if stored.slot == where and stored.version == receipt.version and stored.identity:
                other = first.setdefault((receipt.kind, stored.identity), name)
                if other != name:
                    twins[name] = other
    return twins


def write_one(target: Target, slot: Slot, data: bytes, confirmed: Receipt | None = None) -> Receipt:
    """Make sure that one target holds exactly these bytes, and read them back.

    Raises:
        Conflict: Other bytes stand there, and these do not.
        IntegrityProblem: What is read back is not what was written, or is not locked as configured.
        OrgkeyError: Whatever else the target says.
    """
    if confirmed is not None:
        try:
            where = replace(slot, epoch=confirmed.slot) if confirmed.slot else slot
            if target.get(where, confirmed.version) == data:
                _locked(target, _listed(confirmed, where))
                return replace(confirmed, domain=target.domain)  # as it is configured now
        except IntegrityProblem:
            pass  # gone, damaged or not locked: write it again, or find out what stands there
    try:
        receipt = target.put(slot, data)
    except Conflict as conflict:
        # An earlier try may have landed with its answer lost: look before giving up.
        receipt = _already(target, slot, data, conflict)
    if target.get(slot, receipt.version) != data:
        raise IntegrityProblem(
            f"{target.name} returns other bytes than were written to {receipt.location}",
            hint="do not count on that target until its storage was examined",
        )
    return receipt


def _already(target: Target, slot: Slot, data: bytes, conflict: Conflict) -> Receipt:
    unlocked: IntegrityProblem | None = None
    for stored in target.find(slot.fingerprint, slot.epoch):
        if stored.slot == slot and stored.readable:
            try:
                if target.get(slot, stored.version) != data:
                    continue
            except IntegrityProblem:
                continue
            try:
                until = _locked(target, stored)
            except IntegrityProblem as problem:
                unlocked = unlocked or problem
                continue  # another version of the same bytes may be locked
            return Receipt(
                target.name, target.kind, target.domain, stored.location, stored.version, sha256(data), until
            )
    raise unlocked or conflict


def _locked(target: Target, stored: Stored) -> datetime | None:
    """What this call did not write was never seen to be locked: whoever wrote it may have asked in vain."""
    return target.confirm(stored) if isinstance(target, Locking) else stored.retain_until


def _listed(receipt: Receipt, slot: Slot) -> Stored:
    return Stored(slot, receipt.location, receipt.version, Presence.CURRENT, receipt.retain_until)


def write_beside(target: Target, slot: Slot, data: bytes, confirmed: Receipt | None = None) -> Receipt:
    """Like :func:`write_one`, but a place that holds something else is left alone for one beside it.

    Storage is create-only, so a damaged copy cannot be replaced by the identities that this program
    has, and should not be: it is evidence. The repaired copy gets the slot ``<epoch>-r<n>``.

    Raises:
        Conflict: Every place beside it is taken, too.
    """
    try:
        return write_one(target, slot, data, confirmed)
    except Conflict as conflict:
        taken = conflict
    for number in range(1, 10):
        name = f"{slot.epoch}-r{number}"
        try:
            return replace(write_one(target, replace(slot, epoch=name), data), slot=name)
        except Conflict:
            continue
    raise taken
