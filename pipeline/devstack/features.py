"""What an outside S3 knows of what records need, found out by objects that are really written.

More than `orgkey doctor --try-writing` sees with the writer's login: who tries here may delete, too.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline.core.digest import sha256
from pipeline.storage.s3 import trial

LISTING, CONDITION, LOCK = trial.LISTING, trial.CONDITION, trial.LOCK
CHECKSUM, MARKERS = "SHA-256 checksums", "delete markers"
HOLD = "Object Lock: no delete within retention"
FEATURES = (LISTING, CONDITION, CHECKSUM, MARKERS, LOCK, HOLD)
_BODY = b"what does this server know?"
_CHECKSUM = sha256(_BODY).base64
_PUT = {"Body": _BODY, "ChecksumAlgorithm": "SHA256"}


class S3Trial:
    """Objects below a name of their own, written and looked at.

    Args:
        client: boto3's client for S3, with a login that may write and delete there.
        bucket: The bucket; it keeps versions and has Object Lock, where the server has them.
        prefix: Where the names begin.
    """

    def __init__(self, client: Any, bucket: str, prefix: str = "orgkey/features") -> None:
        self._client = client
        self._where = {"Bucket": bucket, "Key": f"{prefix}/{secrets.token_hex(8)}"}

    def known(self) -> Mapping[str, bool]:
        """Try each feature; a locked object of a few bytes stays for a day.

        Returns:
            Each of :data:`FEATURES`, and whether the server has it.

        Raises:
            ClientError: The server does not take a plain write: it can hold nothing.
        """
        client, where = self._client, self._where
        version = client.put_object(**where, **_PUT, ChecksumSHA256=_CHECKSUM, IfNoneMatch="*").get(
            "VersionId"
        )
        trials: Mapping[str, Callable[[], bool]] = {
            LISTING: lambda: version in self._versions("Versions"),
            CONDITION: lambda: _code(lambda: client.put_object(**where, Body=b"2", IfNoneMatch="*")) == 412,
            CHECKSUM: self._refuses_a_wrong_checksum,
            LOCK: self._locks,
            HOLD: self._holds,
            MARKERS: self._hides,
        }
        found = {name: _yes(trial) for name, trial in trials.items()}
        return {name: found[name] for name in FEATURES}

    def _versions(self, kind: str) -> list[str]:
        named = {"Bucket": self._where["Bucket"], "Prefix": self._where["Key"]}
        entries = self._client.list_object_versions(**named).get(kind) or ()
        return [entry["VersionId"] for entry in entries if entry["Key"] == self._where["Key"]]

    def _refuses_a_wrong_checksum(self) -> bool:
        other = self._where | {"Key": f"{self._where['Key']}-checksum"}
        wrong = sha256(b"other bytes").base64
        refused = _code(lambda: self._client.put_object(**other, **_PUT, ChecksumSHA256=wrong)) == 400
        kept = self._client.head_object(**self._where, ChecksumMode="ENABLED").get("ChecksumSHA256")
        return refused and kept == _CHECKSUM

    def _locks(self) -> bool:
        self._locked = self._where | {"Key": f"{self._where['Key']}-locked"}
        until = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)
        lock = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": until}
        made = self._client.put_object(**self._locked, **_PUT, ChecksumSHA256=_CHECKSUM, **lock)
        self._locked["VersionId"] = made["VersionId"]
        told = self._client.get_object_retention(**self._locked)["Retention"]
        return bool(told["Mode"] == "GOVERNANCE" and told["RetainUntilDate"] == until)

    def _holds(self) -> bool:
        return (
            "VersionId" in self._locked and _code(lambda: self._client.delete_object(**self._locked)) >= 400
        )

    def _hides(self) -> bool:
        self._client.delete_object(**self._where)
        hidden = _code(lambda: self._client.head_object(**self._where)) == 404
        return hidden and len(self._versions("DeleteMarkers")) == 1


def _code(call: Callable[[], Any]) -> int:
    """The status that a call is answered with; 0 where it succeeds."""
    from botocore.exceptions import ClientError

    try:
        call()
    except ClientError as error:
        return int(error.response["ResponseMetadata"]["HTTPStatusCode"])
    return 0


def _yes(trial: Callable[[], bool]) -> bool:
    """Whether a trial succeeds; a server that does not know a question has no such feature."""
    from botocore.exceptions import ClientError

    try:
        return trial()
    except (ClientError, KeyError):
        return False
