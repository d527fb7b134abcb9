"""One mirror and this host's ledger, brought level: compare, adopt, push."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from pipeline.core.clock import parse_stamp
from pipeline.core.digest import sha256
from pipeline.core.errors import Conflict, IntegrityProblem
from pipeline.evidence.ledger import entry as chain
from pipeline.evidence.ledger.entry import Head, Malformed
from pipeline.evidence.ledger.mirror_state import Known, Memory
from pipeline.evidence.ledger.store import Ledger
from pipeline.storage.ledger_mirror import Mirror

MOST: Final = 100_000
"""Entries that are adopted at most in a run: who writes to a mirror must not fill this host's disk."""
MOST_BYTES: Final = 256 * 1024 * 1024
"""Bytes of them."""
_WINDOW: Final = 1024 * 1024
"""Bytes of entries that are held at a time while a chain is followed."""


@dataclass(frozen=True)
class Outcome:
    """How far a mirror and the ledger were brought level.

    Attributes:
        level: Whether the mirror holds all of the ledger now.
        problem: What is wrong with the mirror, in words; then nothing was written to it.
        forked_at: The first of our entries whose number another host's has there, where ours have to give
            way: no mirror that goes before holds them.
    """

    level: bool
    problem: str | None = None
    forked_at: int | None = None


class Follower:
    """A mirror as this host sees it.

    Args:
        mirror: The place.
        ledger: This host's.
        memory: What is remembered of the mirror.
        settled: Whether a mirror that goes before this one holds our entry of a number.
    """

    def __init__(
        self,
        mirror: Mirror,
        ledger: Ledger,
        memory: Memory,
        settled: Callable[[Follower, int], bool],
    ) -> None:
        self.mirror = mirror
        self.name = mirror.name
        self.notes: list[str] = []
        self._ledger = ledger
        self._memory = memory
        self._settled = settled

    def level(self, time_left: Callable[[bool], bool]) -> Outcome:
        """Adopt what continues our chain there, and push what it lacks.

        Args:
            time_left: Whether more may be pushed (or else fetched) in this run.

        Raises:
            OrgkeyError: The mirror, or the disk, refuses. What was done until then counts.
        """
        known, head = self._memory.known(self.name), self._ledger.head()
        base = self._ledger.at(min(known.head.sequence, head.sequence))
        listing = self.mirror.listing(max(base.sequence - 1, 0))
        if problem := self._problem(listing, known, base):
            return Outcome(False, problem)
        if known != (now := Known(base)):
            self._memory.keep(self.name, now)
        while base.sequence < head.sequence:
            if not time_left(True):
                return Outcome(False)
            pushed = self._push(listing, base)
            if pushed is None:
                return Outcome(False, forked_at=base.sequence + 1)
            base = pushed
        return Outcome(self._adopt(listing, base, time_left))

    def _problem(self, listing: Mapping[int, tuple[str, ...]], known: Known, base: Head) -> str | None:
        """What is wrong with what was confirmed before, in words."""
        if base.sequence == 0:
            return None
        if base.sequence == known.head.sequence and base.digest != known.head.digest:
            return (
                f"entry {base.sequence} of this host is another than the one that was mirrored: "
                "one of the two was rewritten"
            )
        if self._has(listing, base):
            return None
        told = "is another there" if base.sequence in listing else "is gone"
        return (
            f"entry {base.sequence}, which was confirmed, {told}; find out who could write to it. "
            f"If that place is new, remove {self._memory.file(self.name)}"
        )

    def _push(self, listing: Mapping[int, tuple[str, ...]], base: Head) -> Head | None:
        """Have our entry behind ``base`` there; ``None`` when it has to give way."""
        number = base.sequence + 1
        data = self._ledger.read(number)
        head = Head(number, sha256(data))
        lies_there = number in listing
        if not lies_there:
            try:
                self.mirror.put(number, data)
            except Conflict:  # since the listing, or behind a delete marker: look again
                listing, lies_there = self.mirror.listing(base.sequence), True
        there = self._has(listing, head) if lies_there else None
        if there:
            # Written by a run that did not see it locked, or whose answer was lost.
            self.mirror.confirm(there, parse_stamp(chain.parse(data, number, self._ledger.fingerprint)["at"]))
        elif lies_there:
            if not self._settled(self, number) and self._branch(listing, base):
                return None
            self.notes.append(
                f"entry {number} there is not of this chain: this host's lies beside it "
                f"(SHA-256 {head.digest.hex})"
            )
            self.mirror.put(number, data, beside=True)
        self._memory.keep(self.name, Known(head))
        return head

    def _adopt(
        self, listing: Mapping[int, tuple[str, ...]], base: Head, time_left: Callable[[bool], bool]
    ) -> bool:
        """Take over what continues our chain there.

        Returns:
            Whether that is all of it.
        """
        adopted, size = 0, 0
        while branch := self._branch(listing, base):
            adopted, size = adopted + len(branch), size + sum(map(len, branch))
            if adopted > MOST or size > MOST_BYTES:
                self.notes.append(
                    f"more than {MOST} entries, or {MOST_BYTES >> 20} MiB, are not taken over in one run: "
                    f"those from entry {base.sequence + 1} on are left alone; find out who could write to it"
                )
                return False
            for data in branch:
                if not self._ledger.add(base.sequence + 1, data):
                    return False  # a run without mirrors took the number: the next run sees the fork
                base = Head(base.sequence + 1, sha256(data))
            self._memory.keep(self.name, Known(base))
            if not time_left(False):
                return False
        if beyond := [number for number in listing if number > base.sequence]:
            self.notes.append(f"entry {min(beyond)} there does not continue the chain, and is left alone")
        return True

    def _has(self, listing: Mapping[int, tuple[str, ...]], wanted: Head) -> str | None:
        """Where an entry lies; ``None`` where it does not."""
        for handle in listing.get(wanted.sequence, ()):
            try:
                if sha256(self.mirror.get(handle)) == wanted.digest:
                    return handle
            except IntegrityProblem:
                continue
        return None

    def _branch(self, listing: Mapping[int, tuple[str, ...]], base: Head) -> list[bytes]:
        """The longest chain behind ``base`` there; of equally long ones, the one that was there first."""
        levels: list[dict[str, tuple[str, bytes]]] = []
        ends, size, number = {base.digest.hex}, 0, base.sequence + 1
        while number in listing and size < _WINDOW:
            found: dict[str, tuple[str, bytes]] = {}
            for handle in listing[number]:
                try:
                    data = self.mirror.get(handle)
                    previous = str(chain.parse(data, number, self._ledger.fingerprint)["previous"])
                except (IntegrityProblem, Malformed):
                    continue
                if previous in ends:
                    found.setdefault(sha256(data).hex, (previous, data))
                    size += len(data)
            if not found:
                break
            levels.append(found)
            ends, number = set(found), number + 1
        branch: list[bytes] = []
        wanted = next(iter(levels[-1])) if levels else ""
        for level in reversed(levels):
            wanted, data = level[wanted]
            branch.append(data)
        return branch[::-1]
