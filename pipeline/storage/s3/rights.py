"""What an identity may do in a bucket, found out without changing anything there.

S3 decides about permission before it looks at what was asked for. So each question names what never was, or
sends what cannot be stored: "no such key" and "bad digest" mean yes, "access denied" means no. Two rights
cannot be asked about without an effect: to put a delete marker, and to bypass GOVERNANCE.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pipeline.core.digest import sha256
from pipeline.core.errors import Denied, UsageProblem

if TYPE_CHECKING:
    from pipeline.storage.s3.target import S3Target

# A bucket without Object Lock answers these in ways of its own.
_ONLY_LOCKED = {"s3:PutObjectRetention", "s3:PutObjectLegalHold"}
_NOT_STORED = {"BadDigest", "InvalidDigest", "XAmzContentChecksumMismatch"}


@dataclass(frozen=True, slots=True)
class Right:
    """A right, as one question can show it.

    Attributes:
        does: What it allows, as in "the writer may …".
        action: S3's name for it.
        needs: The identities that cannot do without it.
        harmless: Further identities that may have it.
        ask: Asks; given the target and a name that never was.
    """

    does: str
    action: str
    needs: frozenset[str]
    harmless: frozenset[str]
    ask: Callable[[S3Target, str], Callable[[Any], Any]]


def _read(target: S3Target, name: str) -> Callable[[Any], Any]:
    return lambda client: client.head_object(**target.bucket(), Key=f"{_below(target)}{name}.tar")


def _read_ledger(target: S3Target, name: str) -> Callable[[Any], Any]:
    key = f"{_below(target)}{name}/ledger/000000000.json"
    return lambda client: client.head_object(**target.bucket(), Key=key)


def _write(target: S3Target, name: str) -> Callable[[Any], Any]:
    return _put(target, f"{_below(target)}{name}.tar")


def _write_elsewhere(target: S3Target, name: str) -> Callable[[Any], Any]:
    return _put(target, f"{name}.tar")


def _put(target: S3Target, key: str) -> Callable[[Any], Any]:
    """Write something whose checksum does not fit, so that it is refused after its sender was accepted."""
    import botocore.exceptions

    other = base64.b64encode(sha256(b"other").raw).decode()

    def put(client: Any) -> None:
        try:
            client.put_object(
                **target.bucket(), Key=key, Body=b"probe", IfNoneMatch="*", ChecksumSHA256=other
            )
        except botocore.exceptions.ClientError as error:
            if error.response.get("Error", {}).get("Code") not in _NOT_STORED:
                raise

    return put


def _retain(target: S3Target, name: str) -> Callable[[Any], Any]:
    until = target.session.deadline.clock.now() + timedelta(days=target.settings.lock_days or 2)
    return lambda client: client.put_object_retention(
        **target.bucket(),
        Key=f"{_below(target)}{name}.tar",
        Retention={"Mode": "GOVERNANCE", "RetainUntilDate": until},
    )


def _hold(target: S3Target, name: str) -> Callable[[Any], Any]:
    return lambda client: client.put_object_legal_hold(
        **target.bucket(), Key=f"{_below(target)}{name}.tar", LegalHold={"Status": "OFF"}
    )


def _delete_version(target: S3Target, name: str) -> Callable[[Any], Any]:
    return lambda client: client.delete_object(
        **target.bucket(), Key=f"{_below(target)}{name}", VersionId="null"
    )


def _of(*names: str) -> frozenset[str]:
    return frozenset(names)


# Asked of every identity, in any setup.
DELETE_VERSION = Right("delete versions of records", "s3:DeleteObjectVersion", _of(), _of(), _delete_version)
WRITE_ELSEWHERE = Right("write outside its prefix", "s3:PutObject", _of(), _of(), _write_elsewhere)
# Asked of identities that have a login of their own.
WRITE = Right("write records", "s3:PutObject", _of("writer"), _of(), _write)
RIGHTS = (
    Right("read records", "s3:GetObject", _of("writer", "driller"), _of(), _read),
    Right("read the ledger", "s3:GetObject", _of("auditor"), _of("writer", "driller"), _read_ledger),
    WRITE,
    Right("set retention", "s3:PutObjectRetention", _of("retention"), _of("writer"), _retain),
    Right("set legal holds", "s3:PutObjectLegalHold", _of(), _of(), _hold),
)


def probe(target: S3Target, what: str, right: Right) -> None:
    """Ask about a right, under a name that never was.

    Raises:
        OrgkeyError: As in :meth:`AwsSession.call`.
    """
    target.session.call(right.ask(target, f"no-such-record-{secrets.token_hex(16)}"), "s3", what)


def may(target: S3Target, what: str, right: Right) -> bool:
    """Whether this identity has a right.

    Raises:
        Unreachable, DeadlinePassed: There is no answer.
    """
    try:
        probe(target, what, right)
    except Denied:
        return False
    except UsageProblem:
        return True  # what was asked for does not exist, so the asking was permitted
    return True


def deviations(target: S3Target, what: str) -> Iterator[tuple[Right, bool]]:
    """Every right that the identity lacks (``False``), or has and should not have (``True``).

    Raises:
        Unreachable, DeadlinePassed: There is no answer.
    """
    role = target.session.role
    for right in RIGHTS:
        if right.action in _ONLY_LOCKED and target.settings.lock_mode is None:
            continue
        if role in right.harmless:
            continue
        has = may(target, what, right)
        if has != (role in right.needs):
            yield right, has


def _below(target: S3Target) -> str:
    prefix = target.settings.prefix
    return f"{prefix}/" if prefix else ""
