"""The record: one deterministic tar with everything that is needed to get the key back.

The container is USTAR (POSIX.1-1988) with sorted names, zeroed times and owners, mode 0600 and the
usual padding to 10,240 bytes, so that any ``tar`` reads it and the same members always give the same
bytes. A reader accepts bytes only if packing what it found gives those bytes again: no duplicate, link,
hidden tail or odd header can hide in a record.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Mapping

from pipeline.core.errors import IntegrityProblem

MANIFEST = "manifest.json"
MANIFEST_SIGNATURE = "manifest.json.asc"
RECOVERY = "RECOVERY.txt"
KEYPAIR = "keypair.asc"
ORIGINAL = "original.gpg"
PUBLIC = "public.asc"

MAX_BYTES = 4 * 1024 * 1024
"""The largest record that is read: far above any real one, far below what would hurt."""

_BLOCK = 512
_MEMBER = re.compile(r"^(?!.*(?:^|/)\.)[A-Za-z0-9._-]{1,60}(?:/[A-Za-z0-9._-]{1,60}){0,2}\Z")


def pack(members: Mapping[str, bytes]) -> bytes:
    """Write a record.

    Args:
        members: Content by member name.

    Returns:
        The tar's bytes, the same for the same members, always.

    Raises:
        ValueError: A name is not one that a record may hold.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in sorted(members):
            if not _MEMBER.match(name) or len(name) > 100:
                raise ValueError(f"no member of a record: {name!r}")
            info = tarfile.TarInfo(name)
            info.size = len(members[name])
            info.mode = 0o600
            archive.addfile(info, io.BytesIO(members[name]))
    return buffer.getvalue()


def unpack(data: bytes) -> dict[str, bytes]:
    """Read a record's members. Says nothing yet about who made it: see :mod:`pipeline.record.verify`.

    Only what :func:`pack` can write is understood, which is why no general tar reader is used here.

    Raises:
        IntegrityProblem: The bytes are not exactly what packing their members gives.
    """
    members: dict[str, bytes] = {}
    if len(data) > MAX_BYTES:  # before a byte of it is looked at
        raise _damaged(f"it is larger than {MAX_BYTES} bytes")
    offset = 0
    while data[offset : offset + _BLOCK].strip(b"\0"):
        header = data[offset : offset + _BLOCK]
        name = header[:100].rstrip(b"\0").decode("ascii", "replace")
        size_field = header[124:135]
        if not _MEMBER.match(name) or not re.fullmatch(rb"[0-7]{11}", size_field):
            raise _damaged("it has a header that a record never has")
        size = int(size_field, 8)
        start = offset + _BLOCK
        if start + size > len(data):
            raise _damaged("it ends too early")
        members[name] = data[start : start + size]
        offset = start + -(-size // _BLOCK) * _BLOCK
    if not members or pack(members) != data:
        raise _damaged("packing its members again gives other bytes")
    return members


def _damaged(why: str) -> IntegrityProblem:
    return IntegrityProblem(
        f"this is not a whole record: {why}",
        hint="use another copy (`orgkey verify` shows which are good), then `orgkey repair`",
    )
