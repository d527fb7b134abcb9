"""The shares are joined by the `shamir` command of another project."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path as FilePath

from pipeline.custody.shares import passphrase, slip39
from pipeline.custody.shares.paths import Path, PathNeed

MIXED = Path("mixed", (PathNeed("vault", 1, 1), PathNeed("people", 3, 5)))


def test_the_shamir_command_prints_the_escrow_passphrase() -> None:
    raw = passphrase.draw()
    split = slip39.split(raw, MIXED, set())
    words = [*split.shares["people"][1:4], *split.shares["vault"]]
    result = subprocess.run(
        [str(FilePath(sys.executable).with_name("shamir")), "recover"],
        input=b"".join(item.reveal() + b"\n" for item in words),
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert result.stdout.splitlines()[-1].endswith(passphrase.written(raw).reveal())
