"""The main story: take an export, and leave behind copies that are proven to restore."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.archive import lineage
from pipeline.archive.archive import Archive
from pipeline.archive.catalog import Catalog
from pipeline.archive.journal import JournalEntry
from pipeline.archive.run import KeyScope
from pipeline.core.errors import Code, OrgkeyError, Stale
from pipeline.core.secret import Secret
from pipeline.custody import plan_change
from pipeline.custody.shares import paths
from pipeline.evidence.ledger.events import EscrowEvent
from pipeline.posture.model import require_no_single_party
from pipeline.record import create
from pipeline.record.verify import Record
from pipeline.workflows import publish
from pipeline.workflows.publish import PendingEpoch, PublishedEpoch

if TYPE_CHECKING:
    from pipeline.openpgp.key.rewrap import UnlockedKey


@dataclass(frozen=True)
class EscrowOptions:
    """What the operator asks for beside the export itself.

    Attributes:
        accept: Judgements on the export that are overridden.
        accept_custody_change: Whether a new epoch may follow another custody plan than the last one.
        with_drill: Whether to prove the stored copies at the end.
        new_epoch: Whether to make a new epoch although what is stored already could not be read, or opens no
            more.
    """

    accept: frozenset[str] = frozenset()
    accept_custody_change: bool = False
    with_drill: bool = True
    new_epoch: bool = False


@dataclass(frozen=True)
class EscrowPlan:
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
    scope: KeyScope, data: bytes, passphrase: Secret | None, options: EscrowOptions = EscrowOptions()
) -> PublishedEpoch:
    """Escrow a keypair export.

    Args:
        scope: The key.
        data: The export.
        passphrase: Opens it; ``None`` for one that has no passphrase.
        options: What else the operator asks for.

    Returns:
        The outcome, also when it is degraded or a proof failed: see ``code``.

    Raises:
        OrgkeyError: Nothing that counts was stored; a later run starts again or resumes.
    """
    key = _open(scope, data, passphrase, options)
    with scope.locked("escrow-failed"), scope.prover() if options.with_drill else nullcontext():
        plan, archive = publish.plan(scope), scope.archive("writer")
        catalog = archive.catalog()
        publish.catch_up(scope, catalog)
        pending = _unfinished(scope, catalog, key, plan)
        if pending and options.new_epoch and publish.dead(scope, pending.record.epoch):
            pending = None
        if pending is None:
            pending = _stored(scope, archive, catalog, key, plan, options)
        if pending is not None:
            how = "resuming the interrupted" if pending.resumed else "the key is stored already: checking"
            scope.reporter.progress(f"{how} epoch {pending.record.epoch}")
        else:
            scope.reporter.progress("making a new record: re-wrapping the key, sealing its passphrase")
            with publish.making(plan):
                last = catalog.newest_record()
                pending = publish.begin(scope, _create(scope, key, plan, last, passphrase))
        result = publish.publish(scope, archive, pending, with_drill=options.with_drill)
        event = EscrowEvent(
            **result.facts(),
            accepted=tuple(sorted(options.accept)),
            accepted_custody_change=options.accept_custody_change,
            custodians=tuple(plan_change.people(result.record.manifest.custody.holders)),
        )
        # All is stored, and only people can prove it: what they prove is seen in the journal.
        waiting = result.code is Code.DEGRADED and result.drill is None and not result.written.failures
        scope.record_event(event, final=waiting)
        return result


def rehearse(
    scope: KeyScope, data: bytes, passphrase: Secret | None, options: EscrowOptions = EscrowOptions()
) -> EscrowPlan:
    """Say what :func:`escrow` would do, and change nothing anywhere.

    Raises:
        OrgkeyError: What would make the escrow fail before it writes.
    """
    from pipeline.openpgp.key import rewrap

    require_no_single_party(scope.config)
    key = rewrap.load(data, passphrase, pin=scope.fingerprint, accept=options.accept, now=scope.clock.now())
    plan, archive = publish.plan(scope), scope.archive("writer")
    catalog = archive.catalog()
    pending, action = _unfinished(scope, catalog, key, plan), "resume an interrupted epoch"
    if pending is None:
        pending = _stored(scope, archive, catalog, key, plan, options, begin=False)
        action = "check the stored epoch, and write the copies that are missing"
    if pending is None:
        action = "make a new epoch"
    epoch = pending.record.epoch if pending else None
    return EscrowPlan(key.fingerprint, action, epoch, tuple(archive.targets), plan.paths)


def _open(scope: KeyScope, data: bytes, passphrase: Secret | None, options: EscrowOptions) -> UnlockedKey:
    """Open the export; where it does not open, another try can only end the same."""
    from pipeline.openpgp.key import rewrap

    try:
        require_no_single_party(scope.config)
        key = rewrap.load(
            data, passphrase, pin=scope.fingerprint, accept=options.accept, now=scope.clock.now()
        )
    except OrgkeyError as error:
        scope.note_failure("escrow-failed", error, final=True)
        raise
    scope.reporter.progress(f"key {key.fingerprint} is open and complete")
    for note in key.notes:
        scope.reporter.progress(f"note: {note}")
    for warning in key.warnings:
        scope.reporter.warn(warning)
    return key


def _create(
    scope: KeyScope,
    key: UnlockedKey,
    plan: create.CustodyPlan,
    last: Record | None,
    passphrase: Secret | None,
) -> Record:
    return create.create_record(
        key,
        plan,
        now=publish.moment_after(scope, last),
        deadline=scope.deadline,
        previous=last.reference if last else None,
        export_passphrase=passphrase,
    )


def _unfinished(
    scope: KeyScope, catalog: Catalog, key: UnlockedKey, plan: create.CustodyPlan
) -> PendingEpoch | None:
    """The epoch of this key and plan that an earlier run left unproven."""
    return publish.unfinished(
        scope, catalog, lambda record: record.manifest.key_state == key.key_state and plan.is_of(record)
    )


def _stored(
    scope: KeyScope,
    archive: Archive,
    catalog: Catalog,
    key: UnlockedKey,
    plan: create.CustodyPlan,
    options: EscrowOptions,
    *,
    begin: bool = True,
) -> PendingEpoch | None:
    """The stored epoch that holds this key already; ``None`` where a new one has to be made, and may be.

    Targets that cannot be reached are left for the writing to report, while enough others answer.

    Raises:
        OrgkeyError: What is stored already could not be read.
        Stale: The plan is not the last authentic manifest's: of this key, where rotation changes it, or of
            the one before it, where the operator has not accepted the change.
    """
    unread = _unread(archive, catalog)
    if unread is not None and not options.new_epoch:
        raise unread
    latest, record = catalog.newest(), catalog.newest_record()
    new = options.new_epoch or record is None or record.manifest.key_state != key.key_state
    if latest is None or record is None or new:
        if not options.accept_custody_change:
            last = record
            if last is None:
                last, unknown = _newest_former(scope)
                unread = unread or unknown
            lineage.require_same(scope, last, plan, unread)
        return None
    if not plan.is_of(record):
        raise Stale(
            f"epoch {latest.name} holds this key under another custody plan than the configuration's: "
            + lineage.difference(record, plan),
            hint="apply the configuration with `orgkey custody rotate`, or put the old plan back",
        )
    confirmed = {copy.target: copy.receipt() for copy in latest.good}
    entry = scope.journal.entry(latest.name)
    if begin:
        entry = entry or scope.journal.begin(latest.name, record.data)
        for receipt in confirmed.values():
            entry.add_receipt(receipt)
    return PendingEpoch(record, entry or JournalEntry(latest.name, scope.root), confirmed, already=True)


def _unread(archive: Archive, catalog: Catalog) -> OrgkeyError | None:
    """Why what is stored is not known whole; ``None`` where it is."""
    try:
        publish.require_history(archive, catalog, lineage.INSIST)
    except OrgkeyError as error:
        return error
    return None


def _newest_former(scope: KeyScope) -> tuple[Record | None, OrgkeyError | None]:
    """The former Org Keys' newest record, which a first escrow is compared with; or why it is not known."""
    archives = [key.archive("writer") for key in scope.former()]
    catalogs = [(archive, archive.catalog()) for archive in archives]
    found = [record for _, catalog in catalogs if (record := catalog.newest_record())]
    unread = [error for archive, catalog in catalogs if (error := _unread(archive, catalog))]
    newest = max(found, key=lambda record: record.manifest.created, default=None)
    return newest, unread[0] if unread else None
