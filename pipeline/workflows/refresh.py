"""Refresh: the same secret with a newer public part, after the Org Key has renewed itself.

The server renews its key every year: the key stays, only its self-signatures are new. A refreshed epoch has
them, so that drills and restores speak of a valid key; everything secret is carried over byte for byte, so
custodians' shares, kits and paper stay good and nobody has to be asked for a new one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pipeline.archive import lineage
from pipeline.archive.catalog import Reader, Survey, choose, not_read
from pipeline.archive.run import KeyScope
from pipeline.core.errors import Code, Expired, NotAKey, NotPinned, OrgkeyError
from pipeline.custody.shares import passphrase
from pipeline.evidence.ledger.events import RefreshEvent
from pipeline.record import create
from pipeline.record.manifest import Reference
from pipeline.record.verify import Record
from pipeline.unseal.ceremony import UNATTENDED, UnsealRequest
from pipeline.unseal.unseal import Unsealed, unseal
from pipeline.workflows import publish as storing
from pipeline.workflows.publish import Stored

if TYPE_CHECKING:
    from pipeline.openpgp.key.rewrap import UnlockedKey


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

    stored: Stored | None
    old: Reference


def refresh(context: KeyScope, request: RefreshRequest) -> Refreshed:
    """Store the latest epoch again with a newer public part.

    Args:
        context: The run.
        request: What is asked for.

    Returns:
        The outcome, also when it is degraded or a proof failed.

    Raises:
        NotPinned: The public key is another key's.
        NotAKey: It cannot be read.
        Expired: It has been revoked.
        OrgkeyError: The stored epoch does not open, or nothing that counts was stored.
    """
    with context.locked("refresh-failed"), context.prover():
        return _refresh(context, request)


def rehearse(context: KeyScope, request: RefreshRequest) -> tuple[str, str]:
    """Say what :func:`refresh` would do; nothing is opened, and nothing changes anywhere.

    Returns:
        The epoch that it would start from, and what it would do, in words.

    Raises:
        OrgkeyError: What would make it fail before it opens anything.
    """
    old = _latest(_survey(context))
    if _compared(old, request.public) == "same":
        if _elliptic(old):
            return old.epoch, (
                "open it, and store it again only if its secret numbers are not in canonical form: "
                "the stored public part is as new already"
            )
        return old.epoch, "do nothing: the stored public part is as new already"
    return old.epoch, "store it again with the newer public part, under the same shares"


def _refresh(context: KeyScope, request: RefreshRequest) -> Refreshed:
    survey = _survey(context)
    old = _latest(survey)
    chosen = storing.unfinished(
        context,
        lambda record: (
            record.manifest.record_id == old.manifest.record_id
            and record.manifest.supersedes is not None
            and _compared(record, request.public) == "same"
        ),
    )
    if chosen is not None:
        context.reporter.progress(f"resuming the interrupted refresh, epoch {chosen.record.epoch}")
    elif _compared(old, request.public) != "same":
        _require_history(context, survey)
        chosen = storing.begin(context, _mint(context, survey, old, request))
    elif (written := _written_anew(context, survey, old, request)) is not None:
        _require_history(context, survey)
        chosen = storing.begin(context, written)
    else:
        _catch_up(context, old)
        return Refreshed(None, Reference(old.epoch, old.sha256.hex))
    stored = storing.store(context, context.backends("writer").targets(), chosen)
    reference = chosen.record.manifest.supersedes or Reference(old.epoch, old.sha256.hex)
    context.record_event(RefreshEvent(**storing.facts(stored), supersedes=reference.epoch))
    return Refreshed(stored, reference)


def _require_history(context: KeyScope, survey: Survey) -> None:
    insist = lineage.INSIST
    storing.require_history(context, context.backends("writer").targets(), survey, insist)


def _catch_up(context: KeyScope, record: Record) -> None:
    """Enter a refresh in the ledger that this host has finished, killed before its entry was written."""
    entry = context.journal.entry(record.epoch)
    if record.manifest.supersedes is None or entry is None or not entry.receipts() or not entry.proven():
        return
    if any(
        item.details.get("epoch") == record.epoch
        for item in context.ledger.each()
        if item.own and item.event in ("escrow", "rotate", "refresh")
    ):
        return
    context.record_event(
        RefreshEvent(
            epoch=record.epoch,
            record_sha256=record.sha256.hex,
            supersedes=record.manifest.supersedes.epoch,
            already=True,
            proven=True,
            code=int(Code.OK),
        )
    )


def _survey(context: KeyScope) -> Survey:
    reader = Reader.of(context, context.backends("writer").targets())
    return reader.survey(context.fingerprint, journal=context.journal)


def _latest(survey: Survey) -> Record:
    epoch = choose(survey, ())[0]
    if epoch.record is None:
        raise not_read(epoch)
    return epoch.record


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


def _elliptic(record: Record) -> bool:
    from pipeline.openpgp.key import parsing

    key = parsing.read_one(record.public, "the stored public part")
    return any(component.public.curve for component in key.components)


def _written_anew(context: KeyScope, survey: Survey, old: Record, request: RefreshRequest) -> Record | None:
    """Mint an epoch again whose secret numbers are stored in a form that strict programs refuse.

    Earlier releases stored elliptic numbers as GnuPG 2.3 and newer export them. That shows only when the
    record is open: machines open it, or people who came with shares or named their path, nobody else.
    """
    if not _elliptic(old):
        return None
    called = request.unseal.path is not None or request.unseal.shares
    try:
        opened, key = _open(context, survey, old, request if called else replace(request, unseal=UNATTENDED))
    except OrgkeyError as error:
        context.reporter.progress(
            f"whether its secret numbers are in canonical form is not known: {error.message}"
        )
        return None
    if key.canonical:
        return None
    context.reporter.progress(
        "the secret numbers are stored in a form that strict programs refuse: written anew"
    )
    return _store_again(context, survey, old, opened, key)


def _mint(context: KeyScope, survey: Survey, old: Record, request: RefreshRequest) -> Record:
    return _store_again(context, survey, old, *_open(context, survey, old, request))


def _open(
    context: KeyScope, survey: Survey, old: Record, request: RefreshRequest
) -> tuple[Unsealed, UnlockedKey]:
    others = [epoch.record for epoch in survey.epochs if epoch.record and epoch.record.epoch != old.epoch]
    opened = unseal(old, context.backends("driller"), request.unseal, others)
    context.reporter.progress(f"epoch {old.epoch}: the escrow passphrase is back by path {opened.path}")
    return opened, create.reopen_key(old, passphrase.written(opened.raw)).merge_public(request.public)


def _store_again(
    context: KeyScope, survey: Survey, old: Record, opened: Unsealed, key: UnlockedKey
) -> Record:
    newest = survey.newest()
    last = newest.record if newest and newest.record else old
    return create.refresh_record(
        old, key, opened.raw, now=storing.moment_after(context, last), deadline=context.deadline
    )
