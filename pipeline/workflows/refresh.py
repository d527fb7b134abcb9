"""Refresh: the same secret with a newer public part, after the Org Key has renewed itself.

The server renews its key every year: the key stays, only its self-signatures are new. A refreshed epoch has
them, so that drills and restores speak of a valid key; everything secret is carried over byte for byte, so
custodians' shares, kits and paper stay good and nobody has to be asked for a new one.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.archive import lineage
from pipeline.archive.archive import Archive
from pipeline.archive.catalog import Catalog
from pipeline.archive.run import KeyScope
from pipeline.core.errors import Expired, NotAKey, NotPinned, OrgkeyError, Stale
from pipeline.custody.shares import passphrase
from pipeline.evidence.ledger.events import RefreshEvent
from pipeline.record import create
from pipeline.record.manifest import Reference
from pipeline.record.verify import Record
from pipeline.unseal.ceremony import UNATTENDED, UnsealRequest
from pipeline.unseal.unseal import unseal
from pipeline.workflows import drill, publish
from pipeline.workflows.publish import PendingEpoch, PublishedEpoch


@dataclass(frozen=True)
class RefreshRequest:
    """What is to be refreshed.

    Attributes:
        public: The newer public key, as the server gives it out; foreign bytes.
        unseal: How the stored epoch is opened.
    """

    public: bytes
    unseal: UnsealRequest = UNATTENDED


@dataclass(frozen=True)
class Refreshed:
    """What a refresh achieved.

    Attributes:
        stored: The new epoch; ``None`` when the stored public part is as new already.
        old: The epoch that was looked at.
    """

    stored: PublishedEpoch | None
    old: Reference


def refresh(scope: KeyScope, request: RefreshRequest) -> Refreshed:
    """Store the latest epoch again with a newer public part.

    Returns:
        The outcome, also when it is degraded or a proof failed.

    Raises:
        NotPinned: The public key is another key's.
        NotAKey: It cannot be read.
        Expired: It has been revoked.
        Stale: An epoch with other shares is newer, and is not proven.
        OrgkeyError: The stored epoch does not open, or nothing that counts was stored.
    """
    with scope.locked("refresh-failed"), scope.prover():
        archive = scope.archive("writer")
        catalog = archive.catalog()
        publish.catch_up(scope, catalog)
        old = catalog.record()
        pending = _interrupted(scope, catalog, old, request)
        if pending is not None:
            scope.reporter.progress(f"resuming the interrupted refresh, epoch {pending.record.epoch}")
        elif (record := _create(scope, archive, catalog, old, request)) is not None:
            pending = publish.begin(scope, record)
        else:
            return Refreshed(None, old.reference)
        stored = publish.publish(scope, archive, pending)
        superseded = pending.record.manifest.supersedes or old.reference
        scope.record_event(RefreshEvent(**stored.facts(), supersedes=superseded.epoch))
        return Refreshed(stored, superseded)


def rehearse(scope: KeyScope, request: RefreshRequest) -> tuple[str, str]:
    """Say what :func:`refresh` would do; nothing is opened, and nothing changes anywhere.

    Returns:
        The epoch that it would start from, and what it would do, in words.

    Raises:
        OrgkeyError: What would make it fail before it opens anything.
    """
    catalog = scope.archive("writer").catalog()
    old = catalog.record()
    if _compared(old, request.public) != "same":
        _require_newest(catalog, old)
        return old.epoch, "store it again with the newer public part, under the same shares"
    if _elliptic(old):
        return old.epoch, (
            "open it, and store it again only if its secret numbers are not in canonical form: "
            "the stored public part is as new already"
        )
    return old.epoch, "do nothing: the stored public part is as new already"


def _interrupted(
    scope: KeyScope, catalog: Catalog, old: Record, request: RefreshRequest
) -> PendingEpoch | None:
    """A refresh with this public part that an earlier run left unproven."""
    return publish.unfinished(
        scope,
        catalog,
        lambda record: (
            record.manifest.record_id == old.manifest.record_id
            and record.manifest.supersedes is not None
            and _compared(record, request.public) == "same"
        ),
    )


def _compared(record: Record, public: bytes) -> str:
    """Whether a public key is newer than a record's: ``same`` or ``renewed``.

    Raises:
        NotPinned: It is another key: nothing of it is ever taken.
        NotAKey: It cannot be read.
        Expired: It has been revoked.
    """
    from pipeline.openpgp.key import parsing, validity
    from pipeline.openpgp.key.compare import compare_public

    state = compare_public(record.public, public)
    if state == "replaced":
        raise NotPinned(
            f"the public key is not that of {record.fingerprint}",
            hint="a regenerated Org Key is another key: pin it, list this one in key.former, and escrow it",
        )
    if state == "unknown":
        raise NotAKey(
            "the public key cannot be read", hint="give the server's public key, one key, armored or binary"
        )
    if validity.judge(parsing.read_one(public, "the public key"), None).primary.revoked:
        raise Expired(
            "the public key has been revoked: a refreshed epoch would give a revoked key back",
            hint="what is escrowed stays good for old backups; escrow the key that replaced it",
        )
    return state


def _require_newest(catalog: Catalog, old: Record) -> None:
    """Make sure that no newer epoch has other shares: a refreshed one would put the older shares before them.

    Raises:
        Stale: There is one, and this host does not know of a drill that proved it.
    """
    newest = catalog.newest_record() or old
    if newest.manifest.record_id != old.manifest.record_id:
        raise Stale(
            f"epoch {newest.epoch} is newer than the latest, {old.epoch}, and has other shares",
            hint=f"prove it first with `{drill.command(newest, epoch=newest.epoch)}`",
        )


def _elliptic(record: Record) -> bool:
    from pipeline.openpgp.key import parsing

    key = parsing.read_one(record.public, "the stored public part")
    return any(component.public.curve for component in key.components)


def _create(
    scope: KeyScope, archive: Archive, catalog: Catalog, old: Record, request: RefreshRequest
) -> Record | None:
    """The record with the newer public part; ``None`` where there is nothing to refresh.

    Earlier releases stored elliptic numbers as GnuPG 2.3 and newer export them, a form that strict programs
    refuse. That shows only when the record is open: machines open it, or people who came with shares or named
    their path, nobody else.
    """
    unsealing, newer = request.unseal, _compared(old, request.public) != "same"
    if newer:
        _require_newest(catalog, old)
        publish.require_history(archive, catalog, lineage.INSIST)
    elif not _elliptic(old):
        return None
    elif unsealing.path is None and not unsealing.shares:
        unsealing = UNATTENDED
    try:
        opened = unseal(old, scope.backends("driller"), unsealing, catalog.records(other_than=old))
        scope.reporter.progress(f"epoch {old.epoch}: the escrow passphrase is back by path {opened.path}")
        key = create.reopen_key(old, passphrase.written(opened.raw)).merge_public(request.public)
    except OrgkeyError as error:
        if newer:
            raise
        scope.reporter.progress(f"the form of its secret numbers is not known: {error.message}")
        return None
    if not newer:
        if key.canonical:
            return None
        _require_newest(catalog, old)
        publish.require_history(archive, catalog, lineage.INSIST)
        scope.reporter.progress("its secret numbers have a form that strict programs refuse: written anew")
    now = publish.moment_after(scope, catalog.newest_record() or old)
    return create.refresh_record(old, key, opened.raw, now=now, deadline=scope.deadline)
