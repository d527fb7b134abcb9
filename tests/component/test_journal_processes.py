"""The journal between processes, and in a directory that may only be read."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pipeline.archive.journal import Journal, lock
from pipeline.core.errors import Code, Locked


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "state" / ("A" * 40))


# -- damage ----------------------------------------------------------------------------------------


# -- a disk that refuses ---------------------------------------------------------------------------


READ_ONLY = """
import os, sys
from pathlib import Path
from pipeline.core.errors import OrgkeyError
from pipeline.archive.journal import Journal; from pipeline.archive.journal import lock
root = Path(sys.argv[1])
if os.geteuid() == 0:  # whom no permission stops
    os.chown(root, 65534, 65534)
    os.seteuid(65534)
for attempt in (lambda: Journal(root).begin("e", b"x"), lambda: lock(root).__enter__()):
    try:
        attempt()
        print("written")
    except OrgkeyError as error:
        print(int(error.code), error.hint)
"""


def test_a_read_only_state_directory_is_code_3() -> None:
    with tempfile.TemporaryDirectory() as top:
        Path(top).chmod(0o711)
        place = Path(top) / "state"
        place.mkdir()
        place.chmod(0o500)
        done = subprocess.run(
            [sys.executable, "-c", READ_ONLY, str(place)], cwd=Path(__file__).parents[2],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("3 ") and len(line) > 10 for line in lines), lines


# -- the lock --------------------------------------------------------------------------------------

HOLD = """
import sys
from pathlib import Path
from pipeline.archive.journal import lock
with lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_another_process_is_kept_out_until_the_first_ends(tmp_path: Path) -> None:
    place = tmp_path / "state"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(place)], cwd=Path(__file__).parents[2], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(Locked) as caught, lock(place):
            pass
        assert caught.value.code is Code.LOCKED
        assert caught.value.code.retry
    finally:
        holder.kill()
        holder.communicate(timeout=30)
    with lock(place):
        pass
