"""What the ledger tells of the past: test restores, check-ins, and what was stored last.

The one reader of what entries say. Entries come from other hosts as well, by way of the mirrors, so one may
say anything: what has another form than its event has is skipped and named, never an exception. Everything
is in order of time, since behind a fork the ledger's own order is another.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, TypeVar

from pipeline.core.clock import parse_stamp
from pipeline.evidence.ledger.drill_results import NOT_REACHED, PROOFS

T = TypeVar("T")

DRILLS: Final = frozenset({"drill", "drill-failed"})
"""The ledger's events that hold the results of test restores."""
CHECK_IN: Final = "check-in"
"""The ledger's event of a share that its custodian has proven."""
STORED: Final = frozenset({"escrow", "refresh", "rotate"})
"""The ledger's events that store an epoch."""
REPAIR: Final = "repair"
"""The ledger's event of copies that were written anew."""
MALFORMED: Final = (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)
"""What reading an entry raises that says something else than its event does."""


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
        mine = [result for result in results if result["record_sha256"] == record_sha256]
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
        proofs: Whether each proof was made, by name.
        by: The implementations or holders behind each proof, by name.
        certificates: Files of the certificates that this drill issued.
        run: The run's correlation id.
        sequence: The ledger entry that says so.
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
    proofs: Mapping[str, bool]
    by: Mapping[str, tuple[str, ...]]
    certificates: tuple[str, ...]
    run: str
    sequence: int
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
        sequence: The ledger entry that says so.
    """

    at: datetime
    epoch: str
    target: str
    sequence: int

    def replaced(self, drilled: Drilled) -> bool:
        """Whether the copy that a drill restored is the one that was there before."""
        # By both orders: behind a fork the numbers are not in order of time, and a time may be false.
        later = self.at > drilled.at and self.sequence > drilled.sequence
        return later and (self.epoch, self.target) == (drilled.epoch, drilled.copy)


@dataclass(frozen=True)
class CheckIn:
    """A check-in as an entry tells it; whether it counts, its code decides.

    Attributes:
        at: When.
        share: Record id, path, holder and index of the share.
        custodian: The label of the custodian.
        number: The number of the code.
        code: The code that was revealed.
        sequence: The ledger entry that says so.
    """

    at: datetime
    share: tuple[str, str, str, int]
    custodian: str
    number: int
    code: str
    sequence: int


@dataclass(frozen=True)
class Known:
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
        known: What is known of the newest epoch; ``None`` when no entry tells of one.
        skipped: What was left out, in words.
    """

    drills: tuple[Drilled, ...] = ()
    check_ins: tuple[CheckIn, ...] = ()
    known: Known | None = None
    skipped: tuple[str, ...] = ()


def read(entries: Iterable[Mapping[str, Any]]) -> History:
    """Read a ledger.

    Args:
        entries: Its entries; their chain was checked.
    """
    tried: list[Drilled] = []
    check_ins: list[CheckIn] = []
    stored: list[Known] = []
    copied: list[Copied] = []
    skipped = []
    for entry in entries:
        try:
            told = parts(entry)
        except MALFORMED:
            skipped.append(
                f"ledger entry {entry['sequence']} says something else than its event {entry['event']} does: "
                "it is skipped"
            )
            continue
        tried += told[0]
        check_ins += told[1]
        stored += told[2]
        copied += told[3]
    tried = in_time(tried, copied)
    check_ins.sort(key=lambda item: item.at)
    return History(tuple(tried), tuple(check_ins), _known(stored, tried), tuple(skipped))


def parts(
    entry: Mapping[str, Any],
) -> tuple[tuple[Drilled, ...], list[CheckIn], list[Known], list[Copied]]:
    """The test restores, the check-in, the stored epoch and the copies written anew that one entry tells of.

    Raises:
        Exception: One of :data:`MALFORMED`: it has another form than its event has.
    """
    return _drills(entry), _check_in(entry), _stored(entry), _copied(entry)


def in_time(tried: Iterable[Drilled], copied: Iterable[Copied]) -> list[Drilled]:
    """Put test restores into the order of time, and mark those whose copy was written anew since."""
    anew = tuple(copied)
    return [
        replace(item, replaced=any(copy.replaced(item) for copy in anew))
        for item in sorted(tried, key=lambda item: item.at)
    ]


def _drills(entry: Mapping[str, Any]) -> tuple[Drilled, ...]:
    if entry["event"] not in DRILLS:
        return ()
    told = entry["details"]
    signed = {
        one["record_sha256"]: replace(
            Witnessed.of(
                _a(str, one["record_id"]), _a(str, one["record_sha256"]), _a(str, one["at"]), told["results"]
            ),
            signature=bytes.fromhex(one["signature"]),
        )
        for one in told.get("witnessed", ())
    }
    return tuple(
        _drilled(entry, result, signed.get(result.get("record_sha256"))) for result in told["results"]
    )


def _copied(entry: Mapping[str, Any]) -> list[Copied]:
    if entry["event"] != REPAIR:
        return []
    at, number = parse_stamp(entry["at"]), _a(int, entry["sequence"])
    return [
        Copied(at, _a(str, item["epoch"]), _a(str, item["target"]), number)
        for item in entry["details"]["copies"]
        if item["action"] == "copied"
    ]


def _check_in(entry: Mapping[str, Any]) -> list[CheckIn]:
    if entry["event"] != CHECK_IN:
        return []
    told = entry["details"]
    record_id, path, holder = (_a(str, told[name]) for name in ("record_id", "path", "holder"))
    return [
        CheckIn(
            parse_stamp(entry["at"]),
            (record_id, path, holder, _a(int, told["index"])),
            _a(str, told["custodian"]),
            _a(int, told["number"]),
            _a(str, told["code"]),
            _a(int, entry["sequence"]),
        )
    ]


def _stored(entry: Mapping[str, Any]) -> list[Known]:
    """The epoch that an entry says is stored; one of which no copy was confirmed is not."""
    told = entry["details"]
    if entry["event"] not in STORED or not told.get("copies"):
        return []
    return [
        Known(_a(str, told["epoch"]), parse_stamp(entry["at"]), tuple(sorted(map(str, told["copies"]))), None)
    ]


def _known(stored: Iterable[Known], tried: Iterable[Drilled]) -> Known | None:
    """The newest epoch that was stored, else drilled; its name begins with its time."""
    passed = [item for item in tried if item.passed]
    told = [*stored, *(Known(item.epoch, item.at, (item.copy,), None) for item in passed)]
    if not told:
        return None
    newest = max(item.epoch for item in told)
    mine = [item for item in told if item.epoch == newest]
    return Known(
        newest,
        min(item.at for item in mine),
        tuple(sorted({copy for item in mine for copy in item.copies})),
        max((item.at for item in passed if item.epoch == newest), default=None),
    )


def last_passed(found: Iterable[Drilled], epochs: frozenset[str]) -> dict[tuple[str, str], Drilled]:
    """The newest passed test restore of each copy and path, of these epochs.

    Args:
        found: As of :func:`drills`, oldest first.
        epochs: Names of epochs; a drill of an older record proves nothing about the present one.

    Returns:
        By copy and path.
    """
    return {(item.copy, item.path): item for item in found if item.passed and item.epoch in epochs}


def _drilled(entry: Mapping[str, Any], result: Mapping[str, Any], signed: Witnessed | None) -> Drilled:
    proofs = result["proofs"]
    passed = _a(bool, result["passed"])
    stages = {str(stage): float(_a(float, value)) for stage, value in result["seconds"].items()}
    return Drilled(
        parse_stamp(entry["at"]),
        _a(str, result["epoch"]),
        _a(str, result["copy"]),
        _a(str, result["path"]),
        passed,
        stages.get("total") if passed else None,
        stages,
        _problems(proofs),
        {str(name): _a(bool, proof["ok"]) for name, proof in proofs.items()},
        {str(name): tuple(map(str, proof["by"])) for name, proof in proofs.items()},
        tuple(map(str, entry["details"].get("certificates", ()))),
        _a(str, entry["run"]),
        _a(int, entry["sequence"]),
        tuple(_a(str, one) for one in result.get("participants", ())),
        signed,
    )


def _a(kind: type[T], value: object) -> T:
    """The value, if it is of that kind; a whole number may stand for any."""
    if type(value) is not kind and not (kind is float and type(value) is int):
        raise TypeError(f"{value!r} is not of the form {kind.__name__}")
    return value  # type: ignore[return-value]  # just checked


def _problems(proofs: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """What failed, in the proofs' own order; what was not even tried is left out."""
    order = {name: number for number, name in enumerate(PROOFS)}
    failed = [
        (name, str(proofs[name].get("problem") or "not proven"))
        for name in sorted(proofs, key=lambda name: order.get(name, len(order)))
        if not proofs[name]["ok"]
    ]
    tried = [(name, why) for name, why in failed if why != NOT_REACHED]
    return tuple(f"{name}: {why}" for name, why in tried or failed)
