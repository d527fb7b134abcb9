"""The main story: take an export, and leave behind copies that are proven to restore."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.archive import journal, lineage
from pipeline.archive.catalog import Reader, Survey
from pipeline.archive.run import KeyScope
from pipeline.core.errors import Code, OrgkeyError, Stale
from pipeline.core.secret import Secret
from pipeline.custody import plan_change
from pipeline.custody.shares import paths
from pipeline.evidence.ledger.events import EscrowEvent
from pipeline.posture.model import require_no_single_party
from pipeline.record import create
from pipeline.record.manifest import Reference
from pipeline.record.verify import Record
from pipeline.storage.interface import Receipt, Target
from pipeline.workflows import publish as storing
from pipeline.workflows.publish import Chosen, Stored

if TYPE_CHECKING:
    from pipeline.openpgp.key.rewrap import UnlockedKey


@dataclass(frozen=True)
class Wishes:
    """What the operator asks for beside the export itself.

    Attributes:
        accept: Judgements on the export that are overridden.
        accept_custody_change: Whether a new epoch may follow another custody plan than the last one.
        with_drill: Whether to prove the stored copies at the end.
        new_epoch: Whether to make a new epoch although what is stored already could not be read.
    """

    accept: frozenset[str] = frozenset()
    accept_custody_change: bool = False
    with_drill: bool = True
    new_epoch: bool = False


@dataclass(frozen=True)
class Rehearsal:
    """What an escrow would do.

    Attributes:
        fingerprint: The key's.
        action: In words.
        epoch: The stored or interrupted epoch that would be taken up, if any.
        targets: Where copies would go.
        paths: The custody paths.
    """

    fingerprint: str
    action: str
    epoch: str | None
    targets: tuple[str, ...]
    paths: tuple[paths.Path, ...]


def escrow(
    context: KeyScope,
    data: bytes,
    passphrase: Secret | None,
    wishes: Wishes = Wishes(),
) -> Stored:
    """Escrow a keypair export.

    Args:
        context: The run.
        data: The export.
        passphrase: Opens it; ``None`` for one that has no passphrase.
        wishes: What else the operator asks for.

    Returns:
        The outcome, also when it is degraded or a proof failed: see ``code``.

    Raises:
        OrgkeyError: Nothing that counts was stored; a later run starts again or resumes.
    """
    key = _open(context, data, passphrase, wishes)
    context.reporter.progress(f"key {key.fingerprint} is open and complete")
    for note in key.notes:
        context.reporter.progress(f"note: {note}")
    for warning in key.warnings:
        context.reporter.warn(warning)
    with context.locked("escrow-failed"), context.prover() if wishes.with_drill else nullcontext():
        return _escrow(context, key, passphrase, wishes)


def _open(context: KeyScope, data: bytes, passphrase: Secret | None, wishes: Wishes) -> UnlockedKey:
    """Open the export; that it does not open is entered in the ledger as final: it never will."""
    from pipeline.openpgp.key import rewrap

    try:
        require_no_single_party(context.config)
        return rewrap.load(
            data, passphrase, pin=context.fingerprint, accept=wishes.accept, now=context.clock.now()
        )
    except OrgkeyError as error:
        context.note_failure("escrow-failed", error, final=True)
        raise


def _escrow(
    context: KeyScope,
    key: UnlockedKey,
    passphrase: Secret | None,
    wishes: Wishes,
) -> Stored:
    writer = context.backends("writer")
    targets = writer.targets()
    plan = storing.plan(context, writer)
    chosen = _unfinished(context, key, plan) or _stored(context, targets, key, plan, wishes)
    if isinstance(chosen, Chosen):
        how = "resuming the interrupted" if chosen.resumed else "the key is stored already: checking"
        context.reporter.progress(f"{how} epoch {chosen.record.epoch}")
    else:
        context.reporter.progress(
            "minting a new record: re-wrapping the key, splitting and sealing its escrow passphrase"
        )
        chosen = storing.begin(
            context,
            create.create_record(
                key,
                plan,
                now=storing.moment_after(context, chosen),
                deadline=context.deadline,
                previous=Reference(chosen.epoch, chosen.sha256.hex) if chosen else None,
                export_passphrase=passphrase,
            ),
        )
    result = storing.store(context, targets, chosen, with_drill=wishes.with_drill)
    event = EscrowEvent(
        **storing.facts(result),
        accepted=tuple(sorted(wishes.accept)),
        accepted_custody_change=wishes.accept_custody_change,
        custodians=tuple(plan_change.people(result.record.manifest.custody.holders)),
    )
    # All is stored, and only people can prove it: what they prove is seen in the journal.
    waiting = result.code is Code.DEGRADED and result.drill is None and not result.placed.failures
    context.record_event(event, final=waiting)
    return result


def rehearse(
    context: KeyScope, data: bytes, passphrase: Secret | None, wishes: Wishes = Wishes()
) -> Rehearsal:
    """Say what :func:`escrow` would do, and change nothing anywhere.

    Args:
        context: The run.
        data: The export.
        passphrase: Opens it; ``None`` for one that has no passphrase.
        wishes: What else the operator asks for.

    Raises:
        OrgkeyError: What would make the escrow fail before it writes.
    """
    from pipeline.openpgp.key import rewrap

    require_no_single_party(context.config)
    key = rewrap.load(
        data, passphrase, pin=context.fingerprint, accept=wishes.accept, now=context.clock.now()
    )
    writer = context.backends("writer")
    targets = writer.targets()
    plan = storing.plan(context, writer)
    chosen = _unfinished(context, key, plan)
    action = "resume an interrupted epoch"
    if chosen is None:
        stored = _stored(context, targets, key, plan, wishes, begin=False)
        action = "mint a new epoch"
        if isinstance(stored, Chosen):
            chosen = stored
            action = "check the stored epoch, and write the copies that are missing"
    return Rehearsal(
        key.fingerprint, action, chosen.record.epoch if chosen else None, tuple(targets), plan.paths
    )


def _unfinished(context: KeyScope, key: UnlockedKey, plan: create.CustodyPlan) -> Chosen | None:
    """The epoch of this key and plan that an earlier run left unproven."""
    return storing.unfinished(
        context,
        lambda record: record.manifest.key_state == key.key_state and plan.is_of(record),
    )


def _stored(
    context: KeyScope,
    targets: Mapping[str, Target],
    key: UnlockedKey,
    plan: create.CustodyPlan,
    wishes: Wishes,
    *,
    begin: bool = True,
) -> Chosen | Record | None:
    """The stored epoch that holds this key already; else the newest record, if there is one.

    Targets that cannot be reached are left for the writing to report, while enough others answer.

    Raises:
        OrgkeyError: What is stored already could not be read.
        Stale: The plan is not the last authentic manifest's: of this key, where rotation changes it, or of
            the one before it, where the operator has not accepted the change.
    """
    reader = Reader.of(context, targets)
    survey = reader.survey(context.fingerprint, journal=context.journal)
    unread = _unread(context, targets, survey)
    if unread is not None and not wishes.new_epoch:
        raise unread
    latest = survey.newest()
    record = latest.record if latest else None
    if latest is None or record is None or record.manifest.key_state != key.key_state:
        if not wishes.accept_custody_change:
            last = record
            if last is None:
                last, unknown = _newest_former(context, targets, reader)
                unread = unread or unknown
            lineage.require_same(context, last, plan, unread)
        return record
    if not plan.is_of(record):
        raise Stale(
            f"epoch {latest.name} holds this key under another custody plan than the configuration's: "
            + lineage.difference(record, plan),
            hint="apply the configuration with `orgkey custody rotate`, or put the old plan back",
        )
    confirmed = {
        copy.target: Receipt(
            copy.target,
            copy.kind,
            copy.domain,
            copy.location,
            copy.version,
            record.sha256,
            copy.retain_until,
            None if copy.slot.epoch == latest.name else copy.slot.epoch,
        )
        for copy in latest.good
    }
    entry = context.journal.entry(latest.name)
    if begin:
        entry = entry or context.journal.begin(latest.name, record.data)
        for receipt in confirmed.values():
            entry.add_receipt(receipt)
    return Chosen(record, entry or journal.Entry(latest.name, context.root), confirmed, already=True)


def _unread(context: KeyScope, targets: Mapping[str, Target], survey: Survey) -> OrgkeyError | None:
    """Why what is stored is not known whole; ``None`` where it is."""
    try:
        storing.require_history(context, targets, survey, lineage.INSIST)
    except OrgkeyError as error:
        return error
    return None


def _newest_former(
    context: KeyScope, targets: Mapping[str, Target], reader: Reader
) -> tuple[Record | None, OrgkeyError | None]:
    """The former Org Keys' newest record, which a first escrow is compared with; or why it is not known."""
    former = context.config.key.former if context.config.key else ()
    surveys: list[Survey] = [reader.survey(fingerprint) for fingerprint in former]
    found = [epoch.record for survey in surveys if (epoch := survey.newest()) and epoch.record]
    unread = [error for survey in surveys if (error := _unread(context, targets, survey))]
    newest = max(found, key=lambda record: record.manifest.created, default=None)
    return newest, unread[0] if unread else None
