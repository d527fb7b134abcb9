"""Read one backup to its end, by whichever engine understands it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final, Literal

from pipeline.core.clock import Deadline
from pipeline.core.errors import Code, Degraded, IntegrityProblem, OrgkeyError, Unsupported
from pipeline.core.isolation import isolated
from pipeline.sources.backups import engine, gpg_engine, message_header
from pipeline.sources.backups.byte_stream import CutOff, of_bytes
from pipeline.sources.backups.content import unwrapped
from pipeline.sources.backups.engine import NO_EXPECTATIONS, Expectations, Reading, ReadResult, SessionKey
from pipeline.sources.backups.message_header import MessageHeader
from pipeline.sources.backups.sources import BackupSource, FileState, file_state
from pipeline.sources.backups.tally import Tally
from pipeline.sources.backups.worker_client import Meter, WorkerClient

Engine = Literal["auto", "gpg"]
UNPROTECTED: Final = (
    "it has no integrity code: it was read to its end, but an alteration would not be noticed"
)
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
    before = file_state(source.path)
    try:
        return message_header.read(unwrapped(of_bytes(source.start()), Deadline(_HEAD_SECONDS)))
    except IntegrityProblem as error:
        raise _at_rest(error, source, before) from error


def read(
    source: BackupSource,
    header: MessageHeader,
    key: SessionKey,
    reader: WorkerClient,
    *,
    deadline: Deadline,
    wanted: Engine = "auto",
    meter: Meter = lambda _: None,
    expected: Expectations = NO_EXPECTATIONS,
) -> Reading:
    """Read a backup to its end, and prove that it is whole. Nothing is written anywhere.

    Args:
        source: The backup.
        header: Its header.
        key: Its session key.
        reader: Reads what this program understands by itself.
        deadline: When to stop.
        wanted: ``gpg`` leaves all to gpg; ``auto`` only what the own engine does not understand.
        meter: Is told about progress.
        expected: What it should be.

    Returns:
        What it was; or an error: :class:`IntegrityProblem` when it was altered, damaged or cut off,
        :class:`Degraded` for the same of a file that is perhaps still being written, :class:`Unsupported`
        when neither engine understands it, or why it cannot be read.
    """
    before = file_state(source.path)
    own = None
    if wanted == "auto" and engine.understands(header, key):
        own = _either(lambda: reader.read(source, header, key, deadline, meter, expected))
    found = own
    if found is None or (isinstance(found.outcome, Unsupported) and source.again):
        found = _either(lambda: _by_gpg(source, header, key, deadline, meter, expected))
        if own is not None and isinstance(found.outcome, IntegrityProblem | Unsupported):
            found = own  # its codes were right, as far as this program could see: no alteration
    if isinstance(found.outcome, IntegrityProblem):
        return replace(found, outcome=_at_rest(found.outcome, source, before))
    return found


def verdict(outcome: ReadResult | OrgkeyError) -> tuple[Code, str | None]:
    """Judge what came of a backup.

    Args:
        outcome: What it was, or what is wrong with it.

    Returns:
        ``OK``; ``DEGRADED`` where no integrity code protects it, it holds nothing or an expected entry is
        missing; else what went wrong; and that in words.
    """
    if isinstance(outcome, OrgkeyError):
        return outcome.code, outcome.message
    if outcome.integrity == "none":
        return Code.DEGRADED, UNPROTECTED
    if outcome.found.nothing:
        return Code.DEGRADED, "it holds nothing: whatever was to be encrypted had no content"
    if outcome.found.missing:
        return Code.DEGRADED, f"it has no entry with the name {', '.join(outcome.found.missing)}"
    return Code.OK, None


def _either(read: Callable[[], Reading]) -> Reading:
    found = isolated(read, "it")
    return Reading(found) if isinstance(found, OrgkeyError) else found


def _by_gpg(
    source: BackupSource,
    header: MessageHeader,
    key: SessionKey,
    deadline: Deadline,
    meter: Meter,
    expected: Expectations,
) -> Reading:
    with source.open() as raw, Tally(raw, deadline, meter) as tally:
        stream = unwrapped(tally.stream, deadline)
        found = isolated(lambda: gpg_engine.read(stream, header, key, deadline, None, expected), "it")
        return Reading(found, tally.digest())


def _at_rest(error: IntegrityProblem, source: BackupSource, before: FileState | None) -> OrgkeyError:
    """Tell a file that is damaged from one in motion, as an upload under its final name is.

    Returns:
        The error; or one that says that the file changed while it was read, or moments ago and is cut off.
    """
    after = file_state(source.path)
    if before is None or after is None:
        return error
    age = time.time() - after.mtime_ns / 1e9
    if after != before or source.state not in (None, str(after)):  # its beginning was read before the rest
        reason = "it changed while it was read"
    elif isinstance(error, CutOff) and 0 <= age < _RECENT_SECONDS:
        reason = f"it changed {age:.0f} s ago"
    else:
        return error
    return Degraded(
        f"{reason}, perhaps it is still being uploaded: {error.message}",
        hint="run this again when the upload is done; where the server can, have it upload under another "
        "name and rename the file in the end",
    )
