"""Get the keypair back: from any copy, epoch, path and version, into a new file.

Whether the key has expired, and what is attached to it, is not judged: a restore is never refused for that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from pipeline.archive import lineage, live_key
from pipeline.archive.archive import Archive
from pipeline.archive.backends import HolderBackends
from pipeline.archive.catalog import Catalog, Epoch, EpochState, not_read
from pipeline.archive.run import KeyScope
from pipeline.core import files, signals
from pipeline.core.clock import Deadline
from pipeline.core.errors import IntegrityProblem, OrgkeyError, UsageProblem
from pipeline.core.isolation import isolated
from pipeline.core.secret import Secret, SecretSource
from pipeline.core.text import some
from pipeline.custody.shares import passphrase
from pipeline.custody.shares.identify import ShareOrigin, identify
from pipeline.record import create
from pipeline.record.verify import Record
from pipeline.unseal import ceremony
from pipeline.unseal.ceremony import UNATTENDED, UnsealRequest
from pipeline.unseal.unseal import Unsealed, unseal


@dataclass(frozen=True)
class RestoreRequest:
    """What is to be restored.

    Attributes:
        out: The new file.
        epoch: An epoch's name, or ``latest``.
        source: Only this target's copy.
        version: Only this version of that copy.
        original: The export as it came in, under its old passphrase, instead of the re-wrapped key.
        unseal: How the record is opened.
    """

    out: Path
    epoch: str = "latest"
    source: str | None = None
    version: str | None = None
    original: bool = False
    unseal: UnsealRequest = UNATTENDED


@dataclass(frozen=True)
class FoundRecord:
    """The record that a restore starts from.

    Attributes:
        record: The authentic record.
        origin: The target or place that it came from.
        newer_public: Public parts of the same key from other epochs, oldest first.
        others: Other authentic records of the same key, to name the epoch that a wrong share is of.
        newer: Those of newer epochs, newest first, where the latest was asked for.
    """

    record: Record
    origin: str
    newer_public: tuple[bytes, ...] = ()
    others: tuple[Record, ...] = ()
    newer: tuple[FoundRecord, ...] = ()


@dataclass(frozen=True)
class Restored:
    """What was restored.

    Attributes:
        epoch: The epoch's name.
        fingerprint: The key's.
        origin: The target or place that the record came from.
        path: The custody path that opened it.
        out: The new file.
        participants: Whose shares people brought: fingerprints of certificates, keepers of paper.
    """

    epoch: str
    fingerprint: str
    origin: str
    path: str
    out: Path
    participants: tuple[str, ...] = ()


def find(scope: KeyScope, request: RestoreRequest) -> FoundRecord:
    """Find the record at the configured targets.

    Raises:
        OrgkeyError: No authentic copy of what was asked for is there.
    """
    archive = scope.archive("driller")
    for damaged in scope.journal.damaged().values():  # nothing of this host's own may keep the key away
        scope.reporter.warn(f"what this host knew is left out: {damaged.message}")
    if request.source is not None:
        archive = archive.at([request.source])
    if request.version is not None:
        return _one_version(archive, request)
    latest = request.epoch == "latest"
    catalog = archive.catalog(everything=not latest)
    epoch = catalog.choose(() if latest else (request.epoch,))[0]
    if latest:
        epoch = _with_all_subkeys(scope, catalog, epoch)
    if latest and epoch.state not in (EpochState.PROVEN, EpochState.SUPERSEDED):
        scope.reporter.warn(
            f"epoch {epoch.name} is authentic, but no drill that this host knows of proved it"
        )
    if problem := scope.deadline.dates.problem():
        scope.reporter.warn(f"{problem.message}; what is stored is judged by the servers' time")
    for name, error in catalog.unreachable.items():
        scope.reporter.warn(f"{name} was left out: {error.message}")
    for copy in epoch.copies:
        if copy.problem and copy.target not in catalog.unreachable:
            scope.reporter.warn(f"{copy.target}: {copy.problem}")
    if latest:
        known = isolated(lambda: lineage.newer_known(scope, catalog, epoch.name), "this host's state")
        more = [known.message] if isinstance(known, OrgkeyError) else filter(None, [known])
        for line in (*catalog.passed_over(epoch.name, known_false=scope.config.policy.known_false), *more):
            scope.reporter.warn(line)
    if not epoch.good:
        raise not_read(epoch)
    public = live_key.live(scope, epoch).public
    newer = catalog.after(epoch) if latest else ()
    found, *others = (_found(catalog, one, public) for one in (epoch, *reversed(newer)))
    return replace(found, newer=tuple(others))


def _found(catalog: Catalog, epoch: Epoch, live: bytes | None) -> FoundRecord:
    copy = epoch.good[0]
    assert copy.record is not None
    newer = (*_newer_public(catalog, copy.record), *([live] if live else ()))
    return FoundRecord(copy.record, copy.target, newer, catalog.records(other_than=copy.record))


def _with_all_subkeys(scope: KeyScope, catalog: Catalog, latest: Epoch) -> Epoch:
    """The latest epoch; the newest one where that has subkeys that the latest lacks (ADR 47)."""
    from pipeline.openpgp.key import parsing

    newer = catalog.after(latest)
    if not newer or not (latest.record and newer[-1].record):
        return latest
    old, new = (parsing.read_one(each.public, "it") for each in (latest.record, newer[-1].record))
    known = {one.public.fingerprint for one in old.components}
    lacking = [one.public.key_id for one in new.components if one.public.fingerprint not in known]
    if not lacking:
        return latest
    scope.reporter.warn(
        f"epoch {latest.name} lacks subkeys of a newer one ({some(lacking)}), to which backups may be "
        f"encrypted: the newer one is taken; --epoch {latest.name} takes the other"
    )
    return newer[-1]


def _one_version(archive: Archive, request: RestoreRequest) -> FoundRecord:
    if request.source is None or request.version is None or request.epoch == "latest":
        raise UsageProblem(
            "--version-id names a version of one copy of one epoch",
            hint="give --from TARGET and --epoch ID, too; `orgkey list` shows them",
        )
    copy = archive.version(request.source, request.epoch, request.version)
    if copy.record is None:
        raise not_read(Epoch(request.epoch, archive.fingerprint, (copy,), EpochState.WRITTEN))
    return FoundRecord(copy.record, copy.target)


def _newer_public(catalog: Catalog, record: Record) -> tuple[bytes, ...]:
    """Public parts that later epochs of the same key carry: self-signatures are renewed every year."""
    created = record.manifest.created
    return tuple(other.public for other in catalog.records() if other.manifest.created > created)


def restore(
    found: FoundRecord,
    request: RestoreRequest,
    holders: HolderBackends,
    new_passphrase: SecretSource,
    deadline: Deadline,
) -> Restored:
    """Open a record and write the key to a new file.

    Args:
        found: The record.
        request: What is to be written, and how to open the record.
        holders: Whose logins open it.
        new_passphrase: Asked once the key is open; protects the restored key. Unused for the original.
        deadline: Bounds the work.

    Returns:
        What was written. Only a key that was opened, fits the fingerprint and opens again with the new
        passphrase is ever written.

    Raises:
        OrgkeyError: No path opens the record, or the file cannot be written; then there is no file.
    """
    files.check_new(request.out, len(found.record.data))  # before people bring their shares
    found, opened = _open(found, request.unseal, holders)
    written = passphrase.written(opened.raw)
    if request.original:
        content = create.original_export(found.record, written)
    else:
        content = _rewrapped(found, written, new_passphrase, deadline)
    deadline.check()
    with signals.held():
        files.write_new(request.out, content)
        signals.settle()  # the file is there, and the answer says so whatever signal comes now
    return Restored(
        found.record.epoch,
        found.record.fingerprint,
        found.origin,
        opened.path,
        request.out,
        tuple(person.share.label for person in opened.gathered.people),
    )


def _open(
    found: FoundRecord, request: UnsealRequest, holders: HolderBackends
) -> tuple[FoundRecord, Unsealed]:
    """Open the record; a newer one where people brought its shares, or where machines open that alone.

    Until this host drills again it knows nothing of a newer epoch, and that may be the one that opens: where
    a holder's key was lost, and another host has made new shares (ADR 47).
    """
    for one in (found, *found.newer) if found.newer else ():
        if request.shares:
            known = [ceremony.known(one.record)]
            mine = [isolated(partial(identify, it.words, known), "it") for it in request.shares]
            if any(isinstance(it, ShareOrigin) for it in mine):
                return one, unseal(one.record, holders, request, one.others)
        else:
            opened = isolated(partial(unseal, one.record, holders, UnsealRequest(request.path)), "it")
            if isinstance(opened, Unsealed):
                return one, opened
    return found, unseal(found.record, holders, request, found.others)


def _rewrapped(
    found: FoundRecord, written: Secret, new_passphrase: SecretSource, deadline: Deadline
) -> bytes:
    from pipeline.openpgp.format import armor
    from pipeline.openpgp.format.protection import MAX_COUNT_OCTET
    from pipeline.openpgp.key.rewrap import prove_rewrap, unlock

    try:
        key = unlock(found.record.keypair, written)
    except OrgkeyError as error:
        # The record is authentic and its passphrase is the escrowed one: so it was made like this.
        raise IntegrityProblem(
            f"epoch {found.record.epoch}: its keypair does not open with the recovered escrow passphrase: "
            f"{error.message}",
            hint="use another epoch; this one was made from a wrong key",
        ) from error
    if key.fingerprint != found.record.fingerprint:
        raise IntegrityProblem(
            f"epoch {found.record.epoch}: its keypair is {key.fingerprint}, not {found.record.fingerprint}",
            hint="use another epoch; this one was made from a wrong key",
        )
    for public in (found.record.public, *found.newer_public):
        key = key.merge_public(public)
    with deadline.paused():
        chosen = new_passphrase()
    keypair = key.protect(chosen, s2k_count_octet=MAX_COUNT_OCTET)
    prove_rewrap(key, keypair, chosen, None)
    return armor.armor(keypair, "PRIVATE KEY BLOCK")
