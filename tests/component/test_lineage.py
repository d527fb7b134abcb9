"""Which epoch's plan is compared with: the newest that was read, or that this host remembers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.archive import lineage
from pipeline.archive.catalog import Catalog
from pipeline.core.errors import Stale
from pipeline.evidence.ledger.events import EscrowEvent
from pipeline.storage.interface import Slot
from tests.support.inmemory import MemoryHolder, MemoryMirror, World, unreachable

NEW, NEWER, NEWEST = (
    f"{datetime.now(UTC) + timedelta(hours=hours):%Y%m%dT%H%M%SZ}-00000000" for hours in (10, 11, 12)
)
"""Later than what tests make, and no more than clocks may differ."""


def look(world: World) -> Catalog:
    return world.context.archive("driller").catalog()


def test_what_was_read_is_compared_where_nothing_newer_is_remembered(world: World) -> None:
    made = world.store(world.mint())
    world.enter("escrow", {"epoch": made.epoch})  # it says no plan
    lineage.require_same(world.context, made, world.plan())
    assert not lineage.require_remembered(world.context, made, world.plan())
    world.holders["aws"] = MemoryHolder("aws")
    world.holders["aws"].where = "elsewhere"
    with pytest.raises(Stale, match=f"is not that of the last epoch, {made.epoch}: holder aws: ") as caught:
        lineage.require_same(world.context, made, world.plan())
    assert "--accept-custody-change" in caught.value.hint


def test_a_host_that_remembers_nothing_compares_with_what_could_be_read(world: World) -> None:
    lineage.require_same(world.context, None, world.plan())
    with pytest.raises(Stale, match="cannot be compared with that of the last epoch: it does not answer"):
        lineage.require_same(world.context, None, world.plan(), unreachable())


def test_a_sealed_record_in_the_journal_says_its_plan_itself_and_a_damaged_one_says_none(
    world: World,
) -> None:
    made = world.mint()
    entry = world.context.journal.begin(made.epoch, made.data)
    plan = made.manifest.custody.plan_digest()
    assert lineage.remembered(world.context) == lineage.Remembered(made.epoch, plan, "this host's journal")
    entry.mark_proven({"plan": "0" * 64, "record_sha256": made.sha256.hex, "at": "2026-01-31T08:00:00Z"})
    (entry.path / "record.tar").write_bytes(b"half")
    assert lineage.remembered(world.context) == lineage.Remembered(made.epoch, None, "this host's journal")
    (entry.path / "record.tar").unlink()
    assert lineage.remembered(world.context) == lineage.Remembered(
        made.epoch, "0" * 64, "this host's journal"
    )


def test_of_one_epoch_that_counts_which_says_its_plan(world: World) -> None:
    assert lineage.remembered(world.context) is None
    digest = next(iter(world.plan().digests))
    world.context.journal.begin(NEWER, None)
    with pytest.raises(Stale, match=f"this host's journal knows of epoch {NEWER}, which cannot be read"):
        lineage.require_remembered(world.context, None, world.plan())
    world.context.record_event(EscrowEvent(epoch=NEWER, plan=digest))
    assert lineage.remembered(world.context) == lineage.Remembered(NEWER, digest, "this host's ledger")
    assert lineage.require_remembered(world.context, None, world.plan())
    world.context.record_event(EscrowEvent(epoch=NEW, plan="0" * 64))
    assert lineage.require_remembered(world.context, world.mint(), world.plan()), "the newest counts"
    world.context.record_event(EscrowEvent(epoch=NEWEST, plan="0" * 64))
    with pytest.raises(Stale, match=f"of epoch {NEWEST}, which this host's ledger knows"):
        lineage.require_same(world.context, world.mint(), world.plan())


def test_what_another_host_made_is_told_and_says_nothing_of_the_plan(
    world: World, make_world: Callable[[str], World]
) -> None:
    made = world.store(world.mint())
    other = make_world("other")
    other.mirrors = world.mirrors = {"a": MemoryMirror("a")}
    other.enter("escrow", {"epoch": NEWER, "plan": "0" * 64, "copies": {"a": {}}})
    world.context.replicator.sync(now=world.clock.now(), run="r", whole=False)
    assert lineage.remembered(world.context) is None
    told = lineage.newer_known(world.context, look(world), made.epoch)
    world.mirrors.clear()
    assert lineage.newer_known(world.context, look(world), made.epoch) == told
    assert told == (
        f"the ledger of host {other.context.ledger.host} knows of epoch {NEWER}, which is newer than "
        f"{made.epoch}, and no target shows it: was it taken away?"
    )
    assert lineage.newer_known(world.context, look(world), NEWER) is None
    shown = world.store(world.mint(later=60))
    world.context.journal.begin(shown.epoch, None)
    other = make_world("third")
    other.store(made)
    other.enter("escrow", {"epoch": made.epoch, "plan": "0" * 64})
    assert lineage.newer_known(other.context, look(other), "20000101T000000Z-00000000") is None, "it is shown"


@pytest.mark.parametrize(("entries", "told"), [(14, True), (15, True), (16, False)])
def test_the_newest_entries_at_a_mirror_are_looked_at(
    world: World, make_world: Callable[[str], World], entries: int, told: bool
) -> None:
    made = world.store(world.mint())
    elsewhere = make_world("elsewhere")
    elsewhere.mirrors = world.mirrors = {"a": MemoryMirror("a")}
    elsewhere.enter("verify", {})
    elsewhere.enter("escrow", {"epoch": NEWER, "copies": {"a": {}}})
    world.mirrors["a"].chains[elsewhere.context.ledger.host][1] = [b"nonsense"]
    for _ in range(entries):
        elsewhere.enter("verify", {})
    assert bool(lineage.newer_known(world.context, look(world), made.epoch)) == told


def test_a_false_epoch_that_is_shown_does_not_hide_one_that_is_not(world: World) -> None:
    """Whoever may write to a target and a mirror can invent a newer one, at both."""
    made = world.store(world.mint())
    removed = NEW
    for epoch in (removed, NEWER):
        world.context.record_event(EscrowEvent(epoch=epoch))
    world.targets["a"].plant(Slot(made.fingerprint, NEWER), b"false")
    told = lineage.newer_known(world.context, look(world), made.epoch)
    assert told is not None
    assert removed in told


def test_an_own_epoch_that_a_wrong_clock_dated_in_the_future_is_not_the_newest(world: World) -> None:
    """Its plan is a former one: neither is it asked for, nor does it let former custodians in again."""
    former = world.plan()
    ahead = world.mint(later=50 * 365 * 86400)
    world.context.journal.begin(ahead.epoch, ahead.data)
    world.context.record_event(EscrowEvent(epoch=ahead.epoch, plan=next(iter(former.digests))))
    assert lineage.require_remembered(world.context, None, former), "nothing else is known"
    world.holders["aws"].where = "elsewhere"
    last = world.mint()
    world.context.journal.begin(last.epoch, None).mark_proven({"plan": next(iter(world.plan().digests))})
    lineage.require_same(world.context, last, world.plan())
    with pytest.raises(Stale, match=f"is not that of the last epoch, {last.epoch}: holder aws: "):
        lineage.require_same(world.context, last, former)
    assert lineage.require_remembered(world.context, None, world.plan())
