"""The ledger's entries in a bucket: ``<prefix>/<FINGERPRINT>/ledger/<host-id>/<number>.json``, locked."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import Conflict
from pipeline.storage.ledger_mirror import HOST, name_of, number_of
from pipeline.storage.names import checked_fingerprint
from pipeline.storage.s3.bucket import Bucket

if TYPE_CHECKING:
    from pipeline.config.places import S3TargetConfig
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

    def __init__(self, name: str, settings: S3TargetConfig, session: AwsSession, fingerprint: str) -> None:
        self.name = name
        self._bucket = Bucket(settings, session)
        self._prefix = f"{settings.prefix}/{checked_fingerprint(fingerprint)}/ledger/".lstrip("/")

    def hosts(self) -> tuple[str, ...]:
        """See :meth:`pipeline.storage.ledger_mirror.Mirror.hosts`."""
        found = {
            str(item.get("Prefix", "")).removeprefix(self._prefix).removesuffix("/")
            for page in self._bucket.pages(self._prefix, f"target {self.name}, list the ledger")
            for item in page.get("CommonPrefixes") or ()
        }
        return tuple(sorted(filter(HOST.fullmatch, found)))

    def listing(self, host: str, after: int) -> Mapping[int, tuple[str, ...]]:
        """See :meth:`pipeline.storage.ledger_mirror.Mirror.listing`."""
        prefix = f"{self._prefix}{host}/"
        begin = prefix + name_of(after) if after else None
        seen: dict[str, tuple[int, Any]] = {}
        for page in self._bucket.pages(prefix, f"target {self.name}, list the ledger", after=begin):
            for entry in page.get("Versions") or ():
                number = number_of(str(entry.get("Key", "")).removeprefix(prefix))
                if number is not None and number > after:
                    # By version, since servers have been seen to repeat the last one of a page.
                    seen[f"{entry.get('VersionId') or ''} {entry['Key']}"] = (number, entry["LastModified"])
        # A listing has a key's newest version first; the sort keeps that order among equal times.
        oldest_first = list(seen.items())
        oldest_first.reverse()
        oldest_first.sort(key=lambda item: item[1])
        found: dict[int, list[str]] = {}
        for handle, (number, _) in oldest_first:
            found.setdefault(number, []).append(handle)
        return {number: tuple(found[number]) for number in sorted(found)}

    def get(self, handle: str) -> bytes:
        """See :meth:`pipeline.storage.ledger_mirror.Mirror.get`."""
        key, version = split(handle)
        return self._bucket.get(key, version, f"target {self.name}, read the ledger")

    def put(self, host: str, number: int, data: bytes, made: datetime) -> None:
        """See :meth:`pipeline.storage.ledger_mirror.Mirror.put`."""
        key, what = f"{self._prefix}{host}/{name_of(number)}", f"target {self.name}, write the ledger"
        try:
            self._bucket.put_new(key, data, "application/json", what)
        except Conflict:
            # A version that was laid over an entry takes nothing away from it, and does not stand for it.
            handle = next(iter(self.listing(host, number - 1).get(number, ())), None)
            if handle is None or self.get(handle) != data:
                raise
            self._bucket.demand_lock(*split(handle), made, f"target {self.name}, look at the ledger's lock")


def split(handle: str) -> tuple[str, str | None]:
    """The key and the version that a handle of :class:`S3Mirror` names."""
    version, _, key = handle.partition(" ")
    return key, version or None
