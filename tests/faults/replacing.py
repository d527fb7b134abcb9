"""An epoch that is there and proven, while another one is about to replace it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from pipeline.record import verify
from pipeline.record.verify import Record
from pipeline.storage.interface import Slot
from tests.faults.scene import FINGERPRINT, Scene, Stored
from tests.support import people


@dataclass(frozen=True)
class Before:
    """An escrowed and proven epoch.

    Attributes:
        record: Its record.
        state: The state directory of the host that made it.
    """

    record: Record
    state: Path


def with_people(scene: Scene) -> Scene:
    """Give the plan a second path, of three custodians."""
    certificates = people.folder(scene.directory / "certificates", ("alice", "bob", "carol"))
    tables = people.tables(certificates, members=("alice", "bob", "carol"), threshold=2)
    scene.config.write_text(scene.config.read_text() + tables)
    return scene


def adopt(scene: Scene, before: Before) -> None:
    """Let a scene be the host and the place of an epoch that was made elsewhere."""
    shutil.copytree(before.state, scene.state)
    context = scene.context()
    slot = Slot(FINGERPRINT, before.record.epoch)
    entry = context.journal.entry(before.record.epoch)
    assert entry is not None
    for target in context.backends("writer").targets().values():
        entry.add_receipt(target.put(slot, before.record.data))


def check_stands(scene: Scene, before: Before) -> Stored:
    """The old epoch is as it was: whole at both targets, and proven on this host.

    Returns:
        What is stored.
    """
    stored = scene.stored()
    assert stored[before.record.epoch] == {"vault": before.record.data, "s3": before.record.data}
    entry = scene.context().journal.entry(before.record.epoch)
    assert entry is not None
    assert entry.proven() is not None
    return stored


def check_restores(scene: Scene, name: str) -> None:
    """The key comes back as it was exported."""
    out = scene.directory / "out" / f"{name}.asc"
    restored = scene.run(["restore", "--original", "--out", str(out)])
    assert restored.code == 0, restored
    assert out.read_bytes() == scene.export.read_bytes()


def check_ended(scene: Scene, before: Before, event: str) -> Stored:
    """Every epoch is whole, the newest is proven and replaces another one; nothing lingers.

    Args:
        scene: Where.
        before: What was replaced.
        event: What the ledger calls it.

    Returns:
        What is stored of the new epochs.
    """
    context = scene.context()
    stored = scene.stored()
    marks = {entry.epoch: entry.proven() for entry in context.journal.entries()}
    assert set(marks) == set(stored)
    assert all(marks.values()), marks
    for copies in stored.values():
        assert set(copies) == {"vault", "s3"}
        assert copies["vault"] == copies["s3"]
    new = {epoch: copies for epoch, copies in stored.items() if epoch != before.record.epoch}
    for epoch, copies in new.items():
        record = verify.verify_record(
            copies["s3"],
            context.fingerprint,
            deadline=context.deadline,
            now=context.clock.now(),
            epoch=epoch,
        )
        assert record.manifest.supersedes is not None
        assert record.manifest.supersedes.epoch in set(stored) - {epoch}
    entered = [item.details["epoch"] for item in context.ledger.entries() if item.event == event]
    assert sorted(entered) == sorted(new), "each has its entry, whatever killed the run that made it"
    scene.check_nothing_lingers()
    return new
