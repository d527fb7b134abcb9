"""Minimal sets that make a monotone statement true, with groups whose members stand for each other.

A *need* says how many of each name: once a party, or ``k`` members of a group of people of whom each is as
good as another. Writing "any 8 of 16" as one need keeps what would be 12,870 sets small.

"All of" joins needs, "any of" collects them; what asks for more than another need is dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations, product
from math import comb
from typing import Final

from pipeline.core.errors import UsageProblem

Need = frozenset[tuple[str, int]]
"""How many of each name."""
Needs = frozenset[Need]
"""Minimal needs; empty: never true; the need of nothing: always true."""

NEVER: Final[Needs] = frozenset()
ALWAYS: Final[Needs] = frozenset({frozenset()})
MOST: Final = 1_000
"""More needs than anybody reads; people in groups do not count one by one."""


def one(name: str, count: int = 1) -> Needs:
    """True with so many of one name."""
    return frozenset({frozenset({(name, count)} if count else ())})


def within(smaller: Need, larger: Need) -> bool:
    """Whether whatever satisfies the larger need satisfies the smaller."""
    counts = dict(larger)
    return all(counts.get(name, 0) >= count for name, count in smaller)


def minimal(needs: Iterable[Need]) -> Needs:
    """Keep the needs that ask for nothing that another does not.

    Raises:
        UsageProblem: There are too many.
    """
    kept: list[Need] = []
    for candidate in sorted(set(needs), key=lambda need: sum(count for _, count in need)):
        if not any(within(other, candidate) for other in kept):
            kept.append(candidate)
            if len(kept) > MOST:
                raise UsageProblem(
                    f"there are more than {MOST} combinations of parties",
                    hint="name fewer parties in controlled_by: people who do the same are one party",
                )
    return frozenset(kept)


def any_of(parts: Iterable[Needs]) -> Needs:
    """True when one of the parts is."""
    return minimal(need for part in parts for need in part)


def all_of(parts: Iterable[Needs]) -> Needs:
    """True when every part is. Members of a group that serve one part serve the others, too."""
    result = ALWAYS
    for part in parts:
        result = minimal(_join(left, right) for left in result for right in part)
    return result


def _join(left: Need, right: Need) -> Need:
    counts = dict(left)
    for name, count in right:
        counts[name] = max(counts.get(name, 0), count)
    return frozenset(counts.items())


def at_least(count: int, parts: list[Needs], group: str = "", size: int = 0) -> Needs:
    """True when at least so many of the parts, and of a group's members, are.

    Args:
        count: How many.
        parts: Those outside the group.
        group: A group of which every member counts as one more.
        size: How many members it has.
    """
    return any_of(
        all_of([*chosen, one(group, members)])
        for members in range(max(0, count - len(parts)), min(count, size) + 1)
        for chosen in combinations(parts, count - members)
    )


def expand(needs: Needs, groups: Mapping[str, tuple[str, ...]]) -> frozenset[frozenset[str]]:
    """Write out which members, and which of several names for one thing.

    Args:
        needs: The needs.
        groups: The members of each group; any other name stands for itself.
    """
    return frozenset(
        frozenset(name for part in chosen for name in part)
        for need in needs
        for chosen in product(
            *(combinations(groups.get(name, (name,)), count) for name, count in sorted(need))
        )
    )


def size(needs: Needs, groups: Mapping[str, tuple[str, ...]]) -> int:
    """How many sets :func:`expand` would write."""
    total = 0
    for need in needs:
        ways = 1
        for name, count in need:
            ways *= comb(len(groups.get(name, (name,))), count)
        total += ways
    return total
