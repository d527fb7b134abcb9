"""Objects in a bucket, written once and read whole: what records and the ledger's mirror share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

from pipeline.core.clock import stamp
from pipeline.core.digest import Digest, sha256
from pipeline.core.errors import Conflict, IntegrityProblem, Unreachable
from pipeline.storage.names import nothing_there, too_large

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

    from pipeline.config.places import S3TargetConfig
    from pipeline.providers.aws.session import AwsSession

MISSING = {"NoSuchKey", "NoSuchVersion", "404", "NotFound"}
NO_RETENTION = {"NoSuchObjectLockConfiguration", "ObjectLockConfigurationNotFoundError"}
# What two clocks and a slow run may differ by: a lock that ends this much early is still the configured one.
_LOCK_SLACK = timedelta(days=1)
_MOST_LISTED: Final = 250_000
"""Versions below one prefix: a server that lists for ever would fill this host's memory."""
# A delete marker read by its version; a version id that is not one of this server's.
_NO_VERSION = {"MethodNotAllowed", "405", "InvalidArgument", "InvalidVersionId"}


class Bucket:
    """A bucket as one identity sees it.

    Args:
        settings: The target's table in the config.
        session: The identity.
    """

    def __init__(self, settings: S3TargetConfig, session: AwsSession) -> None:
        self.settings = settings
        self.session = session

    def named(self) -> dict[str, Any]:
        """The parameters that name the bucket and, where one is configured, its owner."""
        named: dict[str, Any] = {"Bucket": self.settings.bucket}
        if self.settings.expected_bucket_owner is not None:
            named["ExpectedBucketOwner"] = self.settings.expected_bucket_owner
        return named

    @property
    def top(self) -> str:
        """Where all keys begin."""
        return f"{self.settings.prefix}/" if self.settings.prefix else ""

    def address(self, key: str, version: str | None) -> dict[str, Any]:
        """The parameters that name an object, or one version of it."""
        return self.named() | {"Key": key} | ({"VersionId": version} if version is not None else {})

    def location(self, key: str) -> str:
        """An object, for people."""
        return f"s3://{self.settings.bucket}/{key}"

    def put_new(
        self, key: str, data: bytes, content_type: str, what: str
    ) -> tuple[str | None, datetime | None]:
        """Write an object where there is none, locked where that is configured.

        The object is looked at again under its version: a server may have ignored what it was asked.

        Returns:
            Its version, and the end of the retention that the server confirms.

        Raises:
            Conflict: There is one.
            IntegrityProblem: The server did something else than it was asked.
            Denied, Unreachable, DeadlinePassed, UsageProblem: As in :meth:`AwsSession.call`.
        """
        version, until = self.write(key, data, content_type, what)
        return version, self._confirm(key, version, sha256(data), len(data), until, what)

    def write(
        self, key: str, data: bytes, content_type: str, what: str
    ) -> tuple[str | None, datetime | None]:
        """Ask for an object where there is none, locked where that is configured; do not look at it again.

        Returns:
            Its version, and the end of the retention that was asked for.

        Raises:
            Conflict: There is one.
            Denied, Unreachable, DeadlinePassed, UsageProblem: As in :meth:`AwsSession.call`.
        """
        until = self._retain_until()
        request = self.named() | {
            "Key": key,
            "Body": data,
            "ContentType": content_type,
            "IfNoneMatch": "*",
            # Named besides: some servers look for the algorithm's header alone before they lock.
            "ChecksumAlgorithm": "SHA256",
            "ChecksumSHA256": sha256(data).base64,
        }
        if until is not None:
            request |= {"ObjectLockMode": self.settings.lock_mode, "ObjectLockRetainUntilDate": until}
        if self.settings.kms_key_id is not None:
            request |= {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self.settings.kms_key_id}
        try:
            answer = self.session.call(
                lambda client: self.session.tagged(client.put_object(**request), what), "s3", what
            )
        except Conflict as error:
            raise Conflict(
                f"{what}: {self.location(key)} exists already, or lies behind a delete marker",
                hint="nothing is overwritten; compare what is there with `orgkey verify`",
            ) from error
        return answer.get("VersionId"), until

    def get(self, key: str, version: str | None, what: str) -> bytes:
        """Read an object whole, the current version or the one named.

        Raises:
            IntegrityProblem: Nothing readable is there, or its checksum does not fit.
            Denied, Unreachable, DeadlinePassed, UsageProblem: As in :meth:`AwsSession.call`.
        """
        place = f"{what}: {self.location(key)}" + (f" version {version}" if version else "")

        def read(client: Any) -> bytes:
            import botocore.exceptions

            from pipeline.providers.wire import NoAnswer, Unusable

            try:
                answer = self._ask(client.get_object, key, version, place)
                data: bytes = answer["Body"].read()
            except botocore.exceptions.FlexibleChecksumError as error:
                raise _damaged(place, "its checksum does not fit its bytes") from error
            except NoAnswer as error:
                if isinstance(error.reason, Unusable) and error.reason.code == "too long":
                    raise too_large(place) from error
                raise
            stored = str(answer.get("ChecksumSHA256") or "")
            if stored and "-" not in stored and stored != sha256(data).base64:
                raise _damaged(place, "its checksum does not fit its bytes")
            return data

        return self.session.call(read, "s3", what)

    def pages(self, prefix: str, what: str, *, after: str | None = None) -> Iterator[Mapping[str, Any]]:
        """List the versions directly below a prefix; what lies deeper is left out.

        Args:
            prefix: Where keys begin.
            what: As in :meth:`AwsSession.call`.
            after: The key behind which to begin.

        Raises:
            Denied, Unreachable, DeadlinePassed, UsageProblem: As in :meth:`AwsSession.call`; it is also
                ``Unreachable`` where the listing does not end.
        """
        fixed = self.named() | {"Prefix": prefix, "Delimiter": "/"}
        request = fixed | ({"KeyMarker": after} if after else {})
        count = 0
        while True:
            # Each page is a call of its own, with its own time-out and the deadline in sight.
            page = self.session.call(partial(self._page, request, what), "s3", what)
            count += sum(
                len(page.get(kind) or ()) for kind in ("Versions", "DeleteMarkers", "CommonPrefixes")
            )
            if count > _MOST_LISTED:
                raise Unreachable(
                    f"{what}: the server lists more than {_MOST_LISTED:,} versions",
                    hint="find out who writes there, or what it is that answers",
                    again=False,
                )
            yield page
            marks = self.session.next_page(page, request, what)
            if not marks:
                return
            request = fixed | marks

    def _page(self, request: Mapping[str, Any], what: str, client: Any) -> Mapping[str, Any]:
        return self.session.listed(client.list_object_versions(**request), what)

    def head(self, key: str, version: str | None, what: str) -> Mapping[str, Any]:
        """Ask for an object's properties, of the current version or the one named.

        Raises:
            IntegrityProblem: Nothing readable is there.
            Denied, Unreachable, DeadlinePassed, UsageProblem: As in :meth:`AwsSession.call`.
        """
        place = f"{what}: {self.location(key)}"
        return self.session.call(
            lambda client: self._ask(client.head_object, key, version, place), "s3", what
        )

    def _ask(
        self, operation: Callable[..., Mapping[str, Any]], key: str, version: str | None, place: str
    ) -> Mapping[str, Any]:
        """Ask about an object, and say why it cannot be read where that is about the object itself."""
        import botocore.exceptions

        try:
            return self.session.tagged(operation(**self.address(key, version), ChecksumMode="ENABLED"), place)
        except botocore.exceptions.ClientError as error:
            code, _, headers = error_parts(error)
            if version is not None and code in _NO_VERSION | MISSING:
                why = "does not exist, or is a delete marker"
            elif code in MISSING and headers.get("x-amz-delete-marker") == "true":
                why = "is hidden by a delete marker; its versions can still be read"
            elif code in MISSING:
                why = "holds no record"
            else:
                raise
            raise nothing_there(place, why) from error

    def retention(
        self, key: str, version: str | None, what: str
    ) -> tuple[Literal["GOVERNANCE", "COMPLIANCE"] | None, datetime | None]:
        """Ask for the lock of one version; a HEAD need not tell it of any but the current one (versitygw).

        Returns:
            Its mode and its end; ``None`` twice where it has none.

        Raises:
            IntegrityProblem: The version is gone.
            Denied, Unreachable, DeadlinePassed, UsageProblem: As in :meth:`AwsSession.call`.
        """
        request = self.address(key, version)

        def ask(client: Any) -> Mapping[str, Any]:
            import botocore.exceptions

            try:
                retention: Mapping[str, Any] = client.get_object_retention(**request)["Retention"]
            except botocore.exceptions.ClientError as error:
                code, words, _ = error_parts(error)
                # Some servers have a plain 404 for it, with words.
                if code in NO_RETENTION or (
                    code in MISSING and ("lock configuration" in words or "retention" in words)
                ):
                    return {}
                if code in MISSING:
                    raise nothing_there(f"{what}: {self.location(key)} version {version}") from error
                raise
            return retention

        retention = self.session.call(ask, "s3", what)
        until: datetime | None = retention.get("RetainUntilDate")
        return retention.get("Mode"), until.astimezone(UTC) if until is not None else None

    def demand_lock(self, key: str, version: str | None, made: datetime, what: str) -> datetime | None:
        """Demand the configured lock, or a stronger one, of a version that an earlier try left.

        Args:
            key: The object.
            version: Its version.
            made: From when on it was to be locked, at the earliest.
            what: As in :meth:`AwsSession.call`.

        Returns:
            The end of its retention; ``None`` where no lock is configured, and nothing is asked.

        Raises:
            IntegrityProblem: It is not locked like that, or not there.
            Denied, Unreachable, DeadlinePassed, UsageProblem: As in :meth:`AwsSession.call`.
        """
        mode, anew = self.settings.lock_mode, self._retain_until()
        if anew is None:
            return None
        found, has = self.retention(key, version, what)
        problem = self.lock_problem(found, has, made)
        if problem is None:
            return has
        weak = mode == "COMPLIANCE" and found == "GOVERNANCE"
        mend = f"`orgkey retain --until {stamp(anew)}{' --mode COMPLIANCE' if weak else ''}`"
        raise IntegrityProblem(
            f"{what}: {self.location(key)}: {problem}",
            hint=f"extend its lock: {mend}"
            if has
            else "check the bucket's Object Lock and that this identity may s3:GetObjectRetention; "
            f"then lock it: {mend}",
        )

    def lock_problem(self, found: str | None, has: datetime | None, made: datetime) -> str | None:
        """Compare a lock with the configured one, or a stronger one.

        Args:
            found: Its mode; ``None`` where there is none.
            has: Its end.
            made: From when on it was to be locked, at the earliest.

        Returns:
            What is wrong with it, in words; ``None`` when nothing is, or no lock is configured.
        """
        anew = self._retain_until()
        if self.settings.lock_days is None or anew is None:
            return None
        # A record whose maker's clock was ahead is not asked for more than one of this moment.
        until = min(made + timedelta(days=self.settings.lock_days), anew)
        if found in (self.settings.lock_mode, "COMPLIANCE") and has and has >= until - _LOCK_SLACK:
            return None
        asked = f"{self.settings.lock_mode} until {stamp(until)}"
        return f"{asked} is configured, the server says {_lock(found, has)}"

    # -- inside ----------------------------------------------------------------------------------

    def _retain_until(self) -> datetime | None:
        if self.settings.lock_days is None:
            return None
        now = self.session.deadline.clock.now().replace(microsecond=0)
        return now + timedelta(days=self.settings.lock_days)

    def _confirm(
        self, key: str, version: str | None, digest: Digest, size: int, until: datetime | None, what: str
    ) -> datetime | None:
        """Look at what was written, by its version, and compare it with what was asked.

        Returns:
            The end of the retention that the server confirms.

        Raises:
            IntegrityProblem: The server did something else.
        """
        place = f"{what}, look at what was written: {self.location(key)}"
        facts = self.head(key, version, f"{what}, look at what was written")
        checksum = facts.get("ChecksumSHA256")
        if facts.get("ContentLength") != size or (checksum is not None and checksum != digest.base64):
            raise _damaged(place, "the server holds other bytes than were sent")
        stored: datetime | None = facts.get("ObjectLockRetainUntilDate")
        if until is not None and (
            facts.get("ObjectLockMode") != self.settings.lock_mode or stored is None or stored < until
        ):
            raise IntegrityProblem(
                f"{place}: asked for {self.settings.lock_mode} until {until:%Y-%m-%dT%H:%M:%SZ}, the server "
                f"says {_lock(facts.get('ObjectLockMode'), facts.get('ObjectLockRetainUntilDate'))}",
                hint="check the bucket's Object Lock and that this identity may s3:GetObjectRetention",
            )
        return stored.astimezone(UTC) if stored is not None else None


def error_parts(error: ClientError) -> tuple[str, str, Mapping[str, str]]:
    """What S3 said in an error: its code, its words in lower case, and the headers."""
    said = error.response.get("Error", {})
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return str(said.get("Code", "")), str(said.get("Message", "")).lower(), headers


def _lock(mode: str | None, until: datetime | None) -> str:
    return f"{mode or 'no retention'}" + (f" until {until}" if until else "")


def _damaged(place: str, why: str) -> IntegrityProblem:
    return IntegrityProblem(
        f"{place} is damaged: {why}",
        hint="`orgkey verify` looks at every copy, `orgkey repair` restores one from a good copy",
    )
