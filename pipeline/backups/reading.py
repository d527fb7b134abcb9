"""Read one backup to its end, by whichever engine understands it."""

from __future__ import annotations

from typing import Literal

from pipeline.backups import engine, gpg_engine, head
from pipeline.backups.apart import metered
from pipeline.backups.armored import binary
from pipeline.backups.cursor import over
from pipeline.backups.engine import Reading, SessionKey
from pipeline.backups.head import Head
from pipeline.backups.reader import Meter, Reader
from pipeline.backups.sources import Source
from pipeline.clock import Deadline
from pipeline.errors import Unsupported

Engine = Literal["auto", "gpg"]


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
    reader: Reader,
    *,
    deadline: Deadline,
    wanted: Engine = "auto",
    meter: Meter = lambda _: None,
) -> Reading:
    """Read a backup to its end, and prove that it is whole. Nothing is written anywhere.

    Args:
        source: The backup.
        about: Its head.
        key: Its session key.
        reader: Reads what this program understands by itself.
        deadline: When to stop.
        wanted: ``gpg`` leaves all to gpg; ``auto`` only what the own engine does not understand.
        meter: Is told about progress.

    Raises:
        IntegrityProblem: It was altered, damaged or cut off.
        Unsupported: Neither engine understands it.
        OrgkeyError: It cannot be read.
    """
    if wanted == "auto" and engine.understands(about, key):
        try:
            return reader.read(source, about, key, deadline, meter)
        except Unsupported:
            if not source.again:
                raise
    with source.open() as raw:
        return gpg_engine.read(binary(metered(raw, deadline, meter)), about, key, deadline)
