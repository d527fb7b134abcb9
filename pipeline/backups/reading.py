"""Read one backup to its end, by whichever engine understands it."""

from __future__ import annotations

from typing import Literal

from pipeline.backups import engine, gpg_engine, head
from pipeline.backups.apart import metered
from pipeline.backups.content import unwrapped
from pipeline.backups.cursor import over
from pipeline.backups.engine import Reading, SessionKey
from pipeline.backups.head import Head
from pipeline.backups.reader import Meter, Reader
from pipeline.backups.sources import Source
from pipeline.clock import Deadline
from pipeline.errors import IntegrityProblem, Unsupported

Engine = Literal["auto", "gpg"]
_HEAD_SECONDS = 60.0
"""More than looking at a head ever takes; a compressed one may go on for long."""


def head_of(source: Source) -> Head:
    """Look at a backup's beginning; nothing is decrypted.

    Raises:
        IntegrityProblem: It is no OpenPGP message to any key.
        OrgkeyError: It cannot be read.
    """
    return head.read(unwrapped(over(source.start()), Deadline(_HEAD_SECONDS)))


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
    own: Unsupported | None = None
    if wanted == "auto" and engine.understands(about, key):
        try:
            return reader.read(source, about, key, deadline, meter)
        except Unsupported as error:
            if not source.again:
                raise
            own = error
    try:
        with source.open() as raw:
            stream = unwrapped(metered(raw, deadline, meter), deadline)
            return gpg_engine.read(stream, about, key, deadline)
    except (IntegrityProblem, Unsupported):
        if own is not None:  # its codes were right, as far as this program could see: no alteration
            raise own from None
        raise
