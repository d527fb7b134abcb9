"""Open real backups with the escrowed key, as streams, and say what was proved of each.

In three steps: the Org Key gives the session key of each backup, and is let go; workers read the backups, and
know nothing but their session keys; what they found is compared with what was verified before, and entered.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

from pipeline.archive.catalog import Catalog
from pipeline.archive.run import KeyScope
from pipeline.core import files
from pipeline.core.clock import Deadline, stamp
from pipeline.core.errors import Code, LocalFilesProblem, OrgkeyError
from pipeline.core.isolation import isolated
from pipeline.core.text import counted
from pipeline.evidence.ledger import drill_history
from pipeline.evidence.ledger.backup_history import SOUND, BackupHistory
from pipeline.evidence.ledger.events import BackupRead, BackupsVerifyEvent
from pipeline.sources.backups import read_backup
from pipeline.sources.backups.engine import Expectations, Reading, ReadResult
from pipeline.sources.backups.sources import BackupSource, Unlisted
from pipeline.sources.backups.worker_client import WorkerClient
from pipeline.unseal.ceremony import UNATTENDED, UnsealRequest
from pipeline.workflows.backups import backup_map
from pipeline.workflows.backups.backup_map import EscrowedKey
from pipeline.workflows.backups.crew_readings import CrewReading, CrewRequest, Errand, read_by_crew
from pipeline.workflows.backups.local_readers import LocalReaders
from pipeline.workflows.backups.prepare import PreparedBackup, prepare
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


@dataclass(frozen=True)
class VerifyRequest:
    """What is to be opened, and how.

    Attributes:
        sources: The backups that are there.
        watch: Is given what is going to be read; makes what is told of progress.
        selection: Which of them are read.
        whole: The configured places of which all backups are among them, so that the newest is known.
        engine: ``auto`` or ``gpg``.
        jobs: How many are read at once.
        unseal: How the stored epochs are opened.
        crew: Who reads what other machines can find; without one, this machine reads all.
    """

    sources: Sequence[BackupSource]
    watch: Callable[[Sequence[BackupSource]], ReadingProgress]
    selection: Selection = ALL
    whole: frozenset[str] = frozenset()
    engine: read_backup.Engine = "auto"
    jobs: int = 1
    unseal: UnsealRequest = UNATTENDED
    crew: CrewRequest | None = None


@dataclass(frozen=True)
class VerifiedBackup:
    """What became of one backup.

    Attributes:
        source: The backup.
        reading: What it was; ``None`` when it could not be read to its end.
        key: The escrowed key that opened it.
        seconds: How long reading it took, the session key included; recovering the Org Key's is not.
        problem: What is wrong, in words.
        code: ``OK``; ``DEGRADED`` where no integrity code protects it, it holds nothing or an expected entry
            is missing; else what went wrong.
        recorded: What the ledger keeps of it.
        hint: What to do where it could not be read to its end.
        lied: Whether a machine of a crew said of it what this one, whose reading this is, does not find.
    """

    source: BackupSource
    reading: ReadResult | None
    key: EscrowedKey | None
    seconds: float
    problem: str | None
    code: Code
    recorded: BackupRead
    hint: str | None = None
    lied: bool = False

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
    context.require_room()
    places, past = Places(context.config.backups), _past(context)
    selection = request.selection.in_turn(past)
    now = context.clock.now()
    chosen = selection.of(request.sources, places, past, now)
    whole = request.whole - {places.name(one) for one in request.sources if isinstance(one, Unlisted)}
    newest = {max(mine, key=lambda one: dated(one, now)) for mine in places.sorted(request.sources, whole)}
    signers = {name: tuple(map(_public_key, place.signers)) for name, place in places.configured.items()}
    progress = request.watch(chosen)
    with LocalReaders(min(request.jobs, len(chosen))) as readers:  # they load while servers are talked to
        surveys = context.catalogs()
        prepared, missed = prepare(context, surveys, chosen, request.unseal)
        org_keys = _org_keys(surveys)
        deadline = context.backup_deadline()

        def expected(source: BackupSource) -> Expectations:
            trusted = (*org_keys, *signers.get(places.name(source), ()))
            return Expectations(places.settings(source).expect, trusted)

        answered: dict[BackupSource, CrewReading] = {}
        if request.crew is not None:
            answered = _by_crew(context, request, prepared, readers, deadline, expected, progress)

        def read(item: PreparedBackup, reader: WorkerClient) -> VerifiedBackup:
            source, name = item.backup.source, places.name(item.backup.source)
            known = BackupRead(
                source=source.name, ok=False, size=source.size, place=name, location=source.location,
                state=source.state, was_newest=source in newest,
                modified=stamp(source.modified) if source.modified else None,
            )  # fmt: skip
            if (answer := answered.get(source)) is not None:
                made = _entered(item, known, answer.found, answer.seconds + item.seconds, answer.worker)
                if answer.refused:  # the run's verdict, and none on the bytes: these were not read
                    unread = {"code": int(Code.UNREACHABLE)}
                    made = replace(made, recorded=made.recorded.model_copy(update=unread))
                return _named(made, answer.lie) if answer.lie else made
            context.reporter.progress(f"reading {source.name}")
            found = _read(item, known, reader, request.engine, deadline, progress.add, expected(source))
            progress.next()
            return found

        results = _judged(list(readers.map(read, prepared)), places, past)
    lies = [Code.INTEGRITY for item in results if item.lied]
    code = backup_map.exit_code([*(item.code for item in results), *lies], missed)
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


def _read(
    item: PreparedBackup,
    known: BackupRead,
    reader: WorkerClient,
    engine: read_backup.Engine,
    deadline: Deadline,
    meter: Callable[[int], None],
    expected: Expectations,
) -> VerifiedBackup:
    """Read one backup; ``known`` is what is known of it without."""
    source, head = item.backup.source, item.backup.head
    started = time.monotonic() - item.seconds
    found = None
    if item.session is not None and head is not None:
        found = read_backup.read(
            source, head, item.session, reader, deadline=deadline, wanted=engine, meter=meter,
            expected=expected,
        )  # fmt: skip
    return _entered(item, known, found, time.monotonic() - started)


def _by_crew(
    context: KeyScope,
    request: VerifyRequest,
    prepared: Sequence[PreparedBackup],
    readers: LocalReaders,
    deadline: Deadline,
    expected: Callable[[BackupSource], Expectations],
    progress: ReadingProgress,
) -> dict[BackupSource, CrewReading]:
    """Have a crew read what another machine can find; what it cannot find is left out."""
    assert request.crew is not None
    failed: dict[BackupSource, CrewReading] = {}
    errands: list[Errand] = []
    for item in prepared:
        source, head = item.backup.source, item.backup.head
        if item.session is None or head is None:
            continue
        place = isolated(source.place, "it")
        if isinstance(place, OrgkeyError):
            failed[source] = CrewReading(Reading(place))
            progress.next()
        elif place is not None:
            errands.append(Errand(source, place, head, item.session, expected(source)))

    def arrived(errand: Errand) -> None:
        progress.add(errand.source.size or 0)
        progress.next()

    context.reporter.progress(f"the crew reads {counted(len(errands), 'backup')}")
    found = read_by_crew(
        request.crew, errands, readers, request.engine, deadline,
        warn=context.reporter.warn, arrived=arrived,
    )  # fmt: skip
    return failed | {errand.source: reading for errand, reading in zip(errands, found, strict=True)}


def _entered(
    item: PreparedBackup, known: BackupRead, found: Reading | None, seconds: float, worker: str | None = None
) -> VerifiedBackup:
    """What came of one backup, wherever it was read."""
    source, key = item.backup.source, item.key
    code, problem, hint, result, sha256 = item.code, item.problem, item.hint, None, None
    if found is not None:
        code, problem = read_backup.verdict(found.outcome)
        if isinstance(found.outcome, OrgkeyError):
            hint = found.outcome.hint
        else:
            result = found.outcome
        sha256 = found.sha256
    recorded = known.model_copy(
        update={
            "ok": code is Code.OK, "code": int(code), "problem": problem, "sha256": sha256,
            "service": dict(source.facts), "worker": worker,
            "fingerprint": key.fingerprint if key else None,
            "epoch": key.epoch.name if key else None,
        } | (_held(result) if result else {})
    )  # fmt: skip
    return VerifiedBackup(source, result, key, seconds, problem, code, recorded, hint)


def _named(made: VerifiedBackup, lie: OrgkeyError) -> VerifiedBackup:
    """Name the machine that lied: that is the run's failure, and takes nothing from what was read here."""
    problem = "; ".join(filter(None, (lie.message, made.problem)))
    recorded = made.recorded.model_copy(update={"problem": problem})
    return replace(made, problem=problem, hint=made.hint or lie.hint, recorded=recorded, lied=True)


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
