"""What botocore makes of answers and of its own settings, in the program's words.

Imports botocore, so it is itself imported only where a call failed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import botocore.exceptions as boto

from pipeline.core.errors import Denied, OrgkeyError, UsageProblem
from pipeline.providers import answers as _answers
from pipeline.providers import broken as _broken
from pipeline.providers import proxy as _proxy
from pipeline.providers.text import one_line
from pipeline.providers.tls.errors import Peer
from pipeline.providers.wire import Broken

if TYPE_CHECKING:
    from pipeline.config import AwsPlace


def said(error: boto.ClientError, service: str, role: str, where: str) -> _answers.Said:
    """What an answer says."""
    told: dict[str, Any] = error.response.get("Error") or {}
    about: dict[str, Any] = error.response.get("ResponseMetadata") or {}
    return _answers.Said(
        service=service,
        where=where,
        role=role,
        setting="endpoint_url",
        status=int(about.get("HTTPStatusCode") or 0),
        code=one_line(str(told.get("Code") or ""), 80),
        text=one_line(str(told.get("Message") or "")),
        headers=about.get("HTTPHeaders") or {},
    )


def translate(
    error: Exception, what: str, role: str, service: str, where: str, place: AwsPlace, seconds: float = 3.0
) -> OrgkeyError:
    """Translate whatever a call raised.

    Args:
        error: botocore's, the wire's, or whatever the reading of an answer met.
        what: What the call was for.
        role: Which of our identities made it.
        service: Which service.
        where: Its address.
        place: How it is reached.
        seconds: Time for a second look at a server's certificate.
    """
    if isinstance(error, boto.ClientError):
        return _answers.translate(said(error, service, role, where), what)
    if isinstance(error, Broken):
        # The address that was really asked: a bucket's own, or STS while credentials are fetched.
        address = urlsplit(error.url)
        server = f"{address.scheme}://{address.netloc}"
        own = server == (place.endpoint_url or "").rstrip("/")
        proxy = _proxy.effective(place, error.url)
        peer = Peer(server, server, "endpoint_url", place.ca_file if own else None, None, proxy, seconds)
        return _broken.translate(error, what, peer, place)
    text = one_line(str(error))
    if isinstance(error, ValueError) and "Invalid endpoint" in text:
        return UsageProblem(f"{what}: {text}", hint="correct endpoint_url")
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
    if not isinstance(error, boto.BotoCoreError) or isinstance(error, _UNREADABLE):
        # Of a shape that neither botocore nor the caller expects, whatever it is.
        return _broken.foreign(what, where, f"it cannot be read ({type(error).__name__})")
    return UsageProblem(
        f"{what}: {text}", hint="check bucket, key, region and endpoint_url in the configuration"
    )


_UNREADABLE: tuple[type[Exception], ...] = (
    boto.ResponseStreamingError,
    boto.IncompleteReadError,
    boto.UnknownServiceError,
)
