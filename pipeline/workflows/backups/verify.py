"""Open real backups with the escrowed key, as streams, and say what was proved of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from pipeline.archive.catalog import Catalog
from pipeline.archive.run import KeyScope
from pipeline.core.clock import Deadline
from pipeline.core.errors import Code, OrgkeyError
from pipeline.core.isolation import isolated
from pipeline.custody.shares import passphrase
from pipeline.evidence.ledger.events import BackupRead, BackupsVerifyEvent
from pipeline.sources.backups import read_backup
from pipeline.sources.backups.engine import ReadResult, SessionKey
from pipeline.sources.backups.session_keys import SessionKeys
from pipeline.sources.backups.sources import BackupSource
from pipeline.sources.backups.worker_client import Meter, WorkerClient
from pipeline.unseal.ceremony import UNATTENDED, UnsealRequest
from pipeline.unseal.unseal import unseal
from pipeline.workflows.backups import backup_map
from pipeline.workflows.backups.backup_map import Backup, EscrowedKey

UNPROTECTED = "it has no integrity code: it was read to its end, but an alteration would not be noticed"


@dataclass(frozen=True)
class VerifyRequest:
    """What is to be opened, and how.

    Attributes:
        sources: The backups.
        engine: ``auto`` or ``gpg``.
        unseal: How the stored epochs are opened.
        watch: Makes the meter of one backup: is told of progress.
    """

    sources: Sequence[BackupSource]
    engine: read_backup.Engine = "auto"
    unseal: UnsealRequest = UNATTENDED
    watch: Callable[[BackupSource], Meter] = lambda _: lambda _: None


@dataclass(frozen=True)
class VerifiedBackup:
    """What became of one backup.

    Attributes:
        source: The backup.
        reading: What it was; ``None`` when it could not be read to its end.
        key: The escrowed key that opened it.
        seconds: How long reading it took, the session key included; recovering the Org Key's is not.
        problem: What is wrong, in words.
        code: ``OK``; ``DEGRADED`` where no integrity code protects it; else what went wrong.
    """

    source: BackupSource
    reading: ReadResult | None
    key: EscrowedKey | None
    seconds: float
    problem: str | None
    code: Code

    @property
    def ok(self) -> bool:
        """Whether it was decrypted, its integrity code is right, and its content lists to its end."""
        return self.code is Code.OK


@dataclass(frozen=True)
class VerifyOutcome:
    """What became of all.

    Attributes:
        backups: One for each, in the order that they were named.
        code: How the run ends.
    """

    backups: tuple[VerifiedBackup, ...]
    code: Code


def verify_backups(context: KeyScope, request: VerifyRequest) -> VerifyOutcome:
    """Open backups with the escrowed keys that they are for.

    Args:
        context: The run.
        request: What is asked for.

    Returns:
        What was proved of each backup.

    Raises:
        OrgkeyError: The evidence could not be kept.
    """
    from pipeline.openpgp.gnupg import home as gnupg_home

    gnupg_home.sweep_orphans()
    with WorkerClient() as reader:
        prepared, missed = _prepare(context, request)
        deadline = context.backup_deadline()
        results = tuple(_read(context, item, request, reader, deadline) for item in prepared)
    code = backup_map.exit_code([item.code for item in results], missed)
    context.record_event(_event(results, code))
    return VerifyOutcome(results, code)


@dataclass(frozen=True)
class _Prepared:
    """A backup, with its session key or the reason why there is none."""

    backup: Backup
    session: SessionKey | None = None
    key: EscrowedKey | None = None
    seconds: float = 0.0
    problem: str | None = None
    code: Code = Code.OK


def _prepare(context: KeyScope, request: VerifyRequest) -> tuple[list[_Prepared], tuple[Code, ...]]:
    """Get all session keys, and what keeps other keys away; the Org Keys are at hand only here."""
    surveys = context.catalogs()
    keys = backup_map.escrowed(surveys)
    missed = backup_map.missing(surveys)
    with ExitStack() as stack:
        keyring = _Keyring(context, request, surveys, stack)
        found = {
            id(backup.source): _unlock(backup, keyring, missed)
            for backup in backup_map.map_backups(request.sources, keys, missed)
        }
    return [found[id(source)] for source in request.sources], missed


class _Keyring:
    """The escrowed keys, each recovered when the first backup asks for it."""

    def __init__(
        self, context: KeyScope, request: VerifyRequest, surveys: Sequence[Catalog], stack: ExitStack
    ) -> None:
        self._context = context
        self._estate = context.backends("driller")
        self._request = request
        self._records = [
            epoch.record for survey in surveys for epoch in survey.epochs if epoch.record is not None
        ]
        self._stack = stack
        self._openers: dict[tuple[str, str], SessionKeys | OrgkeyError] = {}

    def opener(self, key: EscrowedKey) -> SessionKeys:
        """The recovered key.

        Raises:
            OrgkeyError: It cannot be recovered.
        """
        epoch = (key.fingerprint, key.epoch.name)
        if epoch not in self._openers:
            self._openers[epoch] = isolated(partial(self._recover, key), f"epoch {key.epoch.name}")
        found = self._openers[epoch]
        if isinstance(found, OrgkeyError):
            raise found
        return found

    def _recover(self, key: EscrowedKey) -> SessionKeys:
        record = key.epoch.record
        assert record is not None
        others = [other for other in self._records if other is not record]
        opened = unseal(record, self._estate, self._request.unseal, others)
        self._context.reporter.progress(
            f"epoch {record.epoch}: the escrow passphrase is back by path {opened.path}"
        )
        return self._stack.enter_context(
            SessionKeys(
                record.keypair, passphrase.written(opened.raw), record.fingerprint, self._context.deadline
            )
        )


def _unlock(backup: Backup, keyring: _Keyring, missed: Sequence[Code]) -> _Prepared:
    if backup.head is None or not backup.keys:
        return _Prepared(backup, problem=backup.problem, code=backup.code)
    failed: _Prepared | None = None
    for key in backup.keys:
        opener = isolated(partial(keyring.opener, key), f"epoch {key.epoch.name}")
        started = time.monotonic()
        session = (
            opener
            if isinstance(opener, OrgkeyError)
            else isolated(partial(opener.session_key, backup.head), "it")
        )
        if isinstance(session, OrgkeyError):  # another key may open it
            failed = failed or _Prepared(backup, key=key, problem=session.message, code=session.code)
            continue
        if session is not None:
            return _Prepared(backup, session, key, time.monotonic() - started)
    if failed is not None:
        return failed
    told = "no escrowed key opens it, although " + (
        "it names one: its beginning is damaged, or that part of the key is not escrowed"
        if backup.code is Code.OK
        else "all that can be read were tried"
        if missed
        else "all were tried"
    )
    return _Prepared(backup, problem=told, code=Code.STALE)


def _read(
    context: KeyScope, item: _Prepared, request: VerifyRequest, reader: WorkerClient, deadline: Deadline
) -> VerifiedBackup:
    source, head = item.backup.source, item.backup.head
    if item.session is None or head is None:
        return VerifiedBackup(source, None, item.key, 0.0, item.problem, item.code)
    context.reporter.progress(f"reading {source.name}")
    started = time.monotonic() - item.seconds
    result = isolated(
        partial(
            read_backup.read, source, head, item.session, reader,
            deadline=deadline, wanted=request.engine, meter=request.watch(source),
        ),
        "it",
    )  # fmt: skip
    seconds = time.monotonic() - started
    if isinstance(result, OrgkeyError):
        return VerifiedBackup(source, None, item.key, seconds, result.message, result.code)
    if result.integrity == "none":
        return VerifiedBackup(source, result, item.key, seconds, UNPROTECTED, Code.DEGRADED)
    return VerifiedBackup(source, result, item.key, seconds, None, Code.OK)


def _event(results: Sequence[VerifiedBackup], code: Code) -> BackupsVerifyEvent:
    return BackupsVerifyEvent(
        code=int(code),
        backups=tuple(
            BackupRead(
                source=item.source.name,
                ok=item.ok,
                size=item.source.size,
                fingerprint=item.key.fingerprint if item.key else None,
                epoch=item.key.epoch.name if item.key else None,
                problem=item.problem,
            )
            for item in results
        ),
    )
