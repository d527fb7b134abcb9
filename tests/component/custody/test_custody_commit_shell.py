"""A commitment is recomputed with a shell's own tools."""

from __future__ import annotations

import subprocess

from pipeline.core.secret import Secret
from pipeline.custody.shares import commitments, slip39
from pipeline.custody.shares.commitments import Place
from pipeline.custody.shares.paths import Path, PathNeed

SALT = "00112233445566778899aabbccddeeff"
PLACE = Place("f" * 32, "unattended", "vault", 1)
WORDS = slip39.split(Secret(bytes(range(32))), Path("p", (PathNeed("vault", 1, 1),)), set()).shares["vault"][
    0
]


def test_a_person_can_recompute_a_commitment() -> None:
    script = "printf '%s\\n' \"$@\" | sha256sum"
    fields = [SALT, PLACE.record_id, PLACE.path, PLACE.holder, "1", WORDS.text()]
    result = subprocess.run(
        ["bash", "-c", script, "bash", *fields], capture_output=True, text=True, timeout=30, check=True
    )
    assert result.stdout.split()[0] == commitments.commitment(SALT, PLACE, WORDS)
