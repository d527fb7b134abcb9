"""botocore's failures in the program's words.

Imports botocore, so it is itself imported only where a call failed.
"""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import botocore.exceptions as boto

from pipeline.clients import _proxy
from pipeline.clients._text import PLAIN_TO_TLS, one_line
from pipeline.clients._tls_errors import Peer, answered_tls, explain
from pipeline.errors import Archived, Conflict, Denied, OrgkeyError, Unreachable, Unsupported, UsageProblem

if TYPE_CHECKING:
    from pipeline.config import AwsPlace

_SKEW = {"RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"}
_UNKNOWN_IDENTITY = {
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "SignatureDoesNotMatch",
    "InvalidSignatureException",
    "IncompleteSignature",
    "AuthFailure",
    "MissingAuthenticationToken",
    "InvalidToken",  # of a session; some servers other than AWS know none
}
_BUSY = {
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
    # Two conditional writes at once, or a bucket being changed: S3's 409 goes away by itself.
    "ConditionalRequestConflict",
    "OperationAborted",
    # Damaged on the way; nothing was stored.
    "BadDigest",
    "XAmzContentSHA256Mismatch",
    "XAmzContentChecksumMismatch",
}
_REGION = {
    "PermanentRedirect",
    "TemporaryRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "301",
    "307",
}
_KEY_OFF = {"DisabledException", "KMSInvalidStateException", "KMS.DisabledException"}


def code_of(error: boto.ClientError) -> tuple[str, int]:
    """The service's error code and the HTTP status."""
    return (
        str(error.response.get("Error", {}).get("Code", "")),
        int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)),
    )


def translate(error: Exception, what: str, role: str, where: str, place: AwsPlace) -> OrgkeyError:
    """Translate what botocore raised.

    Args:
        error: A ``ClientError`` (the service answered) or ``BotoCoreError`` (it did not, or was not asked).
        what: What the call was for.
        role: Which of our identities made it.
        where: The service's address.
        place: How it is reached.
    """
    if isinstance(error, boto.ClientError):
        return _from_answer(error, what, role, where)
    return _from_connection(error, what, where, place) or _from_botocore(error, what, role)


def is_busy(code: str, status: int) -> bool:
    """Whether an answer says that the service cannot serve now."""
    return code in _BUSY or status in (429, 500, 502, 503, 504)


def of_object(error: boto.ClientError, place: str) -> OrgkeyError | None:
    """Say why an object cannot be read, where that is about how it is stored; ``None`` otherwise.

    Args:
        error: What S3 answered.
        place: What was to be read, and where it is.
    """
    code, _ = code_of(error)
    said = str(error.response.get("Error", {}).get("Message", ""))
    if code == "InvalidObjectState":
        return Archived(
            f"{place} is archived and cannot be read at once",
            hint="restore it in S3 first (aws s3api restore-object), then run the same command again",
            again=False,
        )
    if code == "InvalidRequest" and "Server Side Encryption" in said:
        return Unsupported(
            f"{place} is encrypted with a key that only its writer has (SSE-C)",
            hint="copy it with that key to an object without SSE-C, and read that one",
        )
    return None


def _from_answer(error: boto.ClientError, what: str, role: str, where: str) -> OrgkeyError:
    code, status = code_of(error)
    said = one_line(str(error.response.get("Error", {}).get("Message", "")))
    named = f"{code}: {said}" if said and said != code else code
    headers: dict[str, Any] = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    if (stored := of_object(error, what)) is not None:
        return stored
    if code in _SKEW or "Signature expired" in said or "Signature not yet current" in said:
        return Denied(
            f"{what}: this host's clock differs from the server's{_skew(headers)} ({named})",
            hint="set the clock, for example with chrony or systemd-timesyncd",
        )
    if code in _EXPIRED:
        return Denied(
            f"{what}: the {role}'s session credentials have expired ({named})",
            hint=f"renew the {role}'s credentials, or give it ones that outlive the run",
        )
    if code in _UNKNOWN_IDENTITY:
        return Denied(
            f"{what}: {where} does not accept the {role}'s credentials ({named})",
            hint=f"check the {role}'s access key and secret key, and that they belong to this service",
        )
    if is_busy(code, status) or (status == 409 and code in ("409", "Conflict")):
        return Unreachable(
            f"{what}: {where} cannot serve now ({named})",
            hint="run the same command again later",
            retry_after=_retry_after(headers),
        )
    if code in _KEY_OFF:
        return Unreachable(
            f"{what}: the KMS key is disabled or pending deletion ({named})",
            hint="enable the key, or cancel its deletion",
            again=False,
        )
    if code == "NoSuchBucket":
        return Unreachable(
            f"{what}: the bucket does not exist at {where}",
            hint="correct bucket and endpoint_url, or restore the bucket",
            again=False,
        )
    if code in _REGION:
        region = headers.get("x-amz-bucket-region")
        return UsageProblem(
            f"{what}: the bucket is in another region{f', {region}' if region else ''} ({named})",
            hint=f'set region = "{region}"' if region else "correct region and endpoint_url",
        )
    if status == 407:
        return Denied(
            f"{what}: the proxy on the way to {where} wants a login (407)",
            hint="write its address with user and password into a file, and name that as proxy_file",
        )
    if PLAIN_TO_TLS in said:
        return _speaks_tls(what, where)
    if code == "PreconditionFailed" or status == 412:
        return Conflict(
            f"{what}: something is there already", hint="nothing is overwritten; look with `orgkey list`"
        )
    if status in (401, 403) or code.startswith(("AccessDenied", "NotAuthorized", "AllAccessDisabled")):
        return Denied(
            f"{what}: {where} does not permit this to the {role} ({named})",
            hint=f"check the {role}'s policy, the bucket or key policy, and expected_bucket_owner",
        )
    return UsageProblem(
        f"{what}: {where} does not accept the request ({named or f'status {status}'})",
        hint="check bucket, key, region and endpoint_url; `orgkey doctor` looks at each",
    )


def _from_botocore(error: Exception, what: str, role: str) -> OrgkeyError:
    text = one_line(str(error))
    if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError):
        return Denied(
            f"{what}: there are no credentials for the {role} ({text})",
            hint=f"configure [identity.{role}] aws, or log in with the aws command",
        )
    if isinstance(error, boto.ProfileNotFound | boto.ConfigParseError | boto.ConfigNotFound):
        return UsageProblem(f"{what}: {text}", hint=f"correct [identity.{role}] aws in the configuration")
    if isinstance(error, boto.CredentialRetrievalError | boto.TokenRetrievalError | boto.SSOError):
        return Denied(
            f"{what}: the {role}'s credentials cannot be had ({text})",
            hint="log in again with the aws command",
        )
    return UsageProblem(
        f"{what}: {text}", hint="check bucket, key, region and endpoint_url in the configuration"
    )


def _from_connection(error: Exception, what: str, where: str, place: AwsPlace) -> OrgkeyError | None:
    """A failure below HTTP; ``None`` where it is none."""
    # The address that was really asked: a bucket's own, or STS while credentials are fetched.
    asked = str(getattr(error, "kwargs", {}).get("endpoint_url") or where)
    address = urlsplit(asked)
    server = f"{address.scheme}://{address.netloc}" if address.netloc else where
    if isinstance(error, boto.ProxyConnectionError):
        return _proxy.explain(str(error.kwargs.get("error")), what, where, place, where)
    if isinstance(error, boto.SSLError):
        own = server == (place.endpoint_url or "").rstrip("/")
        proxy = _proxy.effective(place, server)
        return explain(
            str(error),
            what,
            Peer(server, server, "endpoint_url", place.ca_file if own else None, None, proxy),
        )
    if isinstance(error, boto.ConnectTimeoutError | boto.ReadTimeoutError):
        return Unreachable(
            f"{what}: {server} did not answer in time",
            hint="check the network and the service, or raise policy.call_seconds",
            silent=True,
        )
    if isinstance(error, boto.EndpointConnectionError):
        return Unreachable(
            f"{what}: no connection to {server}",
            hint="check that the service runs, its address and the network",
        )
    if isinstance(error, boto.HTTPClientError | boto.IncompleteReadError):
        if answered_tls(server, _proxy.effective(place, server)):
            return _speaks_tls(what, server)
        return Unreachable(
            f"{what}: the connection to {server} broke ({one_line(str(error))})",
            hint="check the network and the service, then run the same command again",
        )
    return None


def _speaks_tls(what: str, where: str) -> OrgkeyError:
    return Unreachable(
        f"{what}: {where} speaks TLS, and was asked without",
        hint="write https:// in endpoint_url",
        again=False,
    )


def _retry_after(headers: dict[str, Any]) -> float | None:
    value = str(headers.get("retry-after", "")).strip()
    return float(value) if value.isdecimal() else None


def _skew(headers: dict[str, Any]) -> str:
    try:
        server = parsedate_to_datetime(str(headers.get("date")))
    except ValueError:
        return ""
    if server.tzinfo is None:  # how RFC 5322's "-0000" is read
        server = server.replace(tzinfo=UTC)
    return f" by {abs((datetime.now(UTC) - server).total_seconds()):.0f} s"
