"""Read one backup to its end, by whichever engine understands it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from pipeline.core.clock import Deadline
from pipeline.core.errors import Degraded, IntegrityProblem, Unsupported
from pipeline.sources.backups import engine, gpg_engine, message_header
from pipeline.sources.backups.byte_stream import CutOff, of_bytes
from pipeline.sources.backups.content import unwrapped
from pipeline.sources.backups.engine import ReadResult, SessionKey
from pipeline.sources.backups.message_header import MessageHeader
from pipeline.sources.backups.sources import BackupSource
from pipeline.sources.backups.worker import metered
from pipeline.sources.backups.worker_client import Meter, WorkerClient

Engine = Literal["auto", "gpg"]
_HEAD_SECONDS = 60.0
"""More than looking at a head ever takes; a compressed one may go on for long."""
_RECENT_SECONDS = 60.0
"""A file that was written to within this time, and ends too early, may be an upload that goes on."""


def header_of(source: BackupSource) -> MessageHeader:
    """Look at a backup's beginning; nothing is decrypted.

    Raises:
        IntegrityProblem: It is not an OpenPGP message.
        Degraded: It is not yet one: the file is perhaps still being written.
        OrgkeyError: It cannot be read.
    """
    with _at_rest(source):
        return message_header.read(unwrapped(of_bytes(source.start()), Deadline(_HEAD_SECONDS)))


def read(
    source: BackupSource,
    header: MessageHeader,
    key: SessionKey,
    reader: WorkerClient,
    *,
    deadline: Deadline,
    wanted: Engine = "auto",
    meter: Meter = lambda _: None,
) -> ReadResult:
    """Read a backup to its end, and prove that it is whole. Nothing is written anywhere.

    Args:
        source: The backup.
        header: Its header.
        key: Its session key.
        reader: Reads what this program understands by itself.
        deadline: When to stop.
        wanted: ``gpg`` leaves all to gpg; ``auto`` only what the own engine does not understand.
        meter: Is told about progress.

    Raises:
        IntegrityProblem: It was altered, damaged or cut off.
        Degraded: The same of a file that is perhaps still being written.
        Unsupported: Neither engine understands it.
        OrgkeyError: It cannot be read.
    """
    own: Unsupported | None = None
    with _at_rest(source):
        if wanted == "auto" and engine.understands(header, key):
            try:
                return reader.read(source, header, key, deadline, meter)
            except Unsupported as error:
                if not source.again:
                    raise
                own = error
        try:
            with source.open() as raw:
                stream = unwrapped(metered(raw, deadline, meter), deadline)
                return gpg_engine.read(stream, header, key, deadline)
        except (IntegrityProblem, Unsupported):
            if own is not None:  # its codes were right, as far as this program could see: no alteration
                raise own from None
            raise


@contextmanager
def _at_rest(source: BackupSource) -> Iterator[None]:
    """Tell a file that is damaged from one in motion, as an upload under its final name is.

    Raises:
        Degraded: It changed while it was read, or moments ago and ends too early.
    """
    before = _state(source.path)
    try:
        yield
    except IntegrityProblem as error:
        after = _state(source.path)
        if before is None or after is None:
            raise
        age = time.time() - after[1] / 1e9
        if after != before:
            reason = "it changed while it was read"
        elif isinstance(error, CutOff) and 0 <= age < _RECENT_SECONDS:
            reason = f"it changed {age:.0f} s ago"
        else:
            raise
        raise Degraded(
            f"{reason}, perhaps it is still being uploaded: {error.message}",
            hint="run this again when the upload is done; where the server can, have it upload under another "
            "name and rename the file in the end",
        ) from error


def _state(path: Path | None) -> tuple[int, int, int] | None:
    """Length, time of the last change and number of a file; ``None`` where there is none."""
    try:
        status = path.stat() if path is not None else None
    except OSError:
        return None
    return (status.st_size, status.st_mtime_ns, status.st_ino) if status else None
