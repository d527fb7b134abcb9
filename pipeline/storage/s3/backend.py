"""Records in a bucket of S3, or of a service that speaks its protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from pipeline.core.errors import DeadlinePassed, Denied, OrgkeyError, Unreachable, UsageProblem
from pipeline.core.finding import Finding
from pipeline.core.isolation import isolated
from pipeline.storage.interface import Presence, Receipt, Replication, Slot, Stored, receipt
from pipeline.storage.names import (
    MAX_RECORD,
    checked,
    checked_epoch,
    checked_fingerprint,
    epoch_time,
    is_epoch,
)
from pipeline.storage.s3.bucket import Bucket

if TYPE_CHECKING:
    from pipeline.config.places import S3TargetConfig
    from pipeline.providers.aws.session import AwsSession

T = TypeVar("T")
Lock = tuple[str | None, datetime | None]


class S3Backend:
    """One object for each epoch, written only where there is none, locked where that is configured.

    Args:
        name: The target's name in the config.
        settings: Its table in the config.
        session: The identity.
    """

    kind = "s3"
    largest = MAX_RECORD

    def __init__(self, name: str, settings: S3TargetConfig, session: AwsSession) -> None:
        self.name = name
        self.domain = settings.domain or name
        self.settings = settings
        self.session = session
        self._bucket = Bucket(settings, session)
        self._asked_again = False

    def put(self, slot: Slot, data: bytes) -> Receipt:
        """See :meth:`pipeline.storage.interface.Target.put`."""
        version, confirmed = self._bucket.put_new(
            self.key(checked(slot)), data, "application/x-tar", f"target {self.name}, write"
        )
        return receipt(self, self.location(slot), version, data, confirmed)

    def get(self, slot: Slot, version: str | None = None) -> bytes:
        """See :meth:`pipeline.storage.interface.Target.get`."""
        return self._bucket.get(self.key(checked(slot)), version, f"target {self.name}, read")

    def find(self, fingerprint: str, epoch: str | None = None) -> list[Stored]:
        """See :meth:`pipeline.storage.interface.Target.find`.

        The end of the retention is asked for one epoch, or where a lock is configured: it costs a
        request for each version. So does its replication, which is asked where the bucket is said to have
        it (``replicated``). Whether these answers can be had decides nothing about the copy.
        """
        what = f"target {self.name}, list"
        prefix = self._prefix(checked_fingerprint(fingerprint))
        below = prefix if epoch is None else f"{prefix}{checked_epoch(epoch)}.tar"
        # By version, since servers have been seen to repeat the last entry of a page on the next one.
        known: dict[tuple[Slot, str | None], Mapping[str, Any]] = {}
        hidden: set[Slot] = set()
        for page in self._bucket.pages(below, what):
            for entry in page.get("Versions") or ():
                if slot := _slot(fingerprint, prefix, entry):
                    known[slot, entry.get("VersionId")] = entry
            markers = [entry for entry in page.get("DeleteMarkers") or () if entry.get("IsLatest")]
            hidden.update(slot for entry in markers if (slot := _slot(fingerprint, prefix, entry)))
        versions = [(slot, entry) for (slot, _), entry in known.items()]
        # Python's sort is stable: newest first, then by epoch.
        versions.sort(key=lambda item: item[1]["LastModified"], reverse=True)
        versions.sort(key=lambda item: (item[0].epoch, not item[1].get("IsLatest")))
        locks = self._each(
            versions, self._lock, wanted=epoch is not None or self.settings.lock_mode is not None
        )
        replications = self._each(versions, self._replication, wanted=self.settings.replicated)
        return [
            Stored(
                slot,
                self.location(slot),
                entry.get("VersionId"),
                _presence(entry, slot in hidden),
                None if lock is None or isinstance(lock, OrgkeyError) else lock[1],
                None if isinstance(replication, OrgkeyError) else replication,
                self._unlocked(slot, lock),
                identity=self._identity(slot, entry),
            )
            for (slot, entry), lock, replication in zip(versions, locks, replications, strict=True)
        ]

    def _identity(self, slot: Slot, entry: Mapping[str, Any]) -> str:
        """A version's id is minted by the server; one without an id says nothing. A replica keeps the id."""
        version = entry.get("VersionId")
        if self.settings.replicated or version in (None, "", "null"):
            return ""
        return f"{self.location(slot)}?version={version}"

    def slots(self, fingerprint: str) -> list[str]:
        """See :meth:`pipeline.storage.interface.Listing.slots`: the listing alone, without locks."""
        prefix = self._prefix(checked_fingerprint(fingerprint))
        pages = self._bucket.pages(prefix, f"target {self.name}, list")
        entries = (entry for page in pages for entry in page.get("Versions") or ())
        found = (_slot(fingerprint, prefix, entry) for entry in entries)
        return list(dict.fromkeys(slot.epoch for slot in found if slot))

    def confirm(self, stored: Stored) -> datetime | None:
        """See :meth:`pipeline.storage.interface.Locking.confirm`.

        Its time is the epoch's: whenever it was written, the lock was to last for ``lock_days`` from then.
        """
        made = epoch_time(checked(stored.slot).epoch)
        what = f"target {self.name}, look at the lock"
        return self._bucket.demand_lock(*self.place(stored), made, what) or stored.retain_until

    def check(self) -> list[Finding]:
        """See :meth:`pipeline.storage.interface.Target.check`."""
        from pipeline.storage.s3.check import S3Check

        return S3Check(self.name, self._bucket).look()

    def try_writing(self) -> list[Finding]:
        """See :meth:`pipeline.storage.interface.Tried.try_writing`."""
        from pipeline.storage.s3.trial import WriteTrial

        return WriteTrial(self.name, self._bucket).look()

    def key(self, slot: Slot) -> str:
        """The object's key."""
        return f"{self._prefix(slot.fingerprint)}{slot.epoch}.tar"

    def place(self, stored: Stored) -> tuple[str, str | None]:
        """The key and the version of what was listed."""
        return self.key(checked(stored.slot)), stored.version

    def location(self, slot: Slot) -> str:
        """The object, for people."""
        return self._bucket.location(self.key(slot))

    # -- inside ----------------------------------------------------------------------------------

    def _prefix(self, fingerprint: str) -> str:
        return f"{self.settings.prefix}/{fingerprint}/".lstrip("/")

    def _each(
        self,
        versions: list[tuple[Slot, Mapping[str, Any]]],
        ask: Callable[[Slot, Mapping[str, Any]], T | None],
        *,
        wanted: bool,
    ) -> list[T | OrgkeyError | None]:
        """Ask something of each version; one that gives no answer stays in the listing."""
        answers: list[T | OrgkeyError | None] = []
        for slot, entry in versions:
            answer: T | OrgkeyError | None = None
            if wanted:
                answer = isolated(partial(ask, slot, entry), f"{self.location(slot)} of target {self.name}")
                if isinstance(answer, DeadlinePassed):
                    raise answer
                if isinstance(answer, Unreachable) and answer.again and not self._asked_again:
                    self._asked_again = True
                    raise answer
                # A right that a small policy does not give, a bucket without Object Lock, a server that keeps
                # silent: the answer would be the same for every version.
                wanted = not isinstance(answer, Denied | UsageProblem) and not (
                    isinstance(answer, Unreachable) and answer.silent
                )
            answers.append(answer)
        return answers

    def _replication(self, slot: Slot, entry: Mapping[str, Any]) -> Replication | None:
        what = f"target {self.name}, look at replication"
        facts = self._bucket.head(self.key(slot), entry.get("VersionId"), what)
        status, since = facts.get("ReplicationStatus"), entry["LastModified"].astimezone(UTC)
        # One state has two words: COMPLETE in S3's list of values, COMPLETED in its answers.
        return Replication({"COMPLETE": "COMPLETED"}.get(status, status), since) if status else None

    def _lock(self, slot: Slot, entry: Mapping[str, Any]) -> Lock:
        what = f"target {self.name}, look at retention"
        return self._bucket.retention(self.key(slot), entry.get("VersionId"), what)

    def _unlocked(self, slot: Slot, lock: Lock | OrgkeyError | None) -> str | None:
        mode = self.settings.lock_mode
        if mode is None:
            return None
        if lock is None or isinstance(lock, Denied | UsageProblem):
            return (
                f"{mode} is configured, and no lock can be seen: check the bucket's Object Lock and that "
                "this identity may s3:GetObjectRetention"
            )
        if isinstance(lock, OrgkeyError):
            return f"{mode} is configured, and the lock could not be read: {lock.message}"
        return self._bucket.lock_problem(*lock, epoch_time(slot.epoch))


def _slot(fingerprint: str, prefix: str, entry: Mapping[str, Any]) -> Slot | None:
    key = str(entry.get("Key", ""))
    name = key.removeprefix(prefix).removesuffix(".tar")
    return Slot(fingerprint, name) if is_epoch(name) and key == f"{prefix}{name}.tar" else None


def _presence(entry: Mapping[str, Any], hidden: bool) -> Presence:
    if hidden:
        return Presence.HIDDEN
    return Presence.CURRENT if entry.get("IsLatest") else Presence.OLDER
