"""What the ledger tells of the past: test restores, check-ins, and what was stored last.

Entries come from other hosts as well, by way of the mirrors, so one may say anything: what is malformed is
skipped and named, never an exception. Everything is in order of time; a chain's order is its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from pipeline.core.clock import parse_stamp
from pipeline.evidence.ledger import events
from pipeline.evidence.ledger.drill_results import NOT_REACHED, PROOFS
from pipeline.evidence.ledger.store import LedgerEntry

_READ = frozenset(
    {"drill", "drill-failed", "repair", "check-in", "escrow", "refresh", "rotate", "backups-verify"}
)


@dataclass(frozen=True)
class Witnessed:
    """The witness's signature over the results of one record in one drill, as an entry has it.

    Attributes:
        record_id: The record's.
        record_sha256: The record's.
        at: When, as it was signed.
        statement: What was signed.
        signature: The signature; nobody has checked it yet.
    """

    record_id: str
    record_sha256: str
    at: datetime
    statement: bytes
    signature: bytes = b""

    @classmethod
    def of(
        cls, record_id: str, record_sha256: str, at: str, results: Iterable[Mapping[str, Any]]
    ) -> Witnessed:
        """Write the statement over those of ``results`` that are of this record."""
        mine = [result for result in results if result.get("record_sha256") == record_sha256]
        told = {"schema": "orgkey.drill-entry/1", "record_id": record_id, "at": at, "results": mine}
        text = json.dumps(told, sort_keys=True, separators=(",", ":"))
        return cls(record_id, record_sha256, parse_stamp(at), text.encode())


@dataclass(frozen=True)
class Drilled:
    """What one copy proved on one path at one time.

    Attributes:
        at: When.
        epoch: The epoch's name.
        copy: The target whose copy it was.
        path: The custody path; ``-`` when the copy was not good enough to try one.
        passed: Whether everything was proven.
        seconds: The way from the stored copy to a proven key, in seconds; ``None`` when it did not get there.
        stages: Seconds by stage, see :class:`pipeline.evidence.ledger.drill_results.Result`.
        problems: What failed, in words, empty when it passed.
        makers: The implementations that signed with the recovered key.
        certificates: Files of the certificates that this drill issued.
        entry: The ledger's entry that says so.
        participants: Whose shares people brought, by label.
        witnessed: The witness's signature over it; ``None`` where the entry has none.
        replaced: Whether the copy was written anew since: nobody has restored what lies there now.
    """

    at: datetime
    epoch: str
    copy: str
    path: str
    passed: bool
    seconds: float | None
    stages: Mapping[str, float]
    problems: tuple[str, ...]
    makers: tuple[str, ...]
    certificates: tuple[str, ...]
    entry: LedgerEntry
    participants: tuple[str, ...] = ()
    witnessed: Witnessed | None = None
    replaced: bool = False


@dataclass(frozen=True)
class Copied:
    """A copy that a repair has written anew.

    Attributes:
        at: When.
        epoch: The epoch's name.
        target: Where.
        entry: The ledger's entry that says so.
    """

    at: datetime
    epoch: str
    target: str
    entry: LedgerEntry

    def replaced(self, drilled: Drilled) -> bool:
        """Whether the copy that a drill restored is the one that was there before."""
        mine, other, signed = self.entry, drilled.entry, drilled.witnessed
        at = min(drilled.at, signed.at) if signed else drilled.at  # whoever enters it again dates it anew
        # In one chain by its own order, since a clock may have been set back.
        later = mine.number > other.number if mine.host == other.host else self.at > at
        return mine.own and later and (self.epoch, self.target) == (drilled.epoch, drilled.copy)


@dataclass(frozen=True)
class CheckIn:
    """A check-in as an entry tells it; whether it counts, its code decides.

    Attributes:
        at: When.
        share: Record id, path, holder and index of the share.
        custodian: The label of the custodian.
        number: The number of the code.
        code: The code that was revealed.
        entry: The ledger's entry that says so.
    """

    at: datetime
    share: tuple[str, str, str, int]
    custodian: str
    number: int
    code: str
    entry: LedgerEntry


@dataclass(frozen=True)
class LastKnown:
    """What this host knows of the newest epoch without asking anyone.

    Attributes:
        epoch: Its name.
        at: When it was stored, or else drilled.
        copies: The targets that confirmed a copy.
        proven: When it was last proven; ``None`` when it never was.
    """

    epoch: str
    at: datetime
    copies: tuple[str, ...]
    proven: datetime | None

    @property
    def text(self) -> str:
        """In one sentence, without a full stop."""
        proven = f"proven {self.proven:%Y-%m-%d %H:%M} UTC" if self.proven else "never proven"
        copies = f"copies at {', '.join(self.copies)}" if self.copies else "where its copies are is not told"
        return f"last known, by this host's ledger: epoch {self.epoch}, {proven}, {copies}"


@dataclass(frozen=True)
class History:
    """What a ledger tells, oldest first.

    Attributes:
        drills: Every test restore.
        check_ins: Every check-in; see :class:`CheckIn`.
        known: What is known of the newest epoch; ``None`` when no entry of this host tells of one.
        skipped: What was left out, in words.
        backups: This host's readings of backups; see
            :class:`pipeline.evidence.ledger.backup_history.BackupHistory`.
    """

    drills: tuple[Drilled, ...] = ()
    check_ins: tuple[CheckIn, ...] = ()
    known: LastKnown | None = None
    skipped: tuple[str, ...] = ()
    backups: tuple[tuple[LedgerEntry, events.BackupsVerifyEvent], ...] = ()


def read(entries: Iterable[LedgerEntry]) -> History:
    """Read a ledger.

    Args:
        entries: Its entries; their chains were checked.
    """
    reader = HistoryReader()
    for entry in entries:
        if entry.event in _READ:
            with suppress(events.MalformedEvent):
                reader.take(entry)
    return reader.history()


class HistoryReader:
    """Takes entries one by one, in the order of their chains."""

    def __init__(self) -> None:
        self._tried: list[Drilled] = []
        self._check_ins: list[CheckIn] = []
        self._stored: list[LastKnown] = []
        self._copied: list[Copied] = []
        self._backups: list[tuple[LedgerEntry, events.BackupsVerifyEvent]] = []
        self._skipped: list[str] = []

    def take(self, entry: LedgerEntry) -> events.Event:
        """Take an entry, and say what it says.

        Raises:
            MalformedEvent: It says something else than its event does; the history names it.
        """
        try:
            event = events.event_of(entry)
            match event:
                case events.DrillEvent():
                    self._tried += _drills(entry, event)
                case events.RepairEvent():
                    self._copied += _copies(entry, event)
                case events.CheckInEvent():
                    share = (event.record_id, event.path, event.holder, event.index)
                    self._check_ins.append(
                        CheckIn(entry.at, share, event.custodian, event.number, event.code, entry)
                    )
                case events.BackupsVerifyEvent() if entry.own:
                    self._backups.append((entry.without_details(), event))
                case events.EpochStored() if event.copies and event.epoch and entry.own:
                    self._stored.append(LastKnown(event.epoch, entry.at, tuple(sorted(event.copies)), None))
        except events.MalformedEvent as error:
            if entry.event in _READ:
                self._skipped.append(str(error))
            raise
        return event

    def history(self) -> History:
        """What they tell."""
        tried = in_time(self._tried, self._copied)
        return History(
            tuple(tried),
            tuple(sorted(self._check_ins, key=lambda item: item.at)),
            _known(self._stored, tried),
            tuple(self._skipped),
            tuple(self._backups),
        )


def _copies(entry: LedgerEntry, event: events.RepairEvent) -> list[Copied]:
    """The copies that a repair wrote anew."""
    return [
        Copied(entry.at, item.epoch, item.target, entry) for item in event.copies if item.action == "copied"
    ]


def in_time(tried: Iterable[Drilled], copied: Iterable[Copied]) -> list[Drilled]:
    """Put test restores into the order of time, and mark those whose copy was written anew since."""
    anew = tuple(copied)
    return [
        replace(item, replaced=any(copy.replaced(item) for copy in anew))
        for item in sorted(tried, key=lambda item: item.at)
    ]


def _drills(entry: LedgerEntry, event: events.DrillEvent) -> list[Drilled]:
    """The test restores of one drill.

    Raises:
        MalformedEvent: The witness's signature is malformed.
    """
    try:
        signed = {
            one.record_sha256: replace(
                Witnessed.of(one.record_id, one.record_sha256, one.at, entry.details["results"]),
                signature=bytes.fromhex(one.signature),
            )
            for one in event.witnessed
        }
    except ValueError:
        raise events.MalformedEvent.of(entry) from None
    named = entry.without_details()
    return [
        Drilled(
            entry.at,
            result.epoch,
            result.target,
            result.path,
            result.passed,
            result.seconds.get("total") if result.passed else None,
            result.seconds,
            problems(result.proofs),
            result.proofs["sign"].by if "sign" in result.proofs else (),
            event.certificates,
            named,
            result.participants,
            signed.get(result.record_sha256 or ""),
        )
        for result in event.results
    ]


def _known(stored: Iterable[LastKnown], tried: Iterable[Drilled]) -> LastKnown | None:
    """The newest epoch that was stored, else drilled; its name begins with its time."""
    passed = [item for item in tried if item.passed and item.entry.own]
    told = [*stored, *(LastKnown(item.epoch, item.at, (item.copy,), None) for item in passed)]
    if not told:
        return None
    newest = max(item.epoch for item in told)
    mine = [item for item in told if item.epoch == newest]
    return LastKnown(
        newest,
        min(item.at for item in mine),
        tuple(sorted({copy for item in mine for copy in item.copies})),
        max((item.at for item in passed if item.epoch == newest), default=None),
    )


def problems(proofs: Mapping[str, events.RecordedProof]) -> tuple[str, ...]:
    """What failed, in the proofs' own order; what was not even tried is left out."""
    order = {name: number for number, name in enumerate(PROOFS)}
    failed = [
        (name, proofs[name].problem or "not proven")
        for name in sorted(proofs, key=lambda name: order.get(name, len(order)))
        if not proofs[name].ok
    ]
    tried = [(name, why) for name, why in failed if why != NOT_REACHED]
    return tuple(f"{name}: {why}" for name, why in tried or failed)
