"""Which of the server's backups a run reads: the newest, a part, those not read lately, those of late."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import PurePath
from typing import Final

from pipeline.config.places import BackupPlace
from pipeline.core.clock import AHEAD
from pipeline.core.errors import UsageProblem
from pipeline.evidence.ledger.backup_history import BackupHistory
from pipeline.sources.backups.sources import BackupSource, Unlisted


@dataclass(frozen=True)
class BackupPart:
    """One of several parts that together are all backups.

    Attributes:
        number: Which one, from 1; ``None`` for the one whose turn it is: the one that waits longest.
        count: How many there are.
    """

    number: int | None
    count: int

    @classmethod
    def of(cls, text: str) -> BackupPart:
        """Read ``3/8`` or ``next/8``.

        Raises:
            UsageProblem: It is neither.
        """
        found = re.fullmatch(r"(next|[0-9]{1,4})/([0-9]{1,4})", text)
        number = int(found[1]) if found and found[1] != "next" else None
        count = int(found[2]) if found else 0
        if not count or not 1 <= (number if number is not None else 1) <= count:
            raise UsageProblem(f"--part {text} is not a part", hint="give 1/8 to 8/8 by turns, or next/8")
        return cls(number, count)

    def holds(self, location: str) -> bool:
        """Whether a backup is in this part: always the same one for the same location."""
        digest = hashlib.sha256(location.encode()).digest()
        return int.from_bytes(digest[:8], "big") % self.count == (self.number or 1) - 1

    def __str__(self) -> str:
        return f"{self.number or 'next'}/{self.count}"


@dataclass(frozen=True)
class Selection:
    """What is read of what is there; all of it by default.

    Attributes:
        newest: So many of each place, by the dates that the places give; ``None`` for all.
        part: Only this part.
        unread_for: Only what was not read to its end for so many days, or is not what was read then.
        since: Only what is dated no earlier.
    """

    newest: int | None = None
    part: BackupPart | None = None
    unread_for: float | None = None
    since: datetime | None = None

    @property
    def whole_part(self) -> str | None:
        """The part that is read wholly; ``None`` where something else decides, too."""
        return str(self.part) if self.part and self.newest is None and self.since is None else None

    def in_turn(self, history: BackupHistory) -> Selection:
        """The same, where it is now known which part's turn it is."""
        if self.part is None or self.part.number is not None:
            return self
        return replace(self, part=replace(self.part, number=history.next_part(self.part.count)))

    def of(
        self, sources: Sequence[BackupSource], places: Places, history: BackupHistory, now: datetime
    ) -> list[BackupSource]:
        """Choose; the order stays. What cannot be listed may hold what is wanted: it is always chosen."""
        kept: set[BackupSource] = {source for source in sources if isinstance(source, Unlisted)}
        chosen = [source for source in sources if source not in kept and self._wanted(source, history, now)]
        for mine in places.sorted(chosen):
            kept |= set(sorted(mine, key=lambda one: dated(one, now), reverse=True)[: self.newest])
        return [source for source in sources if source in kept]

    def _wanted(self, source: BackupSource, history: BackupHistory, now: datetime) -> bool:
        if self.part and not self.part.holds(source.location):
            return False
        if self.since and (source.modified is None or source.modified < self.since):
            return False
        if self.unread_for is None:
            return True
        read = history.verified(source.location, source.state)
        return read is None or not -1 < (now - read.at) / timedelta(days=1) < self.unread_for


ALL: Final = Selection()


def dated(source: BackupSource, now: datetime | None = None) -> float:
    """The date that its place gives it, for sorting; what has none is the oldest.

    Args:
        source: The backup.
        now: The present time, where a date in the future is to count as none.
    """
    known = source.modified is not None and (now is None or source.modified < now + AHEAD)
    return source.modified.timestamp() if source.modified and known else 0.0


@dataclass(frozen=True)
class Places:
    """The configured places of backups, by name."""

    configured: Mapping[str, BackupPlace]

    def name(self, source: BackupSource) -> str:
        """The place where a backup lies: the configured one, else its folder; empty for a pipe."""
        inside = [
            name
            for name, place in self.configured.items()
            if f"{source.location}/".startswith(f"{place.location.rstrip('/')}/")
        ]
        if inside:
            return max(inside, key=lambda name: len(self.configured[name].location))
        return source.location.rpartition("/")[0] if source.location else ""

    def sorted(
        self, sources: Sequence[BackupSource], only: Collection[str] | None = None
    ) -> list[list[BackupSource]]:
        """The backups of each place, or of the named ones."""
        found: dict[str, list[BackupSource]] = {}
        for source in sources:
            name = self.name(source)
            if only is None or name in only:
                found.setdefault(name, []).append(source)
        return list(found.values())

    def settings(self, source: BackupSource) -> BackupPlace:
        """What is configured for it; the defaults where nothing is."""
        name = self.name(source)
        return self.configured.get(name) or BackupPlace(location=str(PurePath("/")))
