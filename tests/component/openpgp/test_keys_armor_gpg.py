"""gpg reads the armor that we write."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from pipeline.core.files import memory_root
from pipeline.openpgp.format import armor, packets


def test_gpg_reads_our_armor() -> None:
    data = packets.build(packets.Tag.USER_ID, b"somebody").raw
    with tempfile.TemporaryDirectory(prefix="t-", dir=memory_root()) as folder:
        home = Path(folder)
        done = subprocess.run(
            ["gpg", "--homedir", str(home), "--dearmor"],
            input=armor.armor(data, "PUBLIC KEY BLOCK"),
            capture_output=True,
            timeout=30,
            check=True,
        )
    assert done.stdout == data
