"""Which backups are read by turns: each that stays is read once in a round, whatever comes and goes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import Unreachable
from pipeline.evidence.ledger.backup_history import BackupHistory
from pipeline.evidence.ledger.events import BackupRead, BackupsVerifyEvent
from pipeline.evidence.ledger.store import LedgerEntry
from pipeline.sources.backups.byte_stream import ByteStream
from pipeline.sources.backups.sources import BackupSource, Unlisted
from pipeline.workflows.backups.selection import BackupPart, Places, Selection

START = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = st.text("abcdefgh/-0123456789", min_size=1, max_size=12)


@dataclass(eq=False)
class Listed:
    """A backup as it is listed, which nobody opens."""

    location: str
    state: str | None
    again: bool = True
    size: int | None = 1
    path: Path | None = None
    modified: datetime | None = START
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.location

    @name.setter
    def name(self, name: str) -> None:
        raise NotImplementedError

    def start(self) -> bytes:
        raise NotImplementedError

    def open(self) -> AbstractContextManager[ByteStream]:
        raise NotImplementedError

    def place(self) -> None:
        raise NotImplementedError


def entered(number: int, part: str | None, chosen: list[str]) -> tuple[LedgerEntry, BackupsVerifyEvent]:
    reads = tuple(
        BackupRead(source=name, location=name, state="1", ok=True, sha256="0" * 64) for name in chosen
    )
    at = START + timedelta(days=number)
    entry = LedgerEntry("h", True, number, at, "backups-verify", "r", {}, "0" * 64, {})
    return entry, BackupsVerifyEvent(code=0, backups=reads, part=part)


@given(st.data(), st.integers(1, 12), st.sets(NAMES, max_size=30), st.booleans())
def test_a_round_reads_what_stays_once(
    data: st.DataObject, count: int, stay: set[str], told_by_number: bool
) -> None:
    turns = data.draw(st.permutations(range(1, count + 1))) if told_by_number else ["next"] * count
    ledger: list[tuple[LedgerEntry, BackupsVerifyEvent]] = []
    read: Counter[str] = Counter()
    for number, turn in enumerate(turns, 1):
        others = data.draw(st.sets(NAMES, max_size=10)) - stay
        replaced = data.draw(st.sets(st.sampled_from(sorted(stay)))) if stay else set()
        there = [Listed(name, f"{number if name in replaced else 0}") for name in stay | others]
        past = BackupHistory.of(ledger, ())
        selection = Selection(part=BackupPart.of(f"{turn}/{count}")).in_turn(past)
        chosen = [source.location for source in selection.of(there, Places({}), past, START)]
        read.update(chosen)
        ledger.append(entered(number, selection.whole_part, chosen))
    assert {name: read[name] for name in stay} == dict.fromkeys(stay, 1)


def test_a_date_in_the_future_makes_nothing_the_newest_and_no_reading_fresh() -> None:
    there = [
        Listed(name, "1", modified=START + timedelta(days=days))
        for name, days in (("old", -9), ("new", 0), ("soon", 0.5), ("false", 900))
    ]

    def chosen(selection: Selection, past: BackupHistory) -> list[str]:
        return [source.location for source in selection.of(there, Places({}), past, START)]

    newest = Selection(newest=3)
    past = BackupHistory.of([entered(900, None, ["old"]), entered(0, None, ["new"])], ())
    assert "false" not in chosen(newest, past)
    assert chosen(Selection(unread_for=30), past) == ["old", "soon", "false"]
    assert chosen(Selection(unread_for=float("inf")), past) == ["old", "soon", "false"]


def test_a_place_that_cannot_be_listed_is_in_every_selection() -> None:
    closed = Unlisted("s3://bucket/folder", Unreachable("no answer", hint="wait"))
    there: list[BackupSource] = [
        Listed("old", "1"),
        closed,
        Listed("new", "1", modified=START + timedelta(days=1)),
    ]
    for selection in (
        Selection(newest=1),
        Selection(part=BackupPart(1, 1000)),
        Selection(part=BackupPart(2, 1000)),
        Selection(unread_for=30),
        Selection(since=START + timedelta(days=9)),
    ):
        assert closed in selection.of(there, Places({}), BackupHistory.of((), ()), START)


def test_what_cannot_be_looked_at_now_is_not_known_to_be_what_was_read() -> None:
    past = BackupHistory.of([entered(0, None, ["a"])], ())
    assert past.verified("a", "1") is not None
    assert past.verified("a", "2") is None
    assert past.verified("a", None) is None
