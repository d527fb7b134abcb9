"""What a set of proofs needs of this host, asked for before anything is stored or started."""

from __future__ import annotations

from typing import Final

from pipeline.core.files import memory_root, require_descriptors, require_room

WHAT: Final = "prove the key"
"""What a host that lacks it cannot do."""
_ROOM: Final = 4 << 20
"""Bytes for two homes of GnuPG, with their agents and key rings."""
_DESCRIPTORS: Final = 48
"""Open files at the same time: pipes of four programs, their logs, and what they are watched with."""


def require_host() -> None:
    """Make sure that the host has what proofs need.

    Raises:
        LocalFilesProblem: It has not: no verdict on the key.
    """
    require_room(memory_root(), _ROOM, WHAT)
    require_descriptors(_DESCRIPTORS, WHAT)
