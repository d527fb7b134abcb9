"""Make the golden ledger: two hosts, one of which was restored from a backup. Run once for each format.

python -m tests.golden.make_ledger FOLDER
"""

from __future__ import annotations

import shutil
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.core.clock import Deadline, SystemClock
from pipeline.evidence.ledger import events
from pipeline.evidence.ledger.events import Event
from pipeline.evidence.ledger.mirror_state import MirrorState
from pipeline.evidence.ledger.replicator import Replicator
from pipeline.evidence.ledger.store import Ledger
from tests.support.inmemory import MemoryMirror
from tests.support.reporter import Lines

KEY = "A" * 40
EPOCH = "20260131T080000Z-0a1b2c3d"
NOW = datetime(2026, 1, 31, 8, tzinfo=UTC)


def make(folder: Path) -> None:
    """Write the ledger of the restored host, which has copied the other's chain.

    Args:
        folder: A new folder.
    """
    mirror = MemoryMirror("mirror")
    with TemporaryDirectory() as temporary:
        one, two = Path(temporary, "one"), Path(temporary, "two")

        def enter(root: Path, event: Event, hours: int) -> None:
            clock = SystemClock()
            run = Replicator(
                Ledger(root, KEY), MirrorState(root), {"mirror": mirror}, {},
                deadline=Deadline(600, clock), call_seconds=5, clock=clock, reporter=Lines(),
            )  # fmt: skip
            at = NOW + timedelta(hours=hours)
            run.append(event.kind, event.to_details(), now=at, run=root.name)

        copies = {
            "s3": {"location": "s3://b/k", "version": "v"},
            "vault": {"location": "m/k", "version": "1"},
        }
        enter(one, events.EscrowEvent(epoch=EPOCH, plan="ab" * 32, copies=copies, proven=True), 0)
        enter(two, events.VerifyEvent(epochs={EPOCH: {"s3": "good", "vault": "good"}}), 1)
        backup = shutil.copytree(one, Path(temporary, "backup"))
        written = events.WrittenCopy(epoch=EPOCH, target="s3", action="copied")
        enter(one, events.RepairEvent(copies=(written,)), 2)
        shutil.rmtree(one)
        shutil.copytree(backup, one)
        people = {"record_id": "r", "path": "custodians", "holder": "people", "custodian": "B" * 40}
        check_in = {**people, "index": 1, "number": 3, "code": "AAAA-AAAA-AAAA-AAAA"}
        enter(one, events.CheckInEvent.model_validate(check_in), 3)
        shutil.copytree(one / "ledger", folder)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
