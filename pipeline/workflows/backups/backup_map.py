"""Which escrowed key opens which backup, told from the backups' heads without decrypting anything."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pipeline.archive.catalog import Catalog, Epoch, EpochState
from pipeline.core.errors import Archived, Code, OrgkeyError, first_of
from pipeline.core.isolation import isolated
from pipeline.evidence.ledger.events import BackupsMapEvent
from pipeline.sources.backups import read_backup
from pipeline.sources.backups.message_header import HIDDEN, MessageHeader
from pipeline.sources.backups.sources import BackupSource


@dataclass(frozen=True)
class EscrowedKey:
    """A key that is escrowed, by one of its authentic epochs.

    Attributes:
        fingerprint: The key's.
        epoch: The epoch that would be opened.
        key_ids: Of its (sub)keys that no epoch before it in the order has.
    """

    fingerprint: str
    epoch: Epoch
    key_ids: frozenset[str]

    @property
    def proven(self) -> bool:
        """Whether a drill of this host has proven the epoch."""
        return self.epoch.state in (EpochState.PROVEN, EpochState.SUPERSEDED)


@dataclass(frozen=True)
class Backup:
    """What the head of one backup says.

    Attributes:
        source: The backup.
        head: ``None`` when it cannot be read.
        keys: The escrowed keys that may open it, most likely the first.
        problem: Why none does for sure, in words.
        code: ``OK``; ``STALE`` when no escrowed key opens it.
        archived: Whether it has to be brought back from an archive before it can be read.
        hint: What to do where its head cannot be read.
    """

    source: BackupSource
    head: MessageHeader | None
    keys: tuple[EscrowedKey, ...]
    problem: str | None
    code: Code
    archived: bool = False
    hint: str | None = None

    @property
    def key(self) -> EscrowedKey | None:
        """The key that it is known to be encrypted to."""
        return self.keys[0] if self.code is Code.OK else None


def escrowed(surveys: Sequence[Catalog]) -> tuple[EscrowedKey, ...]:
    """The keys that have an authentic epoch, in the surveys' order.

    A key is there once more for each epoch that has subkeys which its latest one lacks: a newer one that is
    not proven yet, or an older one. Last, newer ones are there whole, for where the latest opens no more.
    """
    from pipeline.openpgp.key import parsing

    found: list[EscrowedKey] = []
    spare: list[EscrowedKey] = []
    for survey in surveys:
        seen: set[str] = set()
        latest = survey.latest()
        newer = survey.after(latest) if latest else ()
        for epoch in (latest, *reversed(survey.epochs)):
            if epoch is None or epoch.record is None:
                continue
            public = parsing.read_one(epoch.record.public, "the escrowed public part")
            key_ids = frozenset(component.public.key_id for component in public.components)
            if key_ids - seen:
                found.append(EscrowedKey(survey.fingerprint, epoch, key_ids - seen))
            if epoch in newer:
                spare.append(EscrowedKey(survey.fingerprint, epoch, key_ids))
            seen |= key_ids
    return (*found, *spare)


def missing(surveys: Sequence[Catalog]) -> tuple[Code, ...]:
    """What keeps the copies of keys from being read that no authentic epoch is known of.

    Empty where such a key was never escrowed.
    """
    without = [survey for survey in surveys if survey.newest() is None]
    return tuple(code for survey in without for code in survey.codes() if code is not Code.OK)


def exit_code(codes: Sequence[Code], missed: Sequence[Code]) -> Code:
    """How a run ends that is to open backups.

    Args:
        codes: Those of the backups.
        missed: What :func:`missing` says. It counts where a backup is not opened.
    """
    return first_of([*codes, *(missed if Code.STALE in codes else ())])


def map_backups(
    sources: Sequence[BackupSource], keys: Sequence[EscrowedKey], missed: Sequence[Code] = ()
) -> tuple[Backup, ...]:
    """Map backups to escrowed keys.

    Args:
        sources: The backups.
        keys: What is escrowed.
        missed: What :func:`missing` says.

    Returns:
        One for each backup: first those that no escrowed key opens, then other problems, then the rest.
    """
    with ThreadPoolExecutor(max_workers=8, thread_name_prefix="heads") as pool:
        found = list(pool.map(lambda source: _look(source, keys, missed), sources))
    rank = {Code.STALE: 0, Code.OK: 2}
    return tuple(sorted(found, key=lambda backup: rank.get(backup.code, 1)))


def _look(source: BackupSource, keys: Sequence[EscrowedKey], missed: Sequence[Code]) -> Backup:
    about = isolated(lambda: read_backup.header_of(source), "it")
    if isinstance(about, OrgkeyError):
        return Backup(source, None, (), about.message, about.code, isinstance(about, Archived), about.hint)
    named = tuple(key for key in keys if not key.key_ids.isdisjoint(about.key_ids))
    if named:
        return Backup(source, about, named, None, Code.OK)
    if HIDDEN in about.key_ids and keys:
        said = "its recipient is hidden; `orgkey backups verify` tries every escrowed key"
        return Backup(source, about, tuple(keys), said, Code.DEGRADED)
    # A key that no copy could be read of may be the one.
    unread = ", or its copies cannot be read now" if missed else ""
    said = f"no escrowed key opens it{unread}: it is encrypted to {', '.join(about.key_ids)}"
    return Backup(source, about, (), said, Code.STALE)


def event(backups: Sequence[Backup], code: Code) -> BackupsMapEvent:
    """What the ledger keeps of a map."""
    return BackupsMapEvent(
        backups=len(backups),
        unopened=tuple(backup.source.name for backup in backups if backup.code is Code.STALE),
        problems={
            backup.source.name: backup.problem
            for backup in backups
            if backup.code not in (Code.OK, Code.STALE)
        },
        code=int(code),
    )
