"""The ledger between processes, and on a file that the system cuts short."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.evidence.ledger.store import Ledger
from tests.support.ledger_files import KEY, add, place

ROOT = Path(__file__).parents[2]


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "state", KEY)


@pytest.fixture
def full(ledger: Ledger) -> Ledger:
    for number in range(1, 6):
        add(ledger, "escrow", number=number)
    return ledger


# -- tampering -------------------------------------------------------------------------------------


# -- at the same time ------------------------------------------------------------------------------


APPEND = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from pipeline.evidence.ledger.store import Ledger
ledger = Ledger(Path(sys.argv[1]), "A" * 40)
sys.stdin.readline()
for number in range(15):
    ledger.append(sys.argv[2], {"number": number}, now=datetime.now(UTC), run="r")
"""


def test_processes_keep_one_chain(ledger: Ledger, tmp_path: Path) -> None:
    running = [
        subprocess.Popen(
            [sys.executable, "-c", APPEND, str(tmp_path / "state"), name],
            cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for name in ("one", "other")
    ]  # fmt: skip
    for process in running:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
    for process in running:
        _, told = process.communicate(timeout=60)
        assert process.returncode == 0, told.decode()
    events = [entry.event for entry in ledger.entries()]
    assert sorted(events) == ["one"] * 15 + ["other"] * 15


# -- a disk that refuses ---------------------------------------------------------------------------


TOO_LARGE = """
import resource, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from pipeline.core.errors import OrgkeyError
from pipeline.evidence.ledger.store import Ledger
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))
try:
    Ledger(Path(sys.argv[1]), "A" * 40).append("escrow", {}, now=datetime.now(UTC), run="r")
    print("written")
except OrgkeyError as error:
    print(int(error.code))
"""


def test_a_write_that_the_system_cuts_short_is_code_3(full: Ledger, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TOO_LARGE, str(tmp_path / "state")],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("3\n", "")
    assert len(full.entries()) == 5
    assert len(list(place(full).iterdir())) == 5
