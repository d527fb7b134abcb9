"""Custody paths: sets of holders that together suffice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

from pydantic import ConfigDict, Field

from pipeline.core.concurrency import overlap
from pipeline.core.errors import UsageProblem
from pipeline.custody.holders.interface import Coordinates, Holder

if TYPE_CHECKING:
    from pipeline.config import Config

MAX_GROUP = 16
"""SLIP-39 counts shares, and groups, in four bits."""
Name = Annotated[str, Field(pattern="^[a-z0-9][a-z0-9-]{0,39}$")]
GroupNumber = Annotated[int, Field(strict=True, ge=1, le=MAX_GROUP)]

VOLATILE = frozenset({"key_version", "encrypted_to", "names"})
"""Coordinates that may change while the plan stays: versions of the same key, the encryption subkey of a
custodian who pins none, what people are called. Where a share is sent is part of the plan."""

WAY = frozenset({"ca_file", "proxy"})
"""Coordinates that manifests of version 0.1 do not have: of those records, nothing can be said of them."""


@dataclass(frozen=True, slots=True)
class PathNeed:
    """One holder that a path needs.

    Attributes:
        holder: The holder's name.
        threshold: How many of its shares suffice: 1 for a machine, m for a group.
        size: How many shares it has: 1 for a machine, n for a group.
    """

    holder: Name
    threshold: GroupNumber
    size: GroupNumber

    __pydantic_config__ = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True)
class Path:
    """Holders that together suffice; several paths are alternatives.

    Attributes:
        name: The path's name.
        needs: What it needs, all of it; the order of the SLIP-39 groups.
    """

    name: str
    needs: tuple[PathNeed, ...]


@dataclass(frozen=True, slots=True)
class HolderDescription:
    """What a manifest says of a holder.

    Attributes:
        kind: ``vault-transit``, ``aws-kms``, ...
        coordinates: Where and how its shares are opened.
    """

    kind: Name
    coordinates: Coordinates

    __pydantic_config__ = ConfigDict(extra="forbid")

    def listed(self, name: str) -> list[str]:
        """A coordinate that is a list; empty where it is not there."""
        value = self.coordinates.get(name)
        return list(value) if isinstance(value, list) else []

    @property
    def names(self) -> dict[str, str]:
        """What custodians are called, by the fingerprints of their certificates."""
        return dict(zip(self.listed("members"), self.listed("names"), strict=False))

    def fixed(self, skipped: Collection[str]) -> dict[str, object]:
        """The coordinates by which two descriptions are compared: lists sorted, without what is not there."""
        kept = {name: value for name, value in self.without(skipped).coordinates.items() if value is not None}
        return {name: sorted(value) if isinstance(value, list) else value for name, value in kept.items()}

    def without(self, names: Collection[str]) -> HolderDescription:
        """The same without some coordinates."""
        kept = {name: value for name, value in self.coordinates.items() if name not in names}
        return HolderDescription(self.kind, kept)


def check_need(path: str, need: PathNeed) -> None:
    """Make sure that SLIP-39 can express what a path asks of a holder.

    Raises:
        UsageProblem: It cannot.
    """
    single = need.threshold == need.size == 1
    if not single and not 2 <= need.threshold <= need.size <= MAX_GROUP:
        raise UsageProblem(
            f"path {path}: {need.threshold} of {need.size} cannot be asked of holder {need.holder}",
            hint=f"a machine is 1 of 1; a group is m of n with 2 <= m <= n <= {MAX_GROUP}",
        )


def from_config(config: Config, holders: Mapping[str, Holder]) -> tuple[Path, ...]:
    """Make the plan's paths from the configuration.

    Args:
        config: The validated configuration.
        holders: The holders by name, as they were built from it.

    Returns:
        The paths, sorted by name.

    Raises:
        UsageProblem: A path asks something of a group that cannot be.
    """
    paths = []
    for name in sorted(config.path):
        needs = tuple(
            PathNeed(need.holder, need.threshold, holders[need.holder].size)
            for need in config.path[name].needs
        )
        for need in needs:
            check_need(name, need)
        paths.append(Path(name, needs))
    return tuple(paths)


def describe(
    holders: Mapping[str, Holder | HolderDescription], names: Iterable[str]
) -> dict[str, HolderDescription]:
    """Ask holders what they are; the questions to servers overlap.

    Args:
        holders: Holders, or what they have said already, by name.
        names: Which of them.

    Returns:
        Their descriptions by name, sorted.

    Raises:
        Unreachable, Denied, UsageProblem: A server or a key is not as configured.
    """

    def one(item: Holder | HolderDescription) -> HolderDescription:
        return item if isinstance(item, HolderDescription) else HolderDescription(item.kind, item.describe())

    wanted = sorted(set(names))
    found = overlap([partial(one, holders[name]) for name in wanted])
    return dict(zip(wanted, found, strict=True))


def plan_digest(paths: Iterable[Path], holders: Mapping[str, Holder | HolderDescription]) -> str:
    """Digest a custody plan, so that a configuration and a manifest can be compared.

    The order of paths, needs, holders and members does not matter, and neither do the versions of the
    holders' keys. Where shares are sent does: endpoint, certificate authority and proxy.

    Args:
        paths: The plan's paths.
        holders: The holders, or what they say of themselves, by name; those that no path needs are
            left out.

    Returns:
        SHA-256 in lower-case hexadecimal.

    Raises:
        Unreachable, Denied, UsageProblem: A holder was asked, and is not as configured.
    """
    paths = tuple(paths)
    described = describe(holders, (need.holder for path in paths for need in path.needs))
    plan = {
        "paths": {
            path.name: {need.holder: [need.threshold, need.size] for need in path.needs} for path in paths
        },
        "holders": {
            name: {"kind": item.kind, "coordinates": item.fixed(VOLATILE)} for name, item in described.items()
        },
    }
    text = json.dumps(plan, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
