"""Records in a bucket of S3, or of a service that speaks its protocol."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from pipeline.digest import Digest, sha256
from pipeline.errors import Conflict, Denied, IntegrityProblem, OrgkeyError, Unreachable, UsageProblem
from pipeline.finding import Finding
from pipeline.targets._slots import (
    MAX_RECORD,
    checked,
    checked_epoch,
    checked_fingerprint,
    is_epoch,
    nothing_there,
    too_large,
)
from pipeline.targets.interface import Presence, Receipt, Slot, Stored

if TYPE_CHECKING:
    from pipeline.clients.aws import AwsSession
    from pipeline.config import S3Target as Settings

_NO_RETENTION = {"NoSuchObjectLockConfiguration", "ObjectLockConfigurationNotFoundError"}
_MISSING = {"NoSuchKey", "NoSuchVersion", "404", "NotFound"}
# A delete marker read by its version; a version id of another form than this server's.
_NO_VERSION = {"MethodNotAllowed", "405", "InvalidArgument", "InvalidVersionId"}


class S3Target:
    """One object for each epoch, written only where there is none, locked where that is configured.

    Args:
        name: The target's name in the config.
        settings: Its table in the config.
        session: The identity.
    """

    kind = "s3"

    def __init__(self, name: str, settings: Settings, session: AwsSession) -> None:
        self.name = name
        self.domain = settings.domain or name
        self.settings = settings
        self.session = session

    def put(self, slot: Slot, data: bytes) -> Receipt:
        """See :meth:`pipeline.targets.interface.Target.put`.

        The object is looked at again under its version: a server may have ignored what it was asked.
        """
        what = f"target {self.name}, write"
        digest = sha256(data)
        until = self._retain_until()
        request = self._address(checked(slot)) | {
            "Body": data,
            "ContentType": "application/x-tar",
            "IfNoneMatch": "*",
            "ChecksumSHA256": base64.b64encode(digest.raw).decode(),
        }
        if until is not None:
            request |= {"ObjectLockMode": self.settings.lock_mode, "ObjectLockRetainUntilDate": until}
        if self.settings.kms_key_id is not None:
            request |= {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self.settings.kms_key_id}
        try:
            answer = self.session.call(lambda client: client.put_object(**request), "s3", what)
        except Conflict as error:
            raise Conflict(
                f"{what}: {self.location(slot)} exists already, or lies behind a delete marker",
                hint="nothing is overwritten; compare what is there with `orgkey verify`",
            ) from error
        version = answer.get("VersionId")
        confirmed = self._confirm(slot, version, digest, len(data), until)
        return Receipt(
            target=self.name,
            kind=self.kind,
            domain=self.domain,
            location=self.location(slot),
            version=version,
            sha256=digest,
            retain_until=confirmed,
        )

    def get(self, slot: Slot, version: str | None = None) -> bytes:
        """See :meth:`pipeline.targets.interface.Target.get`."""
        what = f"target {self.name}, read"
        place = f"{what}: {self.location(checked(slot))}" + (f" version {version}" if version else "")
        request = self._address(slot) | {"ChecksumMode": "ENABLED"}
        if version is not None:
            request["VersionId"] = version

        def read(client: Any) -> bytes:
            import botocore.exceptions

            try:
                answer = client.get_object(**request)
                with answer["Body"] as body:
                    if int(answer.get("ContentLength") or 0) > MAX_RECORD:
                        raise too_large(place)
                    # One byte more than allowed: a server may lie about the length.
                    data: bytes = body.read(MAX_RECORD + 1)
            except botocore.exceptions.ClientError as error:
                if (unreadable := self._unreadable(error, place, version)) is not None:
                    raise unreadable from error
                raise
            except botocore.exceptions.FlexibleChecksumError as error:
                raise _damaged(place, "its checksum does not fit its bytes") from error
            if len(data) > MAX_RECORD:
                raise too_large(place)
            stored = str(answer.get("ChecksumSHA256") or "")
            if stored and "-" not in stored and stored != base64.b64encode(sha256(data).raw).decode():
                raise _damaged(place, "its checksum does not fit its bytes")
            return data

        return self.session.call(read, "s3", what)

    def find(self, fingerprint: str, epoch: str | None = None) -> list[Stored]:
        """See :meth:`pipeline.targets.interface.Target.find`.

        The end of the retention is asked for one epoch, or where a lock is configured: it costs a
        request for each version.
        """
        what = f"target {self.name}, list"
        prefix = self._prefix(checked_fingerprint(fingerprint))
        below = prefix if epoch is None else f"{prefix}{checked_epoch(epoch)}.tar"
        # By version, since servers have been seen to repeat the last entry of a page on the next one.
        known: dict[tuple[Slot, str | None], Mapping[str, Any]] = {}
        hidden: set[Slot] = set()
        for page in self._pages(below, what):
            for entry in page.get("Versions") or ():
                if slot := _slot(fingerprint, prefix, entry):
                    known[slot, entry.get("VersionId")] = entry
            markers = [entry for entry in page.get("DeleteMarkers") or () if entry.get("IsLatest")]
            hidden.update(slot for entry in markers if (slot := _slot(fingerprint, prefix, entry)))
        versions = [(slot, entry) for (slot, _), entry in known.items()]
        # Python's sort is stable: newest first, then by epoch.
        versions.sort(key=lambda item: item[1]["LastModified"], reverse=True)
        versions.sort(key=lambda item: (item[0].epoch, not item[1].get("IsLatest")))
        dates = self._retentions(versions, wanted=epoch is not None or self.settings.lock_mode is not None)
        return [
            Stored(slot, self.location(slot), entry.get("VersionId"), _presence(entry, slot in hidden), date)
            for (slot, entry), date in zip(versions, dates, strict=True)
        ]

    def check(self) -> list[Finding]:
        """See :meth:`pipeline.targets.interface.Target.check`."""
        from pipeline.targets._s3_check import check

        return check(self)

    def key(self, slot: Slot) -> str:
        """The object's key."""
        return f"{self._prefix(slot.fingerprint)}{slot.epoch}.tar"

    def location(self, slot: Slot) -> str:
        """The object, for people."""
        return f"s3://{self.settings.bucket}/{self.key(slot)}"

    def bucket(self) -> dict[str, Any]:
        """The parameters that name the bucket and, where one is configured, its owner."""
        named: dict[str, Any] = {"Bucket": self.settings.bucket}
        if self.settings.expected_bucket_owner is not None:
            named["ExpectedBucketOwner"] = self.settings.expected_bucket_owner
        return named

    # -- inside ----------------------------------------------------------------------------------

    def _prefix(self, fingerprint: str) -> str:
        return f"{self.settings.prefix}/{fingerprint}/".lstrip("/")

    def _address(self, slot: Slot) -> dict[str, Any]:
        return self.bucket() | {"Key": self.key(slot)}

    def _retain_until(self) -> datetime | None:
        if self.settings.lock_days is None:
            return None
        now = self.session.deadline.clock.now().replace(microsecond=0)
        return now + timedelta(days=self.settings.lock_days)

    def _confirm(
        self, slot: Slot, version: str | None, digest: Digest, size: int, until: datetime | None
    ) -> datetime | None:
        """Look at what was written, by its version, and compare it with what was asked.

        Returns:
            The end of the retention that the server confirms.

        Raises:
            IntegrityProblem: The server did something else.
        """
        what = f"target {self.name}, look at what was written"
        place = f"{what}: {self.location(slot)}"
        facts = self._head(slot, version, what)
        checksum = facts.get("ChecksumSHA256")
        if facts.get("ContentLength") != size or (
            checksum is not None and checksum != base64.b64encode(digest.raw).decode()
        ):
            raise _damaged(place, "the server holds other bytes than were sent")
        stored: datetime | None = facts.get("ObjectLockRetainUntilDate")
        if until is not None and (
            facts.get("ObjectLockMode") != self.settings.lock_mode or stored is None or stored < until
        ):
            raise IntegrityProblem(
                f"{place}: asked for {self.settings.lock_mode} until {until:%Y-%m-%dT%H:%M:%SZ}, the server "
                f"says {facts.get('ObjectLockMode') or 'no retention'}{f' until {stored}' if stored else ''}",
                hint="check the bucket's Object Lock and that this identity may s3:GetObjectRetention",
            )
        return stored.astimezone(UTC) if stored is not None else None

    def _head(self, slot: Slot, version: str | None, what: str) -> Mapping[str, Any]:
        request = self._address(slot) | {"ChecksumMode": "ENABLED"}
        if version is not None:
            request["VersionId"] = version

        def look(client: Any) -> Mapping[str, Any]:
            import botocore.exceptions

            try:
                facts: Mapping[str, Any] = client.head_object(**request)
            except botocore.exceptions.ClientError as error:
                place = f"{what}: {self.location(slot)}"
                if (unreadable := self._unreadable(error, place, version)) is not None:
                    raise unreadable from error
                raise
            return facts

        return self.session.call(look, "s3", what)

    def _unreadable(self, error: Any, place: str, version: str | None) -> OrgkeyError | None:
        """Say why an object cannot be read, where that is about the object; ``None`` otherwise."""
        code = str(error.response.get("Error", {}).get("Code", ""))
        headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        if code == "InvalidObjectState":
            return Unreachable(
                f"{place} is archived and cannot be read at once",
                hint="restore it in S3 first (aws s3api restore-object), then run the same command again",
                again=False,
            )
        if version is not None and code in _NO_VERSION | _MISSING:
            return nothing_there(place, "does not exist, or is a delete marker")
        if code in _MISSING and headers.get("x-amz-delete-marker") == "true":
            return nothing_there(place, "is hidden by a delete marker; its versions can still be read")
        return nothing_there(place) if code in _MISSING else None

    def _pages(self, prefix: str, what: str) -> Iterator[Mapping[str, Any]]:
        request = self.bucket() | {"Prefix": prefix}
        while True:
            # Each page is a call of its own, with its own time-out and the deadline in sight.
            page = self.session.call(partial(_list_page, request), "s3", what)
            yield page
            marks = {
                "KeyMarker": page.get("NextKeyMarker"),
                "VersionIdMarker": page.get("NextVersionIdMarker"),
            }
            marks = {key: value for key, value in marks.items() if value}
            if not page.get("IsTruncated") or not marks:
                return
            if all(request.get(key) == value for key, value in marks.items()):
                raise Unreachable(
                    f"{what}: the server repeats the same page of its listing",
                    hint="report it to the maker of that server",
                    again=False,
                )
            request = self.bucket() | {"Prefix": prefix} | marks

    def _retentions(
        self, versions: list[tuple[Slot, Mapping[str, Any]]], *, wanted: bool
    ) -> list[datetime | None]:
        dates: list[datetime | None] = []
        for slot, entry in versions:
            date: datetime | None = None
            if wanted:
                try:
                    date = self._retention(slot, entry.get("VersionId"))
                except (Denied, UsageProblem):
                    # A right that a small policy does not give, or a bucket without Object Lock: the
                    # answer would be the same for every version.
                    wanted = False
            dates.append(date)
        return dates

    def _retention(self, slot: Slot, version: str | None) -> datetime | None:
        request = self._address(slot)
        if version is not None:
            request["VersionId"] = version

        def ask(client: Any) -> datetime | None:
            import botocore.exceptions

            try:
                until: datetime | None = client.get_object_retention(**request)["Retention"].get(
                    "RetainUntilDate"
                )
            except botocore.exceptions.ClientError as error:
                # This version has no retention, or went away since the listing.
                if error.response.get("Error", {}).get("Code") in _MISSING | _NO_RETENTION:
                    return None
                raise
            return until.astimezone(UTC) if until is not None else None

        return self.session.call(ask, "s3", f"target {self.name}, look at retention")


def _list_page(request: Mapping[str, Any], client: Any) -> Mapping[str, Any]:
    page: Mapping[str, Any] = client.list_object_versions(**request)
    return page


def _slot(fingerprint: str, prefix: str, entry: Mapping[str, Any]) -> Slot | None:
    key = str(entry.get("Key", ""))
    name = key.removeprefix(prefix).removesuffix(".tar")
    return Slot(fingerprint, name) if is_epoch(name) and key == f"{prefix}{name}.tar" else None


def _presence(entry: Mapping[str, Any], hidden: bool) -> Presence:
    if hidden:
        return Presence.HIDDEN
    return Presence.CURRENT if entry.get("IsLatest") else Presence.OLDER


def _damaged(place: str, why: str) -> IntegrityProblem:
    return IntegrityProblem(
        f"{place} is damaged: {why}",
        hint="`orgkey verify` looks at every copy, `orgkey repair` restores one from a good copy",
    )
