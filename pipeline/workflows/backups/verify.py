"""Open real backups with the escrowed key, as streams, and say what was proved of each.

In three steps: the Org Key gives the session key of each backup, and is let go; workers read the backups, and
know nothing but their session keys; what they found is compared with what was verified before, and entered.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from pipeline.archive.catalog import Catalog
from pipeline.archive.run import KeyScope
from pipeline.core import files
from pipeline.core.clock import Deadline, stamp
from pipeline.core.errors import Code, LocalFilesProblem, OrgkeyError
from pipeline.core.isolation import isolated
from pipeline.custody.shares import passphrase
from pipeline.evidence.ledger import drill_history
from pipeline.evidence.ledger.backup_history import SOUND, BackupHistory
from pipeline.evidence.ledger.events import BackupRead, BackupsVerifyEvent
from pipeline.sources.backups import read_backup
from pipeline.sources.backups.engine import Expectations, ReadResult, SessionKey
from pipeline.sources.backups.session_keys import SessionKeys
from pipeline.sources.backups.sources import BackupSource
from pipeline.sources.backups.worker_client import WorkerClient
from pipeline.unseal.ceremony import UNATTENDED, UnsealRequest
from pipeline.unseal.unseal import unseal
from pipeline.workflows.backups import backup_map
from pipeline.workflows.backups.backup_map import Backup, EscrowedKey
from pipeline.workflows.backups.selection import ALL, Places, Selection, dated

UNPROVEN: Final = "unproven"
"""Anybody who has the public key can make a backup that the escrowed key opens."""
_KEY_LIMIT: Final = 1 << 20
"""Bytes of a signer's public key."""


class ReadingProgress(Protocol):
    """Is told how far the reading is, from several threads."""

    def add(self, count: int) -> None:
        """So many bytes more were read."""
        ...

    def next(self) -> None:
        """One backup more is done."""
        ...


class _Silent:
    def add(self, count: int) -> None:
        pass

    def next(self) -> None:
        pass


def _silent(_: Sequence[BackupSource]) -> ReadingProgress:
    return _Silent()


@dataclass(frozen=True)
class VerifyRequest:
    """What is to be opened, and how.

    Attributes:
        sources: The backups that are there.
        selection: Which of them are read.
        whole: The configured places of which all backups are among them, so that the newest is known.
        engine: ``auto`` or ``gpg``.
        jobs: How many are read at once.
        unseal: How the stored epochs are opened.
        watch: Is given what is going to be read; makes what is told of progress.
    """

    sources: Sequence[BackupSource]
    selection: Selection = ALL
    whole: frozenset[str] = frozenset()
    engine: read_backup.Engine = "auto"
    jobs: int = 1
    unseal: UnsealRequest = UNATTENDED
    watch: Callable[[Sequence[BackupSource]], ReadingProgress] = _silent


@dataclass(frozen=True)
class VerifiedBackup:
    """What became of one backup.

    Attributes:
        source: The backup.
        reading: What it was; ``None`` when it could not be read to its end.
        key: The escrowed key that opened it.
        seconds: How long reading it took, the session key included; recovering the Org Key's is not.
        problem: What is wrong, in words.
        code: ``OK``; ``DEGRADED`` where no integrity code protects it or an expected entry is missing; else
            what went wrong.
        recorded: What the ledger keeps of it.
    """

    source: BackupSource
    reading: ReadResult | None
    key: EscrowedKey | None
    seconds: float
    problem: str | None
    code: Code
    recorded: BackupRead

    @property
    def ok(self) -> bool:
        """Whether it was decrypted, its integrity code is right, and its content lists to its end."""
        return self.code is Code.OK

    @property
    def origin(self) -> str:
        """Who made it, as far as a signature inside proves it."""
        return f"signed by {self.recorded.signed_by}" if self.recorded.signed_by else UNPROVEN

    @property
    def suspicious(self) -> bool:
        """Whether it is whole, and yet not what was to be expected after those before it."""
        return self.recorded.history not in (None, *SOUND)


@dataclass(frozen=True)
class VerifyOutcome:
    """What became of all.

    Attributes:
        backups: One for each that was chosen, in the order that they were named.
        left: How many were not chosen.
        code: How the run ends.
    """

    backups: tuple[VerifiedBackup, ...]
    left: int
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
    places, past = Places(context.config.backups), _past(context)
    selection = request.selection.in_turn(past)
    chosen = selection.of(request.sources, places, past, context.clock.now())
    newest = {max(mine, key=dated) for mine in places.sorted(request.sources, request.whole)}
    signers = {name: tuple(map(_public_key, place.signers)) for name, place in places.configured.items()}
    progress = request.watch(chosen)
    with _Readers(min(request.jobs, len(chosen))) as readers:  # they load while servers are talked to
        surveys = context.catalogs()
        prepared, missed = _prepare(context, surveys, chosen, request.unseal)
        org_keys = _org_keys(surveys)
        deadline = context.backup_deadline()

        def read(item: _Prepared, reader: WorkerClient) -> VerifiedBackup:
            source, name = item.backup.source, places.name(item.backup.source)
            context.reporter.progress(f"reading {source.name}")
            expected = Expectations(places.settings(source).expect, (*org_keys, *signers.get(name, ())))
            known = BackupRead(
                source=source.name, ok=False, size=source.size, place=name, location=source.location,
                state=source.state, was_newest=source in newest,
                modified=stamp(source.modified) if source.modified else None,
            )  # fmt: skip
            found = _read(item, known, reader, request.engine, deadline, progress.add, expected)
            progress.next()
            return found

        results = _judged(list(readers.map(read, prepared)), places, past)
    code = backup_map.exit_code([item.code for item in results], missed)
    if code is Code.OK and any(item.suspicious for item in results):
        code = Code.STALE
    read_part = {"part": selection.whole_part} if selection.whole_part else {}
    context.record_event(
        BackupsVerifyEvent(code=int(code), backups=tuple(item.recorded for item in results), **read_part)
    )
    return VerifyOutcome(tuple(results), len(request.sources) - len(chosen), code)


def _past(context: KeyScope) -> BackupHistory:
    """What was verified before; nothing where the ledger is broken, which entering this run will say."""
    found = isolated(lambda: drill_history.read(context.ledger.each()), "the ledger")
    entered = () if isinstance(found, OrgkeyError) else found.backups
    return BackupHistory.of(entered, context.config.policy.known_backups)


def _org_keys(surveys: Sequence[Catalog]) -> tuple[bytes, ...]:
    """The public parts of the present and former Org Keys, as every epoch has them."""
    records = (epoch.record for survey in surveys for epoch in survey.epochs)
    return tuple(dict.fromkeys(record.public for record in records if record is not None))


def _public_key(path: str) -> bytes:
    with files.os_errors(f"cannot read the public key of a signer of backups, {path}"):
        data = files.read_regular(Path(path), _KEY_LIMIT)
    if data is None:
        raise LocalFilesProblem(
            f"the public key of a signer of backups, {path}, is not a file",
            hint="name a file in signers of [backups]",
        )
    return data


class _Readers:
    """Workers that read side by side; a context manager.

    Args:
        count: How many.
    """

    def __init__(self, count: int) -> None:
        self._count = max(1, count)
        self._idle: queue.SimpleQueue[WorkerClient] = queue.SimpleQueue()
        self._all: list[WorkerClient] = []

    def __enter__(self) -> _Readers:
        try:
            for _ in range(self._count):
                reader = WorkerClient().__enter__()
                self._all.append(reader)
                self._idle.put(reader)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for reader in self._all:
            reader.__exit__(None, None, None)

    def map(
        self, read: Callable[[_Prepared, WorkerClient], VerifiedBackup], items: Sequence[_Prepared]
    ) -> Iterator[VerifiedBackup]:
        """Read all, as many at once as there are workers; the results come in the items' order."""

        def one(item: _Prepared) -> VerifiedBackup:
            reader = self._idle.get()
            try:
                return read(item, reader)
            finally:
                self._idle.put(reader)

        if self._count == 1:
            yield from map(one, items)
            return
        with ThreadPoolExecutor(self._count, "backups") as pool:
            jobs = [pool.submit(one, item) for item in items]
            try:
                for job in jobs:
                    yield job.result()
            except BaseException:  # a signal: nobody waits for what is being read
                pool.shutdown(wait=False, cancel_futures=True)
                self.__exit__()
                raise


@dataclass(frozen=True)
class _Prepared:
    """A backup, with its session key or the reason why there is none."""

    backup: Backup
    session: SessionKey | None = None
    key: EscrowedKey | None = None
    seconds: float = 0.0
    problem: str | None = None
    code: Code = Code.OK


def _prepare(
    context: KeyScope, surveys: Sequence[Catalog], sources: Sequence[BackupSource], unsealing: UnsealRequest
) -> tuple[list[_Prepared], tuple[Code, ...]]:
    """Get all session keys, and what keeps other keys away; the Org Keys are at hand only here."""
    keys = backup_map.escrowed(surveys)
    missed = backup_map.missing(surveys)
    with ExitStack() as stack:
        keyring = _Keyring(context, unsealing, surveys, stack)
        found = {
            id(backup.source): _unlock(backup, keyring, missed)
            for backup in backup_map.map_backups(sources, keys, missed)
        }
    return [found[id(source)] for source in sources], missed


class _Keyring:
    """The escrowed keys, each recovered when the first backup asks for it."""

    def __init__(
        self, context: KeyScope, unsealing: UnsealRequest, surveys: Sequence[Catalog], stack: ExitStack
    ) -> None:
        self._context = context
        self._estate = context.backends("driller")
        self._unsealing = unsealing
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
        opened = unseal(record, self._estate, self._unsealing, others)
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
    item: _Prepared,
    known: BackupRead,
    reader: WorkerClient,
    engine: read_backup.Engine,
    deadline: Deadline,
    meter: Callable[[int], None],
    expected: Expectations,
) -> VerifiedBackup:
    """Read one backup; ``known`` is what is known of it without."""
    source, head, key = item.backup.source, item.backup.head, item.key
    started = time.monotonic() - item.seconds
    code, problem, result, sha256 = item.code, item.problem, None, None
    if item.session is not None and head is not None:
        found = read_backup.read(
            source, head, item.session, reader, deadline=deadline, wanted=engine, meter=meter,
            expected=expected,
        )  # fmt: skip
        code, problem = read_backup.verdict(found.outcome)
        result = None if isinstance(found.outcome, OrgkeyError) else found.outcome
        sha256 = found.sha256
    recorded = known.model_copy(
        update={
            "ok": code is Code.OK, "code": int(code), "problem": problem, "sha256": sha256,
            "service": dict(source.facts),
            "fingerprint": key.fingerprint if key else None,
            "epoch": key.epoch.name if key else None,
        } | (_held(result) if result else {})
    )  # fmt: skip
    return VerifiedBackup(source, result, key, time.monotonic() - started, problem, code, recorded)


def _held(result: ReadResult) -> dict[str, object]:
    newest = result.found.newest
    return {
        "container": result.found.container,
        "entries": result.found.entries,
        "content_bytes": result.found.size,
        "newest": stamp(datetime.fromtimestamp(newest, UTC)) if newest else None,
        "integrity": result.integrity,
        "engine": result.engine,
        "signed_by": result.signed_by,
    }


def _judged(results: list[VerifiedBackup], places: Places, past: BackupHistory) -> list[VerifiedBackup]:
    """Compare each with those before it, which may have been read in this very run: the oldest first."""
    for index in sorted(range(len(results)), key=lambda index: dated(results[index].source)):
        item = results[index]
        place = places.settings(item.source)
        judged = past.judge(
            item.recorded, max_shrink_percent=place.max_shrink_percent, same_name=place.same_name
        )
        if judged is None:
            continue
        recorded = item.recorded.model_copy(update={"history": judged.history, "history_text": judged.text})
        past.add(recorded)
        problem = item.problem or judged.text or None
        results[index] = replace(item, recorded=recorded, problem=problem)
    return results
