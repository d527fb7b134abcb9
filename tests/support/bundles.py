"""What a report's bundle holds."""

from __future__ import annotations

import zipfile
from pathlib import Path

STEM = "20260105T090000Z-4b078819-drilled-20260601T060000Z-aabbcc"


def names(path: Path) -> dict[str, bytes]:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    return {
        file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()
    }
