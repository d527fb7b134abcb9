"""What `doctor` should know about a target in S3; asks, and stores nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pipeline.core.errors import Code, Denied, UsageProblem
from pipeline.core.finding import Finding, Level
from pipeline.core.isolation import isolated
from pipeline.storage.s3 import rights as _s3_rights

if TYPE_CHECKING:
    from pipeline.storage.s3.target import S3Target

_EVERYONE = ("AllUsers", "AuthenticatedUsers")


def check(target: S3Target) -> list[Finding]:
    """Look at the bucket, its versioning, its lock, who else may read it, and the identity's rights."""
    what = f"target {target.name}, check"
    findings: list[Finding] = []

    def found(look: Callable[..., Iterator[Finding]]) -> None:
        findings.extend(look(target, what))  # what was found before it breaks stays

    for look in (_bucket, _abilities, _rights, _versioning, _lock, _public, _administration):
        error = isolated(partial(found, look), what)
        if error is not None:
            findings.append(_finding(target, Level.FAIL, error.message, error.hint, error.code))
            if look is _bucket:
                return findings  # nothing further can be asked
    return findings or [
        _finding(target, Level.OK, f"{target.session.role}: reachable, permitted, safely set up")
    ]


def _finding(target: S3Target, level: Level, message: str, hint: str = "", code: Code = Code.OK) -> Finding:
    return Finding(level, f"target {target.name}", message, hint, code)


def _ask(target: S3Target, what: str, operation: str, **more: Any) -> Mapping[str, Any]:
    def ask(client: Any) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = getattr(client, operation)(**target.bucket(), **more)
        return answer

    return target.session.call(ask, "s3", what)


def _ask_if_told(
    target: S3Target, what: str, operation: str, absent: tuple[str, ...]
) -> Mapping[str, Any] | None:
    """Ask a question that small policies and small servers do not answer.

    Args:
        target: The target.
        what: As in ``AwsSession.call``.
        operation: The client's method.
        absent: Error codes that mean "nothing of the kind is configured".

    Returns:
        The answer, empty where nothing is configured, ``None`` where there is no answer.
    """
    import botocore.exceptions

    def ask(client: Any) -> Mapping[str, Any] | None:
        try:
            answer: Mapping[str, Any] = getattr(client, operation)(**target.bucket())
        except botocore.exceptions.ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in absent:
                return {}
            if code in ("NotImplemented", "MethodNotAllowed"):
                return None
            raise
        return answer

    try:
        return target.session.call(ask, "s3", what)
    except Denied:
        return None


def _bucket(target: S3Target, what: str) -> Iterator[Finding]:
    endpoint = urlsplit(target.session.client("s3").meta.endpoint_url)
    if endpoint.scheme == "http" and endpoint.hostname not in ("127.0.0.1", "::1", "localhost"):
        yield _finding(
            target,
            Level.WARN,
            f"{endpoint.geturl()} is not encrypted: anyone on the way sees the records",
            "use an https endpoint, with ca_file for an authority of your own",
        )
    if target.settings.expected_bucket_owner is None and target.settings.endpoint_url is None:
        yield _finding(
            target,
            Level.WARN,
            "expected_bucket_owner is not set: a bucket of the same name in another account would do",
            "set it to the 12 digits of the account that owns the bucket",
        )
    # The listing is what recovers records after a conflict or a delete marker, so it is the first question.
    prefix = target.settings.prefix
    _ask(target, what, "list_object_versions", MaxKeys=1, Prefix=f"{prefix}/" if prefix else "")


def _versioning(target: S3Target, what: str) -> Iterator[Finding]:
    answer = _ask_if_told(target, what, "get_bucket_versioning", ("VersioningNotConfigured",))
    if answer is not None and answer.get("Status") != "Enabled":
        yield _finding(
            target,
            Level.FAIL,
            f"bucket {target.settings.bucket} keeps no versions: a record that is overwritten is gone",
            "enable versioning: aws s3api put-bucket-versioning",
            Code.USAGE,
        )


def _lock(target: S3Target, what: str) -> Iterator[Finding]:
    missing = (
        "ObjectLockConfigurationNotFoundError",
        "ObjectLockConfigurationNotFound",
        "NoSuchObjectLockConfiguration",
    )
    answer = _ask_if_told(target, what, "get_object_lock_configuration", missing)
    if answer is None:
        return
    configuration = answer.get("ObjectLockConfiguration") or {}
    enabled = configuration.get("ObjectLockEnabled") == "Enabled"
    wanted = target.settings.lock_mode
    if wanted is not None and not enabled:
        yield _finding(
            target,
            Level.FAIL,
            f"lock_mode is {wanted}, but bucket {target.settings.bucket} has no Object Lock",
            "enable Object Lock on the bucket, or take lock_mode out of the configuration",
            Code.USAGE,
        )
    default = (configuration.get("Rule") or {}).get("DefaultRetention")
    if wanted is None and not default:
        yield _finding(
            target,
            Level.WARN,
            f"records in bucket {target.settings.bucket} are not locked: an administrator can delete them",
            "set lock_mode and lock_days" if enabled else "use a bucket with Object Lock, and set lock_mode",
        )


def _public(target: S3Target, what: str) -> Iterator[Finding]:
    bucket = target.settings.bucket
    status = _ask_if_told(target, what, "get_bucket_policy_status", ("NoSuchBucketPolicy",))
    acl = _ask_if_told(target, what, "get_bucket_acl", ())
    grantees = [str(grant.get("Grantee", {}).get("URI", "")) for grant in (acl or {}).get("Grants") or ()]
    if (status or {}).get("PolicyStatus", {}).get("IsPublic") or any(
        uri.endswith(_EVERYONE) for uri in grantees
    ):
        yield _finding(
            target,
            Level.FAIL,
            f"bucket {bucket} is public",
            "block public access: aws s3api put-public-access-block",
            Code.USAGE,
        )


def _rights(target: S3Target, what: str) -> Iterator[Finding]:
    """Compare what the identity may do with what its role needs; nothing is changed by the asking."""
    role = target.session.role
    if role == "administrator":
        return
    if _s3_rights.may(target, what, _s3_rights.DELETE_VERSION):
        yield _surplus(target, _s3_rights.DELETE_VERSION)
    if not target.session.apart:
        return  # one login for several roles: it needs what any of them needs
    for right, has in _s3_rights.deviations(target, what):
        if has:
            yield _surplus(target, right)
        else:
            yield _finding(
                target,
                Level.FAIL,
                f"the {role} may not {right.does}: it lacks {right.action}",
                f"allow {right.action} to the {role} in the bucket's policy, and the use of the bucket's key",
                Code.DENIED,
            )
    if target.settings.prefix and _s3_rights.may(target, what, _s3_rights.WRITE_ELSEWHERE):
        elsewhere = _s3_rights.WRITE_ELSEWHERE
        yield _finding(
            target,
            Level.WARN,
            f"the {role} may {elsewhere.does}",
            f"allow {elsewhere.action} to the {role} below {target.settings.prefix}/ only",
        )


def _abilities(target: S3Target, what: str) -> Iterator[Finding]:
    """Whether the server knows what a write asks for, found out by one that it cannot store."""
    if target.session.role != "writer":
        return
    try:
        _s3_rights.probe(target, what, _s3_rights.WRITE)
    except Denied:
        return  # said below
    except UsageProblem as error:
        yield _finding(target, Level.FAIL, error.message, error.hint, error.code)


def _surplus(target: S3Target, right: _s3_rights.Right) -> Finding:
    role = target.session.role
    return _finding(
        target, Level.FAIL, f"the {role} may {right.does}", f"deny {right.action} to the {role}", Code.USAGE
    )


def _administration(target: S3Target, what: str) -> Iterator[Finding]:
    if target.settings.endpoint_url is not None:
        return  # other servers have no STS
    arn = str(target.session.call(lambda client: client.get_caller_identity()["Arn"], "sts", what))
    if arn.endswith(":root"):
        yield _finding(
            target,
            Level.FAIL,
            f"the {target.session.role} is the account's root user ({arn})",
            "give it an IAM role with a policy of its own",
            Code.USAGE,
        )
