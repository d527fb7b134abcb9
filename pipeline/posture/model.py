"""Posture: who can reconstruct the key, and what loss is fatal.

Both are monotone questions over paths, copies and the parties that control them. They are computed as
minimal needs (:mod:`pipeline.posture.minimal_sets`); people who stand for each other are one group in them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final

from pipeline.core.errors import UsageProblem
from pipeline.posture import minimal_sets
from pipeline.posture.minimal_sets import Needs, all_of, any_of, at_least, one

if TYPE_CHECKING:
    from pipeline.config import Config
    from pipeline.config.holders import HolderConfig
    from pipeline.config.places import TargetConfig

Sets = frozenset[frozenset[str]]
LISTED: Final = 200
"""More sets than this are compared and listed as groups only."""
"""Minimal sets of names."""


@dataclass(frozen=True, slots=True)
class Thing:
    """A holder's share or a target's copy.

    Attributes:
        label: How it is called, for example ``holder vault``; a person's share is called like the person.
        parties: Who controls it: each alone can use it, and each alone can destroy it.
        domain: Its failure domain; empty when it has none to share.
    """

    label: str
    parties: frozenset[str]
    domain: str = ""

    @property
    def person(self) -> bool:
        """Whether it is a person's own share."""
        return self.parties == {self.label} and not self.domain

    def lost_with(self) -> frozenset[str]:
        """Whose loss takes it away: its own, its domain's, or the malice of one who controls it."""
        names = {self.label, *(f"party {party}" for party in self.parties if party != self.label)}
        return frozenset(names | ({f"domain {self.domain}"} if self.domain else set()))


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a path needs of one holder.

    Attributes:
        threshold: How many of the shares.
        shares: Each share; one for a machine, one per member for a group.
        holder: The holder's name, for people.
    """

    threshold: int
    shares: tuple[Thing, ...]
    holder: str = ""


@dataclass(frozen=True)
class Model:
    """Paths and copies of one record, as far as control and loss are concerned.

    Attributes:
        paths: For each path, its requirements; all of them are needed.
        copies: The targets; one of them is needed.
        names: The paths' names, for people.
        key: Which key the record gives; what is kept of another one does not bring it back.
    """

    paths: tuple[tuple[Requirement, ...], ...]
    copies: tuple[Thing, ...]
    names: tuple[str, ...] = ()
    key: str = ""


@dataclass(frozen=True)
class PartySets:
    """Minimal needs, and the members of their groups.

    Attributes:
        needs: The needs.
        groups: Members of each group, and the names of one and the same loss.
    """

    needs: Needs
    groups: Mapping[str, tuple[str, ...]]

    def sets(self) -> Sets:
        """Every minimal set, written out."""
        return minimal_sets.expand(self.needs, self.groups)

    def count(self) -> int:
        """How many sets there are, without writing them out."""
        return minimal_sets.size(self.needs, self.groups)

    def listed(self) -> list[list[str]] | None:
        """Every minimal set in a stable order, small ones first; ``None`` where they are too many to list."""
        if self.count() > LISTED:
            return None
        return sorted((sorted(item) for item in self.sets()), key=lambda item: (len(item), item))

    def singles(self) -> list[str]:
        """The names that suffice alone, sorted."""
        alone = frozenset(need for need in self.needs if sum(count for _, count in need) == 1)
        return sorted(name for item in minimal_sets.expand(alone, self.groups) for name in item)

    def lines(self) -> list[list[tuple[int, tuple[str, ...]]]]:
        """Each need for people: how many, of whom; small ones first."""
        needs = (
            sorted((count, self.groups.get(name, (name,))) for name, count in need) for need in self.needs
        )
        return sorted(needs, key=lambda need: (sum(count for count, _ in need), need))


@dataclass(frozen=True)
class Posture:
    """What several records mean together: any one of them gives its key.

    Attributes:
        models: One for each record.
    """

    models: tuple[Model, ...]
    _groups: Mapping[str, tuple[str, ...]] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_groups", _alike(self.models))

    @cached_property
    def reconstruct(self) -> PartySets:
        """Minimal sets of parties that get the key out of any of the records."""
        needs = any_of(self._reconstruct(model) for model in self.models)
        return PartySets(needs, self._groups)

    @cached_property
    def fatal_losses(self) -> PartySets:
        """Minimal sets whose loss leaves no restore of one of the keys, from any of its records."""
        things = [thing for model in self.models for thing in _things(model)]
        same, groups = _same_loss(things, self._groups)
        records: dict[str, list[Needs]] = defaultdict(list)
        for model in self.models:
            records[model.key].append(self._fatal(model, same))
        return PartySets(any_of(map(all_of, records.values())), groups)

    def beyond(self, model: Model, others: Sequence[Model]) -> PartySets:
        """Minimal sets of parties that get the key out of one of the records, and out of none of the others.

        Args:
            model: One of :attr:`models`.
            others: Others of them.
        """
        known = any_of(self._reconstruct(other) for other in others)
        found = self._reconstruct(model)
        new = [need for need in found if not any(minimal_sets.within(other, need) for other in known)]
        return PartySets(frozenset(new), self._groups)

    @cached_property
    def _member_of(self) -> Mapping[str, str]:
        return {member: group for group, members in self._groups.items() for member in members}

    def _reconstruct(self, model: Model) -> Needs:
        shares = any_of(
            all_of(self._some(need, need.threshold, _used_by) for need in path) for path in model.paths
        )
        return all_of([shares, any_of(_used_by(copy) for copy in model.copies)])

    def _fatal(self, model: Model, same: Mapping[str, str]) -> Needs:
        def lost(thing: Thing) -> Needs:
            return any_of(one(same[name]) for name in thing.lost_with())

        needs = all_of(
            any_of(self._some(need, len(need.shares) - need.threshold + 1, lost) for need in path)
            for path in model.paths
        )
        return any_of([needs, all_of(lost(copy) for copy in model.copies)])

    def _some(self, need: Requirement, count: int, each: Callable[[Thing], Needs]) -> Needs:
        """At least so many of a requirement's shares, the people among them as a group."""
        single = [each(item) for item in need.shares if item.label not in self._member_of]
        groups = {self._member_of[item.label] for item in need.shares if item.label in self._member_of}
        for group in groups:  # one at most, see _alike
            return at_least(count, single, group, len(self._groups[group]))
        return at_least(count, single)


def _used_by(thing: Thing) -> Needs:
    return any_of(one(party) for party in thing.parties)


def _things(model: Model) -> list[Thing]:
    return [*model.copies, *(share for path in model.paths for need in path for share in need.shares)]


def _alike(models: Sequence[Model]) -> dict[str, tuple[str, ...]]:
    """Groups of people who stand for each other: they have a share wherever the others have one.

    A person who controls anything else, or has two shares in one group, is not in a group.
    """
    where: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    other = {party for model in models for copy in model.copies for party in copy.parties}
    for m, model in enumerate(models):
        for p, path in enumerate(model.paths):
            for n, need in enumerate(path):
                for share in need.shares:
                    if share.person:
                        where[share.label].append((m, p, n))
                    else:
                        other |= share.parties
    kinds: dict[tuple[tuple[int, int, int], ...], list[str]] = defaultdict(list)
    for person, places in where.items():
        if person not in other and len(set(places)) == len(places):
            kinds[tuple(sorted(places))].append(person)
    found: dict[str, tuple[str, ...]] = {}
    taken: set[tuple[int, int, int]] = set()
    for kind, people in sorted(kinds.items(), key=lambda item: (-len(item[1]), item[0])):
        # Two kinds in one requirement: only the larger one is a group, the others stay single.
        if len(people) > 1 and not taken & set(kind):
            taken |= set(kind)
            found[f"group {len(found) + 1}"] = tuple(sorted(people))
    return found


def _same_loss(
    things: Iterable[Thing], groups: Mapping[str, tuple[str, ...]]
) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """Names of one and the same loss, under one of them."""
    takes: dict[str, set[Thing]] = defaultdict(set)
    for thing in things:
        for name in thing.lost_with():
            takes[name].add(thing)
    together: dict[frozenset[Thing], list[str]] = defaultdict(list)
    for name, taken in takes.items():
        together[frozenset(taken)].append(name)
    same: dict[str, str] = {}
    merged = dict(groups)
    for names in together.values():
        names.sort(key=lambda name: (name.startswith(("party ", "domain ")), name))
        same |= dict.fromkeys(names, names[0])
        if len(names) > 1:
            merged[names[0]] = tuple(names)
    return same, merged


def from_config(config: Config, of: Callable[[Thing], Thing] = lambda thing: thing) -> Model:
    """Model what the configuration says about control.

    Args:
        config: The validated configuration.
        of: Adds to a thing what only the servers know.
    """
    holders = {name: tuple(map(of, shares_of(name, holder))) for name, holder in config.holder.items()}
    return Model(
        paths=tuple(
            tuple(Requirement(need.threshold, holders[need.holder], need.holder) for need in path.needs)
            for path in config.path.values()
        ),
        copies=tuple(of(copy_at(name, target)) for name, target in config.target.items()),
        names=tuple(config.path),
    )


def copy_at(name: str, target: TargetConfig) -> Thing:
    """A configured target's copy."""
    return Thing(f"target {name}", frozenset(target.controlled_by), target.domain)


def shares_of(name: str, holder: HolderConfig) -> tuple[Thing, ...]:
    """A configured holder's shares: one of a machine, one for each custodian or sheet.

    Args:
        name: The holder's name.
        holder: Its configuration.
    """
    from pipeline.config.holders import OpenpgpHolderConfig, PaperHolderConfig

    if isinstance(holder, OpenpgpHolderConfig):
        return tuple(custodian(member.fingerprint) for member in holder.members)
    if isinstance(holder, PaperHolderConfig):
        return sheets(name, holder.kept_by)
    return (Thing(f"holder {name}", frozenset(holder.controlled_by), holder.domain),)


def custodian(fingerprint: str) -> Thing:
    """A custodian's own share."""
    return Thing(f"custodian {fingerprint}", frozenset({f"custodian {fingerprint}"}))


def sheets(name: str, keepers: Iterable[str]) -> tuple[Thing, ...]:
    """Sheets of paper: whoever keeps one can open its envelope."""
    return tuple(
        Thing(f"holder {name}, sheet {number}", frozenset({keeper}))
        for number, keeper in enumerate(keepers, 1)
    )


def single_parties(config: Config) -> list[str]:
    """The parties that can each reconstruct the key alone, by configuration; sorted."""
    return Posture((from_config(config),)).reconstruct.singles()


def single_losses(config: Config) -> list[str]:
    """The losses that each make every restore impossible, by configuration; sorted."""
    return Posture((from_config(config),)).fatal_losses.singles()


def against_losses(config: Config, losses: Collection[str]) -> str:
    """What to do about losses that each make every restore impossible: of all copies, or of all paths.

    Args:
        config: The configuration.
        losses: As of :func:`single_losses`.
    """
    things = (copy_at(name, target) for name, target in config.target.items())
    copies = frozenset.intersection(*(thing.lost_with() for thing in things))
    hints = {
        "add a target in another domain, controlled by others": copies & set(losses),
        "add another custody path with other holders, such as custodians": set(losses) - copies,
    }
    return "; ".join(hint for hint, meant in hints.items() if meant)


def require_no_single_party(config: Config) -> None:
    """Refuse a plan under which one party gets the key alone.

    Raises:
        UsageProblem: There is such a party, and ``policy.accept_single_party`` is not set.
    """
    alone = single_parties(config)
    if alone and not config.policy.accept_single_party:
        raise UsageProblem(
            f"one party alone can reconstruct the key: {', '.join(alone)}",
            hint="let every [path.*] need holders with different controlled_by, "
            "or set policy.accept_single_party = true",
        )
