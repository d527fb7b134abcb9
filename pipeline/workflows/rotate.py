"""Rotate custody: a new escrow passphrase, new shares and a new record for the same key.

What a rotation does not do is as important as what it does, see :data:`LIMITS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from pipeline.archive import lineage
from pipeline.archive.catalog import Catalog
from pipeline.archive.run import KeyScope
from pipeline.core.errors import Code, OrgkeyError, Stale
from pipeline.custody import plan_change
from pipeline.custody.plan_change import PlanChange
from pipeline.custody.shares import passphrase
from pipeline.evidence.ledger.events import RotateEvent
from pipeline.posture.model import require_no_single_party
from pipeline.record import create
from pipeline.record.manifest import Reference
from pipeline.record.verify import Record
from pipeline.unseal.ceremony import UNATTENDED, UnsealRequest
from pipeline.unseal.unseal import unseal
from pipeline.workflows import drill, publish
from pipeline.workflows.publish import PendingEpoch, PublishedEpoch

LIMITS: Final = (
    "a rotation gives new shares to the same key: the Org Key itself does not change",
    "former custodians with enough old shares and a kept copy of an old record can still open it, for good",
    "only regenerating the Org Key on the server ends that",
)
"""What a rotation does not do, for people; said before it starts."""


@dataclass(frozen=True)
class RotationRequest:
    """What is to be rotated, and what the operator knows of the change.

    Attributes:
        reason: Why, for the ledger.
        epoch: The epoch to start from; the latest when ``None``.
        unseal: How it is opened.
        remove: Custodians who are to leave, by fingerprint.
        add: Custodians who are to join.
        accept_custody_change: Whether every other change of the plan is meant, too.
    """

    reason: str
    epoch: str | None = None
    unseal: UnsealRequest = UNATTENDED
    remove: frozenset[str] = frozenset()
    add: frozenset[str] = frozenset()
    accept_custody_change: bool = False


@dataclass(frozen=True)
class Rotation:
    """What a rotation achieved.

    Attributes:
        stored: The new epoch.
        old: The epoch that it supersedes once it is proven.
        change: What is different in the custody plan.
        reason: Why.
    """

    stored: PublishedEpoch
    old: Reference
    change: PlanChange
    reason: str


@dataclass(frozen=True)
class RotationPlan:
    """What a rotation would do.

    Attributes:
        old: The epoch that it would start from.
        action: In words.
        change: What would be different in the custody plan.
        refusal: Why it would be refused as it was asked for, if it would.
        targets: Where copies would go.
    """

    old: str
    action: str
    change: PlanChange
    refusal: OrgkeyError | None
    targets: tuple[str, ...]


class _Start(NamedTuple):
    """What a rotation starts from.

    Attributes:
        old: The record that is opened.
        last: The newest record, also where an older one is opened.
        change: What is different in the custody plan.
        refusal: Why it is refused, if it is.
    """

    old: Record
    last: Record
    change: PlanChange
    refusal: OrgkeyError | None


def rotate(scope: KeyScope, request: RotationRequest) -> Rotation:
    """Replace the latest epoch by one with a new escrow passphrase and the configured custody plan.

    The old epoch stays as it is: storage is create-only. The new one counts once it is written, read back
    and drilled on every path that needs no person; until then the old one is the latest.

    Returns:
        The outcome, also when it is degraded or a proof failed.

    Raises:
        Stale: The plan changes in a way that the operator has not named.
        OrgkeyError: The old epoch does not open, or nothing that counts was stored.
    """
    with scope.locked("rotate-failed"), scope.prover():
        require_no_single_party(scope.config)
        plan, archive = publish.plan(scope), scope.archive("writer")
        catalog = archive.catalog()
        publish.catch_up(scope, catalog)
        pending = _interrupted(scope, catalog, plan)
        if pending is None and request.epoch is None:
            publish.require_history(archive, catalog, "Or name the epoch to start from with --epoch")
        start = _start(scope, catalog, pending, plan, request)
        if pending is not None:
            scope.reporter.progress(f"resuming the interrupted rotation, epoch {pending.record.epoch}")
        elif start.refusal is not None:
            raise start.refusal
        else:
            with publish.making(plan):
                pending = publish.begin(scope, _create(scope, catalog, start, plan, request))
        published = publish.publish(scope, archive, pending)
        superseded = start.old.reference
        result = Rotation(published, superseded, start.change, request.reason)
        scope.record_event(_event(result, request))
        return result


def rehearse(scope: KeyScope, request: RotationRequest) -> RotationPlan:
    """Say what :func:`rotate` would do; nothing is opened, and nothing changes anywhere.

    Raises:
        OrgkeyError: There is nothing to rotate, or the plan cannot be carried out.
    """
    require_no_single_party(scope.config)
    plan, archive = publish.plan(scope), scope.archive("writer")
    catalog = archive.catalog()
    pending = _interrupted(scope, catalog, plan)
    start = _start(scope, catalog, pending, plan, request)
    action = (
        f"finish the interrupted rotation to epoch {pending.record.epoch}"
        if pending
        else f"open epoch {start.old.epoch}, and make a new one of the same key with new shares"
    )
    return RotationPlan(start.old.epoch, action, start.change, start.refusal, tuple(archive.targets))


def _interrupted(scope: KeyScope, catalog: Catalog, plan: create.CustodyPlan) -> PendingEpoch | None:
    """A rotation to this plan that did not come to its end.

    One that only waits for the people who prove it did: whoever rotates once more wants other shares. One
    that did not open in its drill is not tried again, either.
    """
    pending = publish.unfinished(
        scope,
        catalog,
        lambda record: (
            record.manifest.supersedes is not None and not record.manifest.refreshed and plan.is_of(record)
        ),
    )
    if pending is None or publish.dead(scope, pending.record.epoch):
        return None
    ended = {Code.OK, Code.DEGRADED}.intersection(publish.entered(scope, pending.record.epoch))
    return None if ended else pending


def _start(
    scope: KeyScope,
    catalog: Catalog,
    pending: PendingEpoch | None,
    plan: create.CustodyPlan,
    request: RotationRequest,
) -> _Start:
    superseded = pending.record.manifest.supersedes if pending else None
    old = catalog.record(superseded.epoch if superseded else request.epoch)
    last = old if pending else catalog.newest_record() or old
    if request.epoch is None and last.manifest.record_id == old.manifest.record_id:
        old = last  # a refresh that no drill has proven: the same shares, and what is public is newer
    change = plan_change.compare_plans(last.manifest.custody, plan.paths, plan.descriptions)
    refusal = None if pending else _behind(old, last, request) or _refusal(scope, last, change, plan, request)
    return _Start(old, last, change, refusal)


def _behind(old: Record, last: Record, request: RotationRequest) -> Stale | None:
    """What is made from an older state of the key must not come before a newer one unawares."""
    if request.epoch is not None or last.manifest.key_state == old.manifest.key_state:
        return None
    return Stale(
        f"epoch {last.epoch} is newer than the latest, {old.epoch}, and has another state of the key",
        hint=f"prove it first with `{drill.command(last, epoch=last.epoch)}`, "
        "or name the epoch to start from with --epoch",
    )


def _refusal(
    scope: KeyScope, last: Record, difference: PlanChange, plan: create.CustodyPlan, request: RotationRequest
) -> Stale | None:
    """Whoever can write to the configuration must not choose the custodians: the operator names them, too."""
    if not request.accept_custody_change:
        try:
            lineage.require_remembered(scope, last, plan)
        except Stale as refusal:
            return refusal
    named = (request.remove, request.add) == (difference.removed, difference.added)
    if request.accept_custody_change and not (request.remove or request.add):
        return None
    if named and (request.accept_custody_change or not difference.machines):
        return None
    made = request.add <= set(difference.after) and request.remove.isdisjoint(difference.after)
    if made and not difference.lines and (request.remove or request.add):
        return Stale(
            f"the last epoch, {last.epoch}, has the change that --remove and --add name already",
            hint="leave both out to give the same people new shares once more",
        )
    if not named and (request.remove or request.add):
        return Stale(
            "the configuration does not make the change that --remove and --add name: "
            + ("; ".join(difference.lines) or "its custodians are those of the last epoch"),
            hint="change `members` of the group in the configuration first, then name exactly that change",
        )
    words = [f"--remove {person}" for person in sorted(difference.removed)]
    words += [f"--add {person}" for person in sorted(difference.added)]
    words += ["--accept-custody-change"] if difference.machines else []
    return Stale(
        f"the configuration's custody plan is not the stored one: {'; '.join(difference.lines)}",
        hint=f"if this is meant, say so with {' '.join(words)}; otherwise put the old plan back",
    )


def _create(
    scope: KeyScope, catalog: Catalog, start: _Start, plan: create.CustodyPlan, request: RotationRequest
) -> Record:
    old, last = start.old, start.last
    opened = unseal(old, scope.backends("driller"), request.unseal, catalog.records(other_than=old))
    scope.reporter.progress(f"epoch {old.epoch}: the escrow passphrase is back by path {opened.path}")
    written = passphrase.written(opened.raw)
    key = create.reopen_key(old, written)
    scope.reporter.progress("making a new record: re-wrapping the key, sealing a new escrow passphrase")
    return create.create_record(
        key,
        plan,
        now=publish.moment_after(scope, last),
        deadline=scope.deadline,
        previous=last.reference,
        supersedes=old,
        export_passphrase=written,
    )


def _event(result: Rotation, request: RotationRequest) -> RotateEvent:
    return RotateEvent(
        **result.stored.facts(),
        supersedes=result.old.epoch,
        reason=request.reason,
        custodians_before=tuple(result.change.before),
        custodians_after=tuple(result.change.after),
        changes=tuple(result.change.lines),
        accepted_custody_change=request.accept_custody_change,
    )
