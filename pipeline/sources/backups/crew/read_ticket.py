"""Read the backup of one ticket, on a machine of the crew."""

from __future__ import annotations

import socket
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from pipeline.core.clock import Deadline
from pipeline.core.errors import Conflict, LocalFilesProblem, OrgkeyError
from pipeline.core.isolation import isolated
from pipeline.core.retry import Retrier
from pipeline.core.secret import Secret
from pipeline.sources.backups import read_backup
from pipeline.sources.backups.crew.answer import NO_ID, Answer
from pipeline.sources.backups.crew.crew_key import CrewKey
from pipeline.sources.backups.crew.ticket import OpenPart, SealedPart, Ticket
from pipeline.sources.backups.crew.ticket_place import SharedFile, StoredObject
from pipeline.sources.backups.engine import Reading
from pipeline.sources.backups.s3 import S3Source
from pipeline.sources.backups.sources import BackupFile
from pipeline.sources.backups.worker_client import WorkerClient

if TYPE_CHECKING:
    from pipeline.providers.aws.session import AwsSession

_CALL_SECONDS: Final = 10.0
"""Time for one call of S3, as ``policy.call_seconds`` has it by default."""
_SESSIONS: Final = 8
"""Services, by region and address, to which connections are kept."""
_SESSION_SECONDS: Final = 7 * 86400.0
"""As long as the longest ``policy.backup_seconds``."""


def read_ticket(line: str, crew_key: CrewKey, reader: WorkerClient, worker: str | None = None) -> str:
    """Read one backup, and say what it was.

    Args:
        line: The ticket.
        crew_key: Opens it.
        reader: The process that parses the backup, apart from this one.
        worker: What this machine is called; its host's name when ``None``.

    Returns:
        The answer, one line. Whatever is wrong with the ticket or the backup is an answer, too.
    """
    started = time.monotonic()

    def answer(known: str, found: Reading | OrgkeyError, key: Secret | None = None) -> str:
        reading = Reading(found) if isinstance(found, OrgkeyError) else found
        seconds = time.monotonic() - started
        return Answer.of(known, worker or socket.gethostname(), seconds, reading, key).line()

    ticket = isolated(lambda: Ticket.of(line), "the ticket")
    if isinstance(ticket, OrgkeyError):
        return answer(NO_ID, ticket)
    sealed = isolated(lambda: ticket.unseal(crew_key), "the ticket")
    if isinstance(sealed, OrgkeyError):
        return answer(ticket.open.id, sealed)
    found = isolated(lambda: _read(ticket.open, sealed, reader), "it")
    return answer(ticket.open.id, found, sealed.mac_key)


def _read(part: OpenPart, sealed: SealedPart, reader: WorkerClient) -> Reading:
    deadline = Deadline(part.seconds, setting="policy.backup_seconds")
    source = _file(part.place) if isinstance(part.place, SharedFile) else _object(part.place, deadline)
    found = read_backup.read(
        source, part.header, sealed.session, reader,
        deadline=deadline, wanted=part.engine, expected=part.expected,
    )  # fmt: skip
    if isinstance(part.place, SharedFile):
        _file(part.place)  # it is what it was, so what was read is what the ticket is for
    elif (
        part.place.version is not None
        and source.facts.get("VersionId", part.place.version) != part.place.version
    ):
        raise _changed(source.name)
    return found


def _file(place: SharedFile) -> BackupFile:
    """The file, in the state that the ticket is for."""
    source = BackupFile(place.path)
    if source.state is None:
        raise LocalFilesProblem(
            f"{source.name} is not a file on this machine",
            hint="mount the share of the backups here, under the path that it has where tickets are made",
        )
    if source.state != place.state:
        raise _changed(source.name)
    return source


def _object(place: StoredObject, deadline: Deadline) -> S3Source:
    """The object, with the login that the machine itself has."""
    session = _session(place.region, place.endpoint, place.path_style)
    session.deadline.renew()
    named = {"Bucket": place.bucket} | ({"ExpectedBucketOwner": place.owner} if place.owner else {})
    return S3Source(session, named, place.key, place.size, place.etag, Retrier(deadline))


@lru_cache(_SESSIONS)
def _session(region: str, endpoint: str | None, path_style: bool | None) -> AwsSession:
    """The machine's login there, kept from ticket to ticket; the ticket's own time ends what reads."""
    from pipeline.config.places import BackupPlace
    from pipeline.providers.aws.session import AwsSession

    reached = BackupPlace(location="s3://bucket", region=region, endpoint_url=endpoint, path_style=path_style)
    deadline = Deadline(_SESSION_SECONDS, setting="policy.backup_seconds")
    return AwsSession(reached, None, call_seconds=_CALL_SECONDS, deadline=deadline, role="reader")


def _changed(name: str) -> Conflict:
    return Conflict(
        f"{name} is not what the ticket is for: it was changed, or this machine has mounted another share",
        hint="run again when the upload is done; see that all machines have the same share under this path",
    )
