"""A world whose records can be opened by people, too: five custodians with throwaway certificates."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from pipeline.config.holders import OpenpgpHolderConfig
from pipeline.core.clock import Deadline, SystemClock
from pipeline.core.secret import Secret
from pipeline.custody.holders.interface import Binding
from pipeline.custody.holders.openpgp import CustodianGroup
from pipeline.custody.shares.recover import open_share
from pipeline.record.verify import Record
from tests.support import people
from tests.support.inmemory import World

MIXED = '[path.mixed]\nneeds = ["vault", { holder = "custodians", threshold = 2 }]\n'


def people_world(root: Path, *, more: str = MIXED) -> World:
    """Paths: unattended (vault and aws), custodians (3 of 5), mixed (vault and 2 of 5).

    Args:
        root: A private directory.
        more: Further tables of the configuration.
    """
    root.mkdir(exist_ok=True)
    tables = people.tables(people.folder(root / "certificates"))
    world = World(root / "state", policy=tables + more)
    item = world.config.holder["custodians"]
    assert isinstance(item, OpenpgpHolderConfig)
    group = CustodianGroup("custodians", item, deadline=Deadline(60), clock=SystemClock())
    world.holders["custodians"] = cast(Any, group)
    return world


def machines_words(world: World, record: Record, path: str, holder: str) -> Secret:
    """A machine's share, as somebody who can reach it may bring it by hand."""
    entry = record.manifest.custody.path(path)
    (share,) = entry.shares_of(holder)
    binding = Binding(record.fingerprint, record.manifest.record_id)
    return open_share(entry, share, record.members, world.holders[holder], binding)
