"""Read one backup to its end, by whichever engine understands it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from pipeline.backups import engine, gpg_engine, head
from pipeline.backups.armored import binary
from pipeline.backups.container import Contents
from pipeline.backups.cursor import Cursor, over
from pipeline.backups.engine import Reading, SessionKey
from pipeline.backups.head import Head
from pipeline.backups.sources import Source
from pipeline.clock import Deadline
from pipeline.errors import Unsupported

Engine = Literal["auto", "gpg"]
Meter = Callable[[int], None]
"""Told how many bytes of a backup were read since the last time."""


def head_of(source: Source) -> Head:
    """Look at a backup's beginning; nothing is decrypted.

    Raises:
        IntegrityProblem: It is no OpenPGP message to any key.
        OrgkeyError: It cannot be read.
    """
    return head.read(binary(over(source.start())))


def read(
    source: Source,
    about: Head,
    key: SessionKey,
    *,
    deadline: Deadline,
    wanted: Engine = "auto",
    meter: Meter = lambda _: None,
    contents: Callable[[], Contents] = Contents,
) -> Reading:
    """Read a backup to its end, and prove that it is whole. Nothing is written anywhere.

    Args:
        source: The backup.
        about: Its head.
        key: Its session key.
        deadline: When to stop.
        wanted: ``gpg`` leaves all to gpg; ``auto`` only what the own engine does not understand.
        meter: Is told about progress.
        contents: Makes what takes the content.

    Raises:
        IntegrityProblem: It was altered, damaged or cut off.
        Unsupported: Neither engine understands it.
        OrgkeyError: It cannot be read.
    """
    if wanted == "auto" and engine.understands(about, key):
        try:
            with source.open() as raw:
                return engine.read(binary(_metered(raw, deadline, meter)), about, key, contents())
        except Unsupported:
            if not source.again:
                raise
    with source.open() as raw:
        return gpg_engine.read(binary(_metered(raw, deadline, meter)), about, key, contents())


def _metered(raw: Cursor, deadline: Deadline, meter: Meter) -> Cursor:
    def more() -> memoryview:
        deadline.check()
        piece = raw.some()
        meter(len(piece))
        return piece

    return Cursor(more)
