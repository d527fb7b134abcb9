"""Backups in a bucket, read in parallel ranges that arrive in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline.core.errors import Conflict, Unreachable
from pipeline.core.retry import Retrier
from pipeline.sources.backups.byte_stream import ByteStream
from pipeline.sources.backups.message_header import LENGTH
from pipeline.sources.backups.sources import wanted

if TYPE_CHECKING:
    from pipeline.providers.aws.session import AwsSession
    from pipeline.sources.backups.crew.ticket_place import StoredObject

RANGE: Final = 4 << 20
"""Bytes of one request."""
_MOST_LISTED: Final = 250_000
"""Backups of one place: a server that lists for ever would fill this host's memory."""
AHEAD: Final = 4
"""Requests under way at once: with what is being read, some 20 MiB of memory."""


class S3Source:
    """One object.

    Args:
        session: Who reads.
        bucket: The parameters that name the bucket and its owner.
        key: The object's key.
        size: Its length in bytes.
        etag: Its tag when it was listed: another version is never mixed in.
        retrier: Repeats failed requests.
        modified: When it was written.
    """

    again = True

    def __init__(
        self,
        session: AwsSession,
        bucket: dict[str, Any],
        key: str,
        size: int,
        etag: str,
        retrier: Retrier,
        modified: datetime | None = None,
    ) -> None:
        self.name = self.location = f"s3://{bucket['Bucket']}/{key}"
        self.state: str | None = f"{size}:{etag}"
        self.facts: Mapping[str, str] = {}
        self.modified = modified
        self.size: int | None = size
        self.path: Path | None = None
        self._length = size
        self._session = session
        self._request = bucket | {"Key": key, "IfMatch": etag}
        self._retrier = retrier

    def start(self) -> bytes:
        """See :meth:`pipeline.sources.backups.sources.BackupSource.start`."""
        return self._get(0, min(LENGTH, self._length)) if self._length else b""

    @contextmanager
    def open(self) -> Iterator[ByteStream]:
        """See :meth:`pipeline.sources.backups.sources.BackupSource.open`."""
        self.facts = self.facts or self._described()  # gpg may open it again
        offsets = iter(range(0, self._length, RANGE))
        under_way: deque[Future[bytes]] = deque()
        with ThreadPoolExecutor(AHEAD, thread_name_prefix="ranges") as pool:

            def ask() -> None:
                at = next(offsets, None)
                if at is not None:
                    under_way.append(pool.submit(self._get, at, min(at + RANGE, self._length)))

            def more() -> bytes:
                if not under_way:
                    return b""
                piece = under_way.popleft().result()
                ask()
                return piece

            for _ in range(AHEAD):
                ask()
            try:
                yield ByteStream(more)
            finally:
                for job in under_way:
                    job.cancel()

    def place(self) -> StoredObject:
        """See :meth:`pipeline.sources.backups.sources.BackupSource.place`; asks for the version."""
        from pipeline.sources.backups.crew.ticket_place import StoredObject

        self.facts = self._described()
        reached = self._session.place
        return StoredObject(
            bucket=self._request["Bucket"],
            owner=self._request.get("ExpectedBucketOwner"),
            key=self._request["Key"],
            version=self.facts.get("VersionId"),
            region=reached.region,
            endpoint=reached.endpoint_url,
            path_style=getattr(reached, "path_style", None),
            size=self._length,
            etag=self._request["IfMatch"],
        )

    def _described(self) -> Mapping[str, str]:
        """The version and the checksums that the service has of the whole object."""
        what = f"backup {self.name}, look at"
        request = self._request | {"ChecksumMode": "ENABLED"}
        answer = self._retrier.call(
            lambda: self._session.call(lambda client: client.head_object(**request), "s3", what), what
        )
        return {
            name: value
            for name, value in answer.items()
            if isinstance(value, str) and (name == "VersionId" or name.startswith("Checksum"))
        }

    def _get(self, start: int, end: int) -> bytes:
        what = f"backup {self.name}, read"
        request = self._request | {"Range": f"bytes={start}-{end - 1}"}

        def read(client: Any) -> bytes:
            answer = client.get_object(**request)
            data: bytes = answer["Body"].read()
            told = answer.get("ContentRange") or f"bytes {start}-{end - 1}/"
            if len(data) != end - start or not told.startswith(f"bytes {start}-{end - 1}/"):
                raise Unreachable(
                    f"{what}: the server sent other bytes than were asked for",
                    hint="check the endpoint and any proxy before it",
                )
            return data

        try:
            return self._retrier.call(lambda: self._session.call(read, "s3", what), what)
        except Conflict as error:
            raise Conflict(
                f"{what}: it was replaced while it was read", hint="run again when the upload is done"
            ) from error


def listed(
    session: AwsSession,
    bucket: dict[str, Any],
    prefix: str,
    ignore: Sequence[str],
    retrier: Retrier,
) -> list[S3Source]:
    """The backups under a prefix: the object of that very name, else those below it, as in a folder.

    Args:
        session: Who reads.
        bucket: The parameters that name the bucket and its owner.
        prefix: A key, or the beginning of keys up to a slash; the slash may be left out.
        ignore: Patterns of names that are not backups; they do not apply to an object that is named whole.
        retrier: Repeats failed requests.

    Raises:
        OrgkeyError: The bucket cannot be listed.
    """
    what = f"backups s3://{bucket['Bucket']}/{prefix}, list"
    folder = f"{prefix}/" if prefix and not prefix.endswith("/") else prefix
    found: list[S3Source] = []
    marks: dict[str, Any] = {}
    while True:
        request = bucket | {"Prefix": prefix} | marks
        page = retrier.call(lambda: session.call(_lister(request), "s3", what), what)  # noqa: B023
        session.listed(page, what)
        for entry in page.get("Contents") or ():
            key = entry["Key"]
            if key != prefix and not key.startswith(folder):
                continue  # b.pgp.sha256 next to b.pgp, pgp-old next to pgp
            facts = (entry["Size"], entry["ETag"], retrier, entry.get("LastModified"))
            if key == prefix and not key.endswith("/"):
                return [S3Source(session, bucket, key, *facts)]  # it is listed before all others
            if not key.endswith("/") and wanted(key.rpartition("/")[2], ignore):
                found.append(S3Source(session, bucket, key, *facts))
        if len(found) > _MOST_LISTED:
            raise Unreachable(
                f"{what}: the server lists more than {_MOST_LISTED:,} backups",
                hint="find out who writes there, or name a narrower prefix",
                again=False,
            )
        marks = session.next_page(page, request, what)
        if not marks:
            return sorted(found, key=lambda source: source.name)


def _lister(request: dict[str, Any]) -> Callable[[Any], Any]:
    return lambda client: client.list_objects_v2(**request)
