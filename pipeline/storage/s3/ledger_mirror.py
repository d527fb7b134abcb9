"""The ledger's entries in a bucket: ``<prefix>/<FINGERPRINT>/ledger/<number>.json``, locked like records."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import Conflict
from pipeline.storage.ledger_mirror import BESIDE, name_of, number_of
from pipeline.storage.names import checked_fingerprint
from pipeline.storage.s3.bucket import Bucket

if TYPE_CHECKING:
    from pipeline.config import S3Target as Settings
    from pipeline.providers.aws.session import AwsSession


class S3Mirror:
    """A bucket.

    Whoever may write there can put a newer version over an entry: all versions are listed, the oldest
    first, those behind a delete marker too.

    Args:
        name: The target's name in the config.
        settings: Its table in the config.
        session: The identity.
        fingerprint: Whose ledger it is.
    """

    kind = "s3"

    def __init__(self, name: str, settings: Settings, session: AwsSession, fingerprint: str) -> None:
        self.name = name
        self._bucket = Bucket(settings, session)
        self._prefix = f"{settings.prefix}/{checked_fingerprint(fingerprint)}/ledger/".lstrip("/")

    def listing(self, after: int) -> Mapping[int, tuple[str, ...]]:
        """See :meth:`pipeline.storage.ledger_mirror.Mirror.listing`."""
        begin = self._prefix + name_of(after) if after else None
        seen: dict[str, tuple[tuple[int, int], Any]] = {}
        for page in self._bucket.pages(self._prefix, f"target {self.name}, list the ledger", after=begin):
            for entry in page.get("Versions") or ():
                place = number_of(str(entry.get("Key", "")).removeprefix(self._prefix))
                if place and place[0] > after:
                    # By version, since servers have been seen to repeat the last one of a page.
                    seen[f"{entry.get('VersionId') or ''} {entry['Key']}"] = (place, entry["LastModified"])
        # A listing has a key's newest version first; the sort keeps that order among equal times.
        found: dict[int, list[str]] = {}
        oldest_first = list(seen.items())
        oldest_first.reverse()
        oldest_first.sort(key=lambda item: item[1])
        for handle, (place, _) in oldest_first:
            found.setdefault(place[0], []).append(handle)
        return {number: tuple(handles) for number, handles in found.items()}

    def get(self, handle: str) -> bytes:
        """See :meth:`pipeline.storage.ledger_mirror.Mirror.get`."""
        key, version = split(handle)
        return self._bucket.get(key, version, f"target {self.name}, read the ledger")

    def confirm(self, handle: str, made: datetime) -> None:
        """See :meth:`pipeline.storage.ledger_mirror.Mirror.confirm`."""
        self._bucket.demand_lock(*split(handle), made, f"target {self.name}, look at the ledger's lock")

    def put(self, number: int, data: bytes, *, beside: bool = False) -> None:
        """See :meth:`pipeline.storage.ledger_mirror.Mirror.put`."""
        for place in range(BESIDE + 1 if beside else 1):
            try:
                self._bucket.put_new(
                    self._prefix + name_of(number, place),
                    data,
                    "application/json",
                    f"target {self.name}, write the ledger",
                )
                return
            except Conflict:
                if not beside or place == BESIDE:
                    raise


def split(handle: str) -> tuple[str, str | None]:
    """The key and the version that a handle of :class:`S3Mirror` names."""
    version, _, key = handle.partition(" ")
    return key, version or None
