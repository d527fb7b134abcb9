"""Answers that are errors: one table of what each means, for every service and every caller.

A row is *(service, status or code, text) → error, what it says, hint, whether it passes*. The first row that
fits decides. Whether a failure passes by itself is decided here and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from pipeline.core.errors import (
    Archived,
    Conflict,
    Denied,
    OrgkeyError,
    Unreachable,
    Unsupported,
    UsageProblem,
)
from pipeline.providers.text import PLAIN_TO_TLS

ELECTION_SECONDS: Final = 2.0
"""How long to leave a cluster alone that has no leader: an election takes from one to some ten seconds."""


@dataclass(frozen=True, slots=True)
class Said:
    """An answer that is an error.

    Attributes:
        service: ``vault``, ``s3``, ``kms`` or ``sts``.
        where: The server, for messages.
        role: Which of our identities asked.
        setting: The setting with the server's address.
        status: HTTP's.
        code: The service's own code; empty where it has none.
        text: Its words, fit for one line.
        headers: Names in lower case.
    """

    service: str
    where: str
    role: str
    setting: str
    status: int
    code: str
    text: str
    headers: Mapping[str, Any]

    @property
    def named(self) -> str:
        """Code and words, else the status."""
        said = f"{self.code}: {self.text}" if self.text and self.text != self.code else self.code
        return said.removeprefix(": ") or f"status {self.status}"

    @property
    def retry_after(self) -> float | None:
        """The header of that name in seconds (RFC 9110, 10.2.3); a date counts as absent."""
        value = str(self.headers.get("retry-after", "")).strip()
        return min(float(value), 86400.0) if value.isdecimal() and len(value) < 10 else None

    @property
    def skew(self) -> str:
        """By how much this host's clock differs from the server's, where the answer has a date."""
        try:
            server = parsedate_to_datetime(str(self.headers.get("date")))
        except ValueError:
            return ""
        if server.tzinfo is None:  # how RFC 5322's "-0000" is read
            server = server.replace(tzinfo=UTC)
        return f" by {abs((datetime.now(UTC) - server).total_seconds()):.0f} s"


@dataclass(frozen=True, slots=True)
class Row:
    """One meaning.

    Attributes:
        error: What it becomes.
        says: What happened; braces are filled in from :class:`Said`, and ``region``.
        hint: What to do, filled in alike.
        services: Whose answers; empty for all.
        statuses: HTTP's, any of them; empty for any.
        codes: The service's own, any of them; empty for any. With both, either will do.
        words: A pattern that its words have to match, too.
        again: Whether it passes by itself within a run.
        wait: Seconds to leave the server alone where it does not say.
    """

    error: type[OrgkeyError]
    says: str
    hint: str
    services: tuple[str, ...] = ()
    statuses: frozenset[int] = frozenset()
    codes: frozenset[str] = frozenset()
    words: str = ""
    again: bool = False
    wait: float | None = None

    def fits(self, said: Said) -> bool:
        """Whether this is what an answer means."""
        if self.services and said.service not in self.services:
            return False
        if (self.statuses or self.codes) and not (said.status in self.statuses or said.code in self.codes):
            return False
        return not self.words or re.search(self.words, f"{said.code} {said.text}", re.IGNORECASE) is not None


def _of(*codes: str) -> frozenset[str]:
    return frozenset(codes)


_AWS = ("s3", "kms", "sts")
_LATER = "run the same command again later"
_LOOK = "`orgkey doctor` looks at each"
_SERVER_ERRORS = frozenset(range(500, 600))
_ELSEWHERE = (
    frozenset({301, 302, 307, 308}),
    _of(
        "PermanentRedirect",
        "TemporaryRedirect",
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
    ),
)

TABLE: tuple[Row, ...] = (
    # -- on the way ----------------------------------------------------------------------------------
    Row(
        Unreachable,
        "{where} speaks TLS, and was asked without",
        "write https:// in {setting}",
        words=re.escape(PLAIN_TO_TLS),
    ),
    Row(
        Denied,
        "the proxy on the way to {where} wants a login (407)",
        "write its address with user and password into a file, and name that as proxy_file",
        statuses=frozenset({407}),
    ),
    # -- states that somebody has to end, and that pass ----------------------------------------------
    Row(
        Unreachable,
        "{where} is full ({named})",
        "make room there, or raise its quota; then run the same command again",
        statuses=frozenset({507}),
        codes=_of(
            "QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "InsufficientCapacity"
        ),
        again=True,
    ),
    Row(
        Unreachable,
        "{where} is full ({named})",
        "make room there, or raise its quota; then run the same command again",
        words=r"no space left|(storage|disk|drive|backend|volume|bucket).{0,40}\bfull\b|"
        r"(storage|bucket|disk) quota|quota (is )?exceeded for|minimum free drive|insufficient storage|"
        r"StorageFull|QuotaExceeded",
        again=True,
    ),
    Row(
        Unreachable,
        "{where} limits how often it is asked ({named})",
        "wait, or have its rate limit or lease quota raised (`vault list sys/quotas/rate-limit`)",
        ("vault",),
        words=r"(rate limit|lease count) quota exceeded",
        again=True,
        wait=1.0,
    ),
    Row(
        Unreachable,
        "the key-value store at {where} is being upgraded to version 2 ({named})",
        _LATER,
        ("vault",),
        frozenset({400}),
        words=r"Upgrading from non-versioned|(mount|backend) is (being upgraded|not ready)",
        again=True,
        wait=1.0,
    ),
    # -- Vault ---------------------------------------------------------------------------------------
    Row(
        Unreachable,
        "the cluster of {where} has no leader now ({text})",
        "an election takes some seconds: run the same command again; a cluster without most of its servers, "
        "or with them sealed, elects none",
        ("vault",),
        frozenset({500}),
        words="active cluster node|node is not active",
        again=True,
        wait=ELECTION_SECONDS,
    ),
    Row(
        Denied,
        "{where} refuses the {role}'s identity ({named})",
        "check the {role}'s policy and that its token or secret id is still valid",
        ("vault",),
        frozenset({401, 403}),
    ),
    Row(
        UsageProblem,
        "{where} has nothing there ({named})",
        f"check mount, prefix and namespace; {_LOOK}",
        ("vault",),
        frozenset({404}),
    ),
    Row(
        UsageProblem,
        "{where} finds the request too large ({named})",
        "see max_request_size of its listener",
        ("vault",),
        frozenset({413}),
    ),
    Row(
        Unreachable,
        "{where} cannot serve now (status {status}, {named})",
        "check the server's log, then run the same command again",
        ("vault",),
        # 502 to 504 come from a load balancer, which finds the next leader in its own time.
        frozenset({502, 503, 504}),
        again=True,
        wait=ELECTION_SECONDS,
    ),
    Row(
        Unreachable,
        "{where} cannot serve now (status {status}, {named})",
        "check the server's log, then run the same command again",
        ("vault",),
        frozenset({408, 412, 425, 429, 472, 473}) | _SERVER_ERRORS,
        again=True,
    ),
    Row(
        UsageProblem,
        "{where} does not accept the request (status {status}, {named})",
        f"check mount, prefix, key and namespace; {_LOOK}",
        ("vault",),
    ),
    # -- AWS, and what speaks its protocols ----------------------------------------------------------
    Row(
        Denied,
        "this host's clock differs from the server's{skew} ({named})",
        "set the clock, for example with chrony or systemd-timesyncd",
        _AWS,
        codes=_of("RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"),
    ),
    Row(
        Denied,
        "this host's clock differs from the server's{skew} ({named})",
        "set the clock, for example with chrony or systemd-timesyncd",
        _AWS,
        words="Signature expired|Signature not yet current",
    ),
    Row(
        Denied,
        "the {role}'s session credentials have expired ({named})",
        "renew the {role}'s credentials, or give it ones that outlive the run",
        _AWS,
        codes=_of("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"),
    ),
    Row(
        Denied,
        "{where} does not accept the {role}'s credentials ({named})",
        "check the {role}'s access key and secret key, and that they belong to this service",
        _AWS,
        codes=_of(
            "InvalidAccessKeyId",
            "InvalidClientTokenId",
            "UnrecognizedClientException",
            "SignatureDoesNotMatch",
            "InvalidSignatureException",
            "IncompleteSignature",
            "AuthFailure",
            "MissingAuthenticationToken",
            "InvalidToken",  # of a session; some servers other than AWS know none
        ),
    ),
    Row(
        UsageProblem,
        "{where} does not know what it was asked ({named})",
        "a target needs a server with conditional writes (If-None-Match), versions and their listing "
        "(ListObjectVersions), SHA-256 checksums, and Object Lock where lock_mode is set: use another server "
        "or release; `orgkey doctor` asks for each",
        ("s3",),
        frozenset({501}),
        _of("NotImplemented", "XNotImplemented", "MethodNotAllowed"),
    ),
    Row(
        UsageProblem,
        "{where} does not know what it was asked ({named})",
        "check endpoint_url: it is the address of that very service",
        _AWS,
        frozenset({501}),
        _of("UnknownOperationException", "UnsupportedOperationException", "InvalidAction"),
    ),
    Row(
        UsageProblem,
        "the bucket has no Object Lock ({named})",
        "enable Object Lock on the bucket, or take lock_mode out of the configuration",
        ("s3",),
        words=r"missing Object ?Lock ?Configuration|Object ?Lock.{0,40}not (enabled|configured)",
    ),
    Row(
        Archived,
        "it is archived and cannot be read at once",
        "restore it in S3 first (aws s3api restore-object), then run the same command again",
        ("s3",),
        codes=_of("InvalidObjectState"),
    ),
    Row(
        Unsupported,
        "it is encrypted with a key that only its writer has (SSE-C)",
        "copy it with that key to an object without SSE-C, and read that one",
        ("s3",),
        words="Server Side Encryption.{0,60}correct parameters|customer.provided (encryption )?key|SSE-?C\\b",
    ),
    Row(
        Unreachable,
        "the KMS key is pending deletion ({named})",
        "cancel its deletion while there is time (aws kms cancel-key-deletion), then enable it "
        "(aws kms enable-key): its shares open again",
        ("kms", "s3"),
        words="pending (replica )?deletion|PendingDeletion",
    ),
    Row(
        Unreachable,
        "the KMS key is disabled, or not in a state to be used ({named})",
        "enable it (aws kms enable-key): its shares open again; a pending deletion is cancelled first "
        "(aws kms cancel-key-deletion)",
        ("kms", "s3"),
        codes=_of("DisabledException", "KMSInvalidStateException", "KMS.DisabledException"),
    ),
    Row(
        Unreachable,
        "the bucket does not exist at {where}",
        "correct bucket and endpoint_url, or restore the bucket",
        ("s3",),
        codes=_of("NoSuchBucket"),
    ),
    Row(
        UsageProblem,
        "the bucket is in another region{region} ({named})",
        "correct region and endpoint_url",
        ("s3",),
        *_ELSEWHERE,
    ),
    Row(
        UsageProblem,
        "{where} is not of the configured region{region} ({named})",
        "correct region and endpoint_url",
        _AWS,
        *_ELSEWHERE,
    ),
    Row(
        Conflict,
        "something is there already",
        "nothing is overwritten; look with `orgkey list`",
        ("s3",),
        frozenset({412}),
        _of("PreconditionFailed"),
    ),
    Row(
        Unreachable,
        "{where} cannot serve now ({named})",
        _LATER,
        _AWS,
        frozenset({408, 425, 429}) | _SERVER_ERRORS,
        _of(
            "SlowDown",
            "ServiceUnavailable",
            "ServiceUnavailableException",
            "InternalError",
            "InternalFailure",
            "InternalServiceError",
            "KMSInternalException",
            "KeyUnavailableException",
            "DependencyTimeoutException",
            "RequestTimeout",
            "RequestTimeoutException",
            "RequestLimitExceeded",
            "BandwidthLimitExceeded",
            "LimitExceededException",
            "Throttling",
            "ThrottlingException",
            "ThrottledException",
            "TooManyRequestsException",
            "IDPCommunicationError",
            # Two conditional writes at once, or a bucket being changed: S3's 409 goes away by itself.
            "ConditionalRequestConflict",
            "OperationAborted",
            "409",
            "Conflict",
            # Damaged on the way; nothing was stored.
            "BadDigest",
            "XAmzContentSHA256Mismatch",
            "XAmzContentChecksumMismatch",
        ),
        again=True,
    ),
    Row(
        Denied,
        "{where} does not permit this to the {role} ({named})",
        "check the {role}'s policy, the bucket or key policy, and expected_bucket_owner",
        _AWS,
        frozenset({401, 403}),
    ),
    Row(
        Denied,
        "{where} does not permit this to the {role} ({named})",
        "check the {role}'s policy, the bucket or key policy, and expected_bucket_owner",
        _AWS,
        words="^(AccessDenied|NotAuthorized|AllAccessDisabled)",
    ),
    Row(
        UsageProblem,
        "{where} does not accept the request ({named})",
        f"check bucket, key, region and endpoint_url; {_LOOK}",
        _AWS,
    ),
)


def meaning(said: Said) -> Row:
    """The row of the table that an answer falls under."""
    return next(row for row in TABLE if row.fits(said))


def translate(said: Said, what: str) -> OrgkeyError:
    """Make of an answer the error that it means.

    Args:
        said: The answer.
        what: What the call was for.
    """
    row = meaning(said)
    region = said.headers.get("x-amz-bucket-region")
    words = {
        "where": said.where,
        "role": said.role,
        "setting": said.setting,
        "named": said.named,
        "text": said.text,
        "status": said.status,
        "skew": said.skew,
        "region": f", {region}" if region else "",
    }
    message = f"{what}: {row.says.format_map(words)}"
    hint = row.hint.format_map(words)
    if region and row.error is UsageProblem and "{region}" in row.says:
        hint = f'set region = "{region}"'
    if issubclass(row.error, Unreachable):
        wait = row.wait if said.retry_after is None else said.retry_after
        return row.error(message, hint=hint, again=row.again, retry_after=wait)
    return row.error(message, hint=hint)


def told_by_words(service: str, status: int, text: str) -> bool:
    """Whether an answer means what its words say, where others of its status mean something else.

    Args:
        service: Whose answer.
        status: HTTP's.
        text: The words.
    """
    return bool(meaning(Said(service, "", "", "", status, "", text, {})).words)


def passes(said: Said) -> bool:
    """Whether an answer says that the service cannot serve now, and will by itself."""
    row = meaning(said)
    return issubclass(row.error, Unreachable) and row.again
