"""What an identity may do in a bucket, found out without changing anything there.

S3 decides about permission before it looks at what was asked for. So each question names what never was, or
sends what cannot be stored: "no such key" and "bad digest" mean yes, "access denied" means no. Two rights
cannot be asked about without an effect: to put a delete marker, and to bypass GOVERNANCE.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from pipeline.core.digest import sha256
from pipeline.core.errors import Denied, IntegrityProblem, UsageProblem
from pipeline.storage.s3.bucket import Bucket, error_parts

# A bucket without Object Lock answers these in ways of its own.
_ONLY_LOCKED = {"s3:PutObjectRetention", "s3:PutObjectLegalHold"}
_NOT_STORED = {"BadDigest", "InvalidDigest", "XAmzContentChecksumMismatch"}
_BAD_REQUEST = {"BadRequest", "InvalidRequest", "400"}
# Checksums that do not fit, so that the request is refused after its sender was accepted. A server that knows
# no SHA-256 knows Content-MD5, which is older, and stores nothing either.
_WRONG_SHA256 = {"Body": b"probe", "IfNoneMatch": "*", "ChecksumSHA256": sha256(b"other").base64}
_UNSTORABLE = _WRONG_SHA256 | {"ContentMD5": "AAAAAAAAAAAAAAAAAAAAAA=="}


@dataclass(frozen=True, slots=True)
class Right:
    """A right, as one question can show it.

    Attributes:
        does: What it allows, as in "the writer may …".
        action: S3's name for it.
        needs: The identities that cannot do without it.
        harmless: Further identities that may have it.
        operation: The client's method that asks.
        key: What it asks for, with a name that never was.
        more: Its further parameters.
    """

    does: str
    action: str
    needs: tuple[str, ...]
    harmless: tuple[str, ...]
    operation: str
    key: str
    more: Mapping[str, Any]


_RECORD = "{top}{name}.tar"
# Asked of every identity, in any setup.
DELETE_VERSION = Right(
    "delete versions of records", "s3:DeleteObjectVersion", (), (),
    "delete_object", "{top}{name}", {"VersionId": "null"},
)  # fmt: skip
WRITE_ELSEWHERE = Right(
    "write outside its prefix", "s3:PutObject", (), (), "put_object", "{name}.tar", _UNSTORABLE
)
# Asked of identities that have a login of their own.
WRITE = Right("write records", "s3:PutObject", ("writer",), (), "put_object", _RECORD, _UNSTORABLE)
# Stored by a server that knows no SHA-256: only for who tries writing.
WRITE_WRONG_SHA256 = replace(WRITE, more=_WRONG_SHA256)
RIGHTS = (
    Right("read records", "s3:GetObject", ("writer", "driller"), (), "head_object", _RECORD, {}),
    Right(
        "read the ledger", "s3:GetObject", ("auditor",), ("writer", "driller"),
        "head_object", "{top}{name}/ledger/000000000.json", {},
    ),
    WRITE,
    Right(
        "set retention", "s3:PutObjectRetention", ("retention",), ("writer",),
        "put_object_retention", _RECORD, {"Retention": {"Mode": "GOVERNANCE"}},
    ),
    Right(
        "set legal holds", "s3:PutObjectLegalHold", (), (),
        "put_object_legal_hold", _RECORD, {"LegalHold": {"Status": "OFF"}},
    ),
)  # fmt: skip


def probe(bucket: Bucket, what: str, right: Right) -> None:
    """Ask about a right, under a name that never was.

    Raises:
        IntegrityProblem: The server stored what cannot be stored: it looks at no checksum.
        OrgkeyError: As in :meth:`AwsSession.call`.
    """
    import botocore.exceptions

    key = right.key.format(top=bucket.top, name=f"no-such-record-{secrets.token_hex(16)}")
    request = bucket.named() | {"Key": key, **right.more}
    if "Retention" in request:
        until = bucket.session.deadline.clock.now() + timedelta(days=bucket.settings.lock_days or 2)
        request["Retention"] = request["Retention"] | {"RetainUntilDate": until}

    def ask(client: Any) -> None:
        try:
            answer = getattr(client, right.operation)(**request)
        except botocore.exceptions.ClientError as error:
            code, words, _ = error_parts(error)
            # Some servers have a plain 400 for it, with words.
            refused = code in _NOT_STORED or (
                code in _BAD_REQUEST and ("checksum" in words or "content-md5" in words)
            )
            if right.operation != "put_object" or not refused:
                raise
        else:
            if right.operation == "put_object":
                known = "looks at no checksum" if "ContentMD5" in right.more else "knows no SHA-256 checksums"
                gone = _taken_back(client, bucket.named() | {"Key": key}, answer.get("VersionId"))
                raise IntegrityProblem(
                    f"{what}: the server {known}: it stored {bucket.location(key)}, "
                    "whose checksum is another's",
                    hint="use another server or release" + ("" if gone else ", and remove that object"),
                )

    bucket.session.call(ask, "s3", what)


def _taken_back(client: Any, named: Mapping[str, Any], version: str | None) -> bool:
    """Remove the one version that a question has made, where the login may."""
    import botocore.exceptions

    if version is None:
        return False
    try:
        client.delete_object(**named, VersionId=version)
    except botocore.exceptions.ClientError:
        return False
    return True


def may(bucket: Bucket, what: str, right: Right) -> bool:
    """Whether this identity has a right.

    Raises:
        Unreachable, DeadlinePassed: There is no answer.
    """
    try:
        probe(bucket, what, right)
    except Denied:
        return False
    except (IntegrityProblem, UsageProblem):
        return True  # what was asked for does not exist, so the asking was permitted
    return True


def deviations(bucket: Bucket, what: str) -> Iterator[tuple[Right, bool]]:
    """Every right that the identity lacks (``False``), or has and should not have (``True``).

    Raises:
        Unreachable, DeadlinePassed: There is no answer.
    """
    role = bucket.session.role
    for right in RIGHTS:
        if right.action in _ONLY_LOCKED and bucket.settings.lock_mode is None:
            continue
        if role in right.harmless:
            continue
        has = may(bucket, what, right)
        if has != (role in right.needs):
            yield right, has
