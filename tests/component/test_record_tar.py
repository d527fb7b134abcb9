"""The host's own tar reads a record."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

from pipeline.record.tar import pack

SMALL = {"RECOVERY.txt": b"read me\n", "custody/unattended/aws.kms": b"\0" * 600, "manifest.json": b"{}"}


def tar(*members: tarfile.TarInfo | tuple[tarfile.TarInfo, bytes], form: int = tarfile.USTAR_FORMAT) -> bytes:
    """What the standard library writes of any members."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for member in members:
            info, content = member if isinstance(member, tuple) else (member, b"")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def info(name: str, **changes: object) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.mode = 0o600
    for key, value in changes.items():
        setattr(made, key, value)
    return made


def test_the_hosts_own_tar_lists_and_extracts_it(tmp_path: Path) -> None:
    program = shutil.which("tar")
    assert program, "tar is needed to recover a record"
    path = tmp_path / "record.tar"
    path.write_bytes(pack(SMALL))
    listed = subprocess.run([program, "-tf", path], capture_output=True, text=True, check=True, timeout=30)
    assert listed.stdout.split() == sorted(SMALL)
    subprocess.run([program, "-xf", path, "-C", tmp_path], check=True, timeout=30)
    assert {name: (tmp_path / name).read_bytes() for name in SMALL} == SMALL
