"""What the ledger tells of backups: which bytes were read to their end, and what lies there since.

A claim is about bytes, not about a name: it holds as long as the same bytes lie there, and a later failure
takes it back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Literal, Self, TypeAlias

from pipeline.core.errors import Code
from pipeline.evidence.ledger.events import BackupRead, BackupsVerifyEvent
from pipeline.evidence.ledger.store import LedgerEntry

History: TypeAlias = Literal["new", "same", "replaced", "shrunk", "older"]
SOUND: Final = frozenset({"new", "same"})
"""What needs nobody's attention."""


_VERDICTS: Final = frozenset({Code.INTEGRITY, Code.STALE, Code.UNSUPPORTED})
"""What is said of a backup's bytes; other codes say that they could not be read, or not yet."""


@dataclass(frozen=True)
class RecordedReading:
    """One attempt to read a backup, as the ledger has it.

    Attributes:
        at: When.
        entry: The entry that says so.
        read: What it says.
    """

    at: datetime
    entry: LedgerEntry
    read: BackupRead


@dataclass(frozen=True)
class Judged:
    """A backup against what was verified before.

    Attributes:
        history: ``new``; ``same`` bytes as were verified; ``replaced``: other bytes under a name that was
            verified; ``shrunk`` against the one before it whose name differs in numbers alone; ``older`` than
            its date says.
        text: Why, in words; empty for what needs nobody's attention.
    """

    history: History
    text: str = ""


@dataclass
class BackupHistory:
    """This host's readings of backups.

    Attributes:
        known: Digests of backups that somebody has looked at, and found in order.
    """

    known: frozenset[str] = frozenset()
    _newest: dict[str, RecordedReading] = field(default_factory=dict)
    _trusted: dict[str, dict[tuple[str, str, str], BackupRead]] = field(default_factory=dict)
    _newest_read: dict[str, datetime] = field(default_factory=dict)
    _parts: dict[str, datetime] = field(default_factory=dict)

    @classmethod
    def of(cls, entered: Iterable[tuple[LedgerEntry, BackupsVerifyEvent]], known: Iterable[str]) -> Self:
        """Take entries of this host, in the order of the chain."""
        made = cls(frozenset(known))
        for entry, event in entered:
            for read in event.backups:
                made.add(read, RecordedReading(entry.at, entry, read))
            if event.part is not None:
                made._parts[event.part] = entry.at
        return made

    def add(self, read: BackupRead, recorded: RecordedReading | None = None) -> None:
        """Take one reading; ``recorded`` where it is in the ledger already."""
        # One that was read whole, and is not good, has a container; one that is still being written has none.
        about = read.ok or read.code is None or read.code in _VERDICTS or read.container is not None
        if recorded and about:
            before = self._newest.get(where := read.location or read.source)
            # A failure behind it in its chain takes a claim back, whatever the clock was set to.
            behind = before is not None and not read.ok and before.entry.host == recorded.entry.host
            if before is None or behind or before.at <= recorded.at:
                self._newest[where] = recorded
        if read.ok and read.sha256 and (read.history in SOUND or read.sha256 in self.known):
            same = (read.location, read.sha256, read.modified or "")
            self._trusted.setdefault(read.place, {})[same] = read
            if recorded and read.was_newest:
                self._newest_read[read.place] = recorded.at

    def next_part(self, count: int) -> int:
        """The part, of so many, that was read longest ago or never."""
        never = datetime.min.replace(tzinfo=UTC)
        return min(range(1, count + 1), key=lambda number: self._parts.get(f"{number}/{count}", never))

    def last(self, location: str) -> RecordedReading | None:
        """The newest reading that says something of the bytes there."""
        return self._newest.get(location)

    def verified(self, location: str, state: str | None) -> RecordedReading | None:
        """The reading that proves what lies there now.

        Args:
            location: Where.
            state: What tells that other bytes lie there than then; ``None`` where it cannot be looked at.

        Returns:
            ``None`` where it was never read to its end, failed since, or is not known to be what was read.
        """
        last = self.last(location)
        if last is None or not last.read.ok or last.read.sha256 is None or state is None:
            return None
        return last if state == last.read.state else None

    def newest_read(self, place: str) -> datetime | None:
        """When a backup, then the newest of its place, was last read to its end."""
        return self._newest_read.get(place)

    def judge(self, read: BackupRead, *, max_shrink_percent: float, same_name: bool) -> Judged | None:
        """Compare a backup with those that were verified before it in its place.

        Args:
            read: What was read now.
            max_shrink_percent: By how much it may be smaller than the one before it.
            same_name: Whether the server writes each backup under the name of the last one.

        Returns:
            ``None`` where its bytes could not all be read.
        """
        if read.sha256 is None:
            return None
        if read.sha256 in self.known:
            return Judged("same")
        trusted = list(self._trusted.get(read.place, {}).values())
        mine = [one for one in trusted if one.location == read.location]
        twins = [one for one in trusted if one.sha256 == read.sha256]
        twin = next((one for one in twins if one in mine), twins[-1] if twins else None)
        if twin is not None:
            return _dated(read, twin, trusted)
        if mine and not same_name:
            return Judged("replaced", "other bytes lie under this name than those that were verified")
        when, series = read.modified or "", _series(read.location)
        earlier = [
            one for one in trusted
            if one.modified and one.modified <= when and _series(one.location) == series
        ]  # fmt: skip
        before = mine[-1] if mine else max(earlier, key=lambda one: one.modified or "", default=None)
        return _beside(read, before, max_shrink_percent) if before and read.ok else Judged("new")


def _series(location: str) -> str:
    """What names of one series have in common: all but their numbers. Full and partial backups are two."""
    return re.sub(r"[0-9]+", "0", location)


def _dated(read: BackupRead, twin: BackupRead, trusted: Sequence[BackupRead]) -> Judged:
    """The same bytes again: nothing else may have come between, by the dates."""
    then, now = twin.modified or "", read.modified or ""
    between = [one for one in trusted if one.sha256 != read.sha256 and then < (one.modified or "") <= now]
    if not then or not between:
        return Judged("same")
    return Judged("older", f"it has the bytes of {twin.source} of {then}, and is dated later than newer ones")


def _beside(read: BackupRead, before: BackupRead, max_shrink_percent: float) -> Judged:
    for what, now, then in (("bytes", read.size, before.size), ("entries", read.entries, before.entries)):
        if now is not None and then and now < then * (1 - max_shrink_percent / 100):
            return Judged("shrunk", f"it has {now} {what}, and {before.source} before it has {then}")
    if read.newest and before.newest and read.newest < before.newest:
        return Judged(
            "older",
            f"what it holds was last changed at {read.newest}, before that of {before.source} "
            f"({before.newest}), which is dated earlier",
        )
    return Judged("new")
