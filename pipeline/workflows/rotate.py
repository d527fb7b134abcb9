"""Rotate custody: a new escrow passphrase, new shares and a new record for the same key.

What a rotation does not do is as important as what it does, see :data:`LIMITS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pipeline.archive import lineage
from pipeline.archive.catalog import Epoch, Reader, Survey, choose, not_read
from pipeline.archive.run import KeyScope
from pipeline.core.errors import OrgkeyError, Stale
from pipeline.custody import plan_change
from pipeline.custody.plan_change import PlanChange
from pipeline.custody.shares import passphrase
from pipeline.evidence.ledger.events import RotateEvent
from pipeline.posture.model import require_no_single_party
from pipeline.record import create
from pipeline.record.manifest import Reference
from pipeline.record.verify import Record
from pipeline.storage.interface import Target
from pipeline.unseal.ceremony import UNATTENDED, UnsealRequest
from pipeline.unseal.unseal import unseal
from pipeline.workflows import publish as storing
from pipeline.workflows.publish import Chosen, Stored

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

    stored: Stored
    old: Reference
    change: PlanChange
    reason: str


@dataclass(frozen=True)
class Rehearsal:
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


def rotate(context: KeyScope, request: RotationRequest) -> Rotation:
    """Replace the latest epoch by one with a new escrow passphrase and the configured custody plan.

    The old epoch stays as it is: storage is create-only. The new one counts once it is written, read back
    and drilled on every path that needs no person; until then the old one is the latest.

    Args:
        context: The run.
        request: What is asked for.

    Returns:
        The outcome, also when it is degraded or a proof failed.

    Raises:
        Stale: The plan changes in a way that the operator has not named.
        OrgkeyError: The old epoch does not open, or nothing that counts was stored.
    """
    with context.locked("rotate-failed"), context.prover():
        return _rotate(context, request)


def _rotate(context: KeyScope, request: RotationRequest) -> Rotation:
    require_no_single_party(context.config)
    writer = context.backends("writer")
    targets = writer.targets()
    plan = storing.plan(context, writer)
    survey = _survey(context, targets)
    interrupted = _interrupted(context, plan)
    if interrupted is None and request.epoch is None:
        storing.require_history(context, targets, survey, "Or name the epoch to start from with --epoch")
    if interrupted is not None:
        chosen, old = interrupted, _superseded(survey, interrupted)
    else:
        chosen, old = None, _chosen(survey, request.epoch)
    difference = _difference(old if chosen else _newest(survey, old), plan)
    if chosen is not None:
        context.reporter.progress(f"resuming the interrupted rotation, epoch {chosen.record.epoch}")
    else:
        refusal = _refusal(context, _newest(survey, old), difference, plan, request)
        if refusal is not None:
            raise refusal
        record = _mint(context, survey, old, plan, request)
        chosen = storing.begin(context, record)
    stored = storing.store(context, targets, chosen)
    result = Rotation(stored, Reference(old.epoch, old.sha256.hex), difference, request.reason)
    context.record_event(_event(result, request))
    return result


def rehearse(context: KeyScope, request: RotationRequest) -> Rehearsal:
    """Say what :func:`rotate` would do; nothing is opened, and nothing changes anywhere.

    Raises:
        OrgkeyError: There is nothing to rotate, or the plan cannot be carried out.
    """
    require_no_single_party(context.config)
    writer = context.backends("writer")
    targets = writer.targets()
    plan = storing.plan(context, writer)
    survey = _survey(context, targets)
    interrupted = _interrupted(context, plan)
    old = _superseded(survey, interrupted) if interrupted else _chosen(survey, request.epoch)
    last = _newest(survey, old)
    difference = _difference(old if interrupted else last, plan)
    action = (
        f"finish the interrupted rotation to epoch {interrupted.record.epoch}"
        if interrupted
        else f"open epoch {old.epoch}, and make a new one of the same key with new shares"
    )
    refusal = None if interrupted else _refusal(context, last, difference, plan, request)
    return Rehearsal(old.epoch, action, difference, refusal, tuple(targets))


def _survey(context: KeyScope, targets: Mapping[str, Target]) -> Survey:
    reader = Reader.of(context, targets)
    return reader.survey(context.fingerprint, journal=context.journal)


def _interrupted(context: KeyScope, plan: create.CustodyPlan) -> Chosen | None:
    """A rotation to this very plan that an earlier run left unproven."""
    return storing.unfinished(
        context,
        lambda record: record.manifest.supersedes is not None and plan.is_of(record),
    )


def _chosen(survey: Survey, epoch: str | None) -> Record:
    chosen: Epoch = choose(survey, [epoch] if epoch else ())[0]
    if chosen.record is None:
        raise not_read(chosen)
    return chosen.record


def _superseded(survey: Survey, interrupted: Chosen) -> Record:
    """The epoch that an interrupted rotation started from."""
    reference = interrupted.record.manifest.supersedes
    assert reference is not None
    return _chosen(survey, reference.epoch)


def _newest(survey: Survey, old: Record) -> Record:
    """The record that a plan is compared with: the newest one, also where an older one is opened."""
    newest = survey.newest()
    return newest.record if newest and newest.record else old


def _difference(record: Record, plan: create.CustodyPlan) -> PlanChange:
    return plan_change.compare_plans(record.manifest.custody, plan.paths, plan.descriptions)


def _refusal(
    context: KeyScope,
    last: Record,
    difference: PlanChange,
    plan: create.CustodyPlan,
    request: RotationRequest,
) -> Stale | None:
    """Whoever can write to the configuration must not choose the custodians: the operator names them, too."""
    if not request.accept_custody_change:
        try:
            lineage.require_remembered(context, last, plan)
        except Stale as refusal:
            return refusal
    named = (request.remove, request.add) == (difference.removed, difference.added)
    if request.accept_custody_change and not (request.remove or request.add):
        return None
    if named and (request.accept_custody_change or not difference.machines):
        return None
    if not named and (request.remove or request.add):
        return Stale(
            "the configuration does not make the change that --remove and --add name: "
            + ("; ".join(difference.lines) or "its custodians are those of the last epoch"),
            hint="change `members` of the group in the configuration first, then name exactly that change",
        )
    words = [f"--remove {who}" for who in sorted(difference.removed)]
    words += [f"--add {who}" for who in sorted(difference.added)]
    words += ["--accept-custody-change"] if difference.machines else []
    return Stale(
        f"the configuration's custody plan is not the stored one: {'; '.join(difference.lines)}",
        hint=f"if this is meant, say so with {' '.join(words)}; otherwise put the old plan back",
    )


def _mint(
    context: KeyScope, survey: Survey, old: Record, plan: create.CustodyPlan, request: RotationRequest
) -> Record:
    others = [epoch.record for epoch in survey.epochs if epoch.record and epoch.record.epoch != old.epoch]
    opened = unseal(old, context.backends("driller"), request.unseal, others)
    context.reporter.progress(f"epoch {old.epoch}: the escrow passphrase is back by path {opened.path}")
    written = passphrase.written(opened.raw)
    key = create.reopen_key(old, written)
    context.reporter.progress(
        "minting a new record: re-wrapping the key, splitting and sealing a new escrow passphrase"
    )
    before = _newest(survey, old)
    return create.create_record(
        key,
        plan,
        now=storing.moment_after(context, before),
        deadline=context.deadline,
        previous=Reference(before.epoch, before.sha256.hex),
        supersedes=old,
        export_passphrase=written,
    )


def _event(result: Rotation, request: RotationRequest) -> RotateEvent:
    return RotateEvent(
        **storing.facts(result.stored),
        supersedes=result.old.epoch,
        reason=request.reason,
        custodians_before=tuple(result.change.before),
        custodians_after=tuple(result.change.after),
        changes=tuple(result.change.lines),
        accepted_custody_change=request.accept_custody_change,
    )
