"""Posture: who can reconstruct the key, and what loss is fatal.

Both are monotone questions over paths, copies and the parties that control them, so both are
computed on antichains: the minimal sets that make a statement true. "All of" joins sets, "any of"
collects them, and "at least m of" is the two together; supersets are dropped after every step.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from pipeline.errors import UsageProblem

if TYPE_CHECKING:
    from pipeline.config import Config, HolderConfig

Sets = frozenset[frozenset[str]]
"""Minimal sets of names; empty: never true; the set with the empty set: always true."""

NEVER: Sets = frozenset()
ALWAYS: Sets = frozenset({frozenset()})


def minimal(sets: Iterable[frozenset[str]]) -> Sets:
    """Keep the sets that contain no other."""
    kept: list[frozenset[str]] = []
    shorter = 0  # sets of one size never contain each other
    for candidate in sorted(set(sets), key=len):
        if kept and len(kept[-1]) < len(candidate):
            shorter = len(kept)
        if not any(other <= candidate for other in kept[:shorter]):
            kept.append(candidate)
    return frozenset(kept)


def any_of(parts: Iterable[Sets]) -> Sets:
    """True when one of the parts is."""
    return minimal(item for part in parts for item in part)


def all_of(parts: Iterable[Sets]) -> Sets:
    """True when every part is."""
    result = ALWAYS
    for part in parts:
        result = minimal(left | right for left in result for right in part)
    return result


def at_least(count: int, parts: Sequence[Sets]) -> Sets:
    """True when at least ``count`` of the parts are."""
    return any_of(all_of(chosen) for chosen in combinations(parts, count))


@dataclass(frozen=True, slots=True)
class Thing:
    """A holder's share or a target's copy.

    Attributes:
        label: How it is called, for example ``holder vault``.
        parties: Who controls it: each alone can use it, and each alone can destroy it.
        domain: Its failure domain; empty when it has none to share.
    """

    label: str
    parties: frozenset[str]
    domain: str = ""

    def used_by(self) -> Sets:
        """The parties that can use it, each alone."""
        return frozenset(frozenset({party}) for party in self.parties)

    def lost_with(self) -> Sets:
        """Whose loss takes it away: its own, its domain's, or the malice of one who controls it."""
        names = {self.label, *(f"party {party}" for party in self.parties)}
        if self.domain:
            names.add(f"domain {self.domain}")
        return frozenset(frozenset({name}) for name in names)


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a path needs of one holder.

    Attributes:
        threshold: How many of the shares.
        shares: Each share; one for a machine, one per member for a group.
    """

    threshold: int
    shares: tuple[Thing, ...]


@dataclass(frozen=True, slots=True)
class Model:
    """Paths and copies, as far as control and loss are concerned.

    Attributes:
        paths: For each path, its requirements; all of them are needed.
        copies: The targets; one of them is needed.
    """

    paths: tuple[tuple[Requirement, ...], ...]
    copies: tuple[Thing, ...]

    def reconstruct(self) -> Sets:
        """Minimal sets of parties that together get the key: a path's shares, and a copy."""
        shares = any_of(
            all_of(at_least(need.threshold, [share.used_by() for share in need.shares]) for need in path)
            for path in self.paths
        )
        return all_of([shares, any_of(copy.used_by() for copy in self.copies)])

    def fatal_losses(self) -> Sets:
        """Minimal sets whose loss leaves no restore: a need of every path, or every copy."""
        needs = all_of(
            any_of(
                at_least(len(need.shares) - need.threshold + 1, [share.lost_with() for share in need.shares])
                for need in path
            )
            for path in self.paths
        )
        return any_of([needs, all_of(copy.lost_with() for copy in self.copies)])


def from_config(config: Config) -> Model:
    """Model what the configuration says about control.

    Args:
        config: The validated configuration.

    Returns:
        The model; facts that only the servers know are not in it.
    """
    holders = {name: _shares(name, holder) for name, holder in config.holder.items()}
    return Model(
        paths=tuple(
            tuple(Requirement(need.threshold, holders[need.holder]) for need in path.needs)
            for path in config.path.values()
        ),
        copies=tuple(
            Thing(f"target {name}", frozenset(target.controlled_by), target.domain)
            for name, target in config.target.items()
        ),
    )


def _shares(name: str, holder: HolderConfig) -> tuple[Thing, ...]:
    from pipeline import config as settings

    if isinstance(holder, settings.OpenpgpHolder):
        return tuple(
            Thing(f"custodian {member.fingerprint}", frozenset({f"custodian {member.fingerprint}"}))
            for member in holder.members
        )
    if isinstance(holder, settings.PaperHolder):
        return tuple(
            Thing(f"holder {name}, sheet {number}", frozenset({keeper}))
            for number, keeper in enumerate(holder.kept_by, 1)
        )
    return (Thing(f"holder {name}", frozenset(holder.controlled_by), holder.domain),)


def listed(sets: Sets) -> list[list[str]]:
    """Sets in a stable order for people and documents: small ones first."""
    return sorted((sorted(item) for item in sets), key=lambda item: (len(item), item))


def single_parties(config: Config) -> list[str]:
    """The parties that can each reconstruct the key alone, by configuration; sorted."""
    return sorted(name for item in from_config(config).reconstruct() if len(item) == 1 for name in item)


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
