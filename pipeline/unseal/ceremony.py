"""A ceremony: people bring the shares that one custody path of one record needs, one at a time.

Every share is checked against its commitment when it arrives. Nothing is kept but in memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from pipeline.core.errors import NotHeld, WrongShare
from pipeline.core.secret import Secret
from pipeline.custody.shares import slip39
from pipeline.custody.shares.identify import KnownRecord, identify, require
from pipeline.custody.shares.manifest_section import PathEntry, ShareEntry
from pipeline.custody.shares.paths import PathNeed
from pipeline.record.verify import Record


@dataclass(frozen=True, slots=True)
class Brought:
    """A share that somebody brought.

    Attributes:
        words: The share.
        what: What errors call it, for example ``the share in alice.txt``.
    """

    words: Secret
    what: str


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who has a share of a path.

    Attributes:
        share: What the manifest says of the share; its label is the fingerprint of a custodian's
            certificate, or the keeper of a sheet of paper.
        name: What they are called.
        kind: The holder's kind.
    """

    share: ShareEntry
    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """A share that fits.

    Attributes:
        person: Whose it is.
        again: Whether it was there already.
    """

    person: Person
    again: bool


@dataclass
class Gathering:
    """The shares of people for one path of one record, as they come in.

    Attributes:
        record: The record.
        path: The path.
        needs: What is asked of people, in the order of the path.
        people: Everybody who has a share of it, by holder and index.
        machines: Holders that are opened without people.
        others: Other records of the same key, to name the epoch that a wrong share is of.
        because: Why people are needed: the paths that were tried before, each with its reason.
    """

    record: Record
    path: PathEntry
    machines: Collection[str]
    others: Sequence[Record] = ()
    because: Sequence[str] = ()
    needs: tuple[PathNeed, ...] = field(init=False)
    people: dict[tuple[str, int], Person] = field(init=False)
    _numbers: dict[tuple[str, int], int] = field(init=False)
    _shares: dict[tuple[str, int], Secret] = field(default_factory=dict, repr=False)
    _called: dict[tuple[str, int], str] = field(default_factory=dict)
    _repeated: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.needs = tuple(need for need in self.path.needs if need.holder not in self.machines)
        wanted = {need.holder for need in self.needs}
        self.people = {
            (share.holder, share.index): self._person(share)
            for share in self.path.shares
            if share.holder in wanted
        }
        # As on the sheets; with several groups on a path, one number after the other.
        self._numbers = {
            place: place[1] if len(wanted) == 1 else number
            for number, place in enumerate(sorted(self.people), 1)
        }

    def _person(self, share: ShareEntry) -> Person:
        holder = self.record.manifest.custody.holders[share.holder]
        return Person(share, holder.names.get(share.label) or share.label, holder.kind)

    def add(self, words: Secret, what: str) -> Accepted:
        """Take one share, if it fits.

        Args:
            words: The share.
            what: What errors call it.

        Raises:
            WrongShare: It is damaged, or of another path or epoch; said which.
        """
        others = [known(item) for item in self.others]
        found = require(words, known(self.record), self.path.name, others, what=what)
        place = (found.share.holder, found.share.index)
        if place not in self.people:  # a machine's share, brought by hand
            self.people[place] = self._person(found.share)
        again = place in self._shares
        if again:
            self._repeated.append(f"{what} is the same as {self._called[place]}, {self.people[place].name}'s")
        self._called.setdefault(place, what)
        self._shares[place] = slip39.normalise(words)
        return Accepted(self.people[place], again)

    def count(self, need: PathNeed) -> int:
        """How many shares of a holder are there."""
        return sum(holder == need.holder for holder, _ in self._shares)

    @property
    def short(self) -> tuple[PathNeed, ...]:
        """The groups that need more."""
        return tuple(need for need in self.needs if self.count(need) < need.threshold)

    @property
    def complete(self) -> bool:
        """Whether every group has enough."""
        return not self.short

    @property
    def shares(self) -> tuple[Secret, ...]:
        """The shares so far."""
        return tuple(self._shares.values())

    @property
    def holders(self) -> frozenset[str]:
        """The holders of whom something is there."""
        return frozenset(holder for holder, _ in self._shares)

    @property
    def present(self) -> tuple[Person, ...]:
        """Whose shares are there; a machine's, brought by hand, is nobody's."""
        return tuple(self.people[place] for place in sorted(self._shares) if place[0] not in self.machines)

    @property
    def absent(self) -> tuple[Person, ...]:
        """Whose are not, in groups that need more."""
        return tuple(self.numbered.values())

    @property
    def numbered(self) -> dict[int, Person]:
        """The same by number; a person keeps it, whoever else has brought a share meanwhile."""
        short = {need.holder for need in self.short}
        return {
            self._numbers[place]: person
            for place, person in sorted(self.people.items())
            if place not in self._shares and place[0] in short
        }

    def require_complete(self) -> None:
        """Say what is missing, if anything is.

        Raises:
            NotHeld: A group has too few.
        """
        if self.complete:
            return
        lacking = [
            f"{self.count(need)} of the {need.threshold} shares needed of holder {need.holder} are there"
            for need in self.short
        ]
        names = ", ".join(person.name for person in self.absent)
        raise NotHeld(
            f"custody path {self.path.name}: " + "; ".join([*lacking, *self._repeated]),
            hint=f"bring more shares with --via {self.path.name}, at a terminal or with --share FILE; "
            f"not yet there: {names}",
        )


Ask = Callable[[Gathering], None]
"""Asks people at a terminal for shares, and returns when the gathering is complete or they give up."""


@dataclass(frozen=True)
class UnsealRequest:
    """How a record is to be opened.

    Attributes:
        path: Only on this custody path.
        shares: Words that people brought.
        ask: How people are asked for more, where somebody is there.
    """

    path: str | None = None
    shares: tuple[Brought, ...] = field(default=(), repr=False)
    ask: Ask | None = None


UNATTENDED: Final = UnsealRequest()
"""By machines alone."""


@dataclass(frozen=True)
class GatheredShares:
    """What people brought.

    Attributes:
        shares: Enough for what the path asks of people; empty for a path of machines.
        people: Whose they are.
        seconds: How long it took, the people's own time included.
    """

    shares: tuple[Secret, ...] = field(default=(), repr=False)
    people: tuple[Person, ...] = ()
    seconds: float = 0.0

    @property
    def dual_control(self) -> bool:
        """Whether at least two different people took part."""
        return len({person.share.label for person in self.people}) > 1


def known(record: Record) -> KnownRecord:
    """A record, as shares are identified by."""
    return KnownRecord(record.epoch, record.manifest.custody, record.binding)


def gather(
    record: Record,
    path: PathEntry,
    machines: Collection[str],
    request: UnsealRequest = UNATTENDED,
    others: Sequence[Record] = (),
    because: Sequence[str] = (),
    first: Callable[[Collection[str]], None] = lambda brought: None,
) -> GatheredShares:
    """Collect the shares that a path needs from people.

    Args:
        record: The record.
        path: The path.
        machines: Holders that are opened without people.
        request: The shares that were brought already, and how people are asked for more.
        others: Other records of the same key.
        because: Why people are needed, for them to read.
        first: Called before anybody is asked, with the holders whose shares were given: whatever would
            make the people's effort useless is found out here.

    Raises:
        WrongShare: One that was given does not fit.
        NotHeld: Too few, in the end.
    """
    started = time.monotonic()
    gathering = Gathering(record, path, machines, others, because)
    for item in request.shares:
        gathering.add(item.words, item.what)
    if not gathering.complete and request.ask is not None:
        first(gathering.holders)
        request.ask(gathering)
    gathering.require_complete()
    return GatheredShares(gathering.shares, gathering.present, time.monotonic() - started)


def path_of(record: Record, shares: Sequence[Brought], others: Sequence[Record] = ()) -> str | None:
    """The custody path of the first share that this record knows.

    Args:
        record: The record.
        shares: Those that were brought.
        others: Other records of the same key.

    Returns:
        The path's name; ``None`` when nothing was given.

    Raises:
        WrongShare: None of them is of this record.
    """
    for item in shares:
        try:
            found = identify(item.words, [known(record)])
        except WrongShare as error:
            raise WrongShare(f"{item.what}: {error.message}", hint=error.hint) from None
        if found is not None:
            return found.path.name
    for item in shares[:1]:
        elsewhere = [known(other) for other in others]
        require(item.words, known(record), record.manifest.custody.paths[0].name, elsewhere, what=item.what)
    return None
