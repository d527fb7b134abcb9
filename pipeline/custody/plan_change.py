"""What changes between a stored custody plan and another one, in words and by person."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pipeline.custody.shares.manifest_section import CustodySection
from pipeline.custody.shares.paths import VOLATILE, WAY, HolderDescription, Path, PathNeed

_PEOPLE = {"openpgp": "members", "paper": "kept_by"}
"""The coordinate that lists people, for the kinds of holders that are people."""


@dataclass(frozen=True)
class PlanChange:
    """The difference between two custody plans.

    Attributes:
        lines: Every difference, for people; empty when the plans are the same.
        before: The custodians of the stored plan: fingerprints, and keepers of paper; sorted.
        after: Those of the other plan.
        machines: Whether anything differs besides who the custodians are.
    """

    lines: tuple[str, ...]
    before: tuple[str, ...]
    after: tuple[str, ...]
    machines: bool

    @property
    def removed(self) -> frozenset[str]:
        """Custodians who are no longer in the plan."""
        return frozenset(self.before) - frozenset(self.after)

    @property
    def added(self) -> frozenset[str]:
        """Custodians who are new."""
        return frozenset(self.after) - frozenset(self.before)


def compare_plans(
    stored: CustodySection, paths: Iterable[Path], holders: Mapping[str, HolderDescription]
) -> PlanChange:
    """Compare a stored plan with another one.

    Args:
        stored: The custody section of an authentic manifest.
        paths: The other plan's paths.
        holders: What its holders say of themselves, by name.
    """
    old = {entry.name: entry.path for entry in stored.paths}
    new = {path.name: path for path in paths}
    needed = {need.holder for path in new.values() for need in path.needs}
    before, after = stored.holders, {name: holders[name] for name in sorted(needed)}
    groups = _groups(before, after)
    others = [*_paths(old, new), *_holders(before, after)]
    return PlanChange((*groups, *others), people(before), people(after), bool(others))


def people(holders: Mapping[str, HolderDescription]) -> tuple[str, ...]:
    """Everybody whom holders name: custodians' fingerprints, keepers of paper; sorted, each once."""
    return tuple(sorted({person for item in holders.values() for person in _members(item)}))


def _members(item: HolderDescription | None) -> list[str]:
    return item.listed(_PEOPLE.get(item.kind, "")) if item else []


def _groups(old: Mapping[str, HolderDescription], new: Mapping[str, HolderDescription]) -> list[str]:
    lines = []
    for holder in sorted({*old, *new}):
        both = [plan[holder] for plan in (old, new) if holder in plan]
        names = {who: name for item in both for who, name in item.names.items()}
        before, after = _members(old.get(holder)), _members(new.get(holder))
        for word, changed in (("without", before), ("with", after)):
            for who in changed:
                if (who in before) != (who in after):
                    called = f"{who} ({names[who]})" if names.get(who) else who
                    lines.append(f"holder {holder}: {word} {called}")
    return lines


def _paths(old: Mapping[str, Path], new: Mapping[str, Path]) -> list[str]:
    lines = [f"path {name} is gone" for name in sorted({*old} - {*new})]
    lines += [f"path {name} is new: it needs {_needs(new[name])}" for name in sorted({*new} - {*old})]
    for name in sorted({*old} & {*new}):
        if _rules(old[name]) != _rules(new[name]):
            lines.append(f"path {name}: {_needs(old[name])} becomes {_needs(new[name])}")
    return lines


def _rules(path: Path) -> set[tuple[str, int]]:
    """What a path asks for; the size of a group is its members' business."""
    return {(need.holder, need.threshold) for need in path.needs}


def _needs(path: Path) -> str:
    return " and ".join(_need(need) for need in path.needs)


def _need(need: PathNeed) -> str:
    return need.holder if need.size == 1 else f"{need.threshold} of {need.size} {need.holder}"


def _holders(old: Mapping[str, HolderDescription], new: Mapping[str, HolderDescription]) -> list[str]:
    lines = []
    for name in sorted({*old} & {*new}):
        before, after = (
            {"kind": item.kind, **item.fixed(VOLATILE | {_PEOPLE.get(item.kind, "")})}
            for item in (old[name], new[name])
        )
        untold = WAY - old[name].coordinates.keys()
        lines += [
            f"holder {name}: {key} {before.get(key)} becomes {after.get(key)}"
            for key in sorted(({*before} | {*after}) - untold)
            if before.get(key) != after.get(key)
        ]
    return lines
