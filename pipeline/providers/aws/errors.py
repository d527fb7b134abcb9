"""What botocore raises, of a call or of a login, as the table of failures asks.

Imports botocore, so it is itself imported only where a call failed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import botocore.exceptions as boto

from pipeline.core.errors import OrgkeyError
from pipeline.providers import failures, unanswered
from pipeline.providers.text import one_line
from pipeline.providers.wire import NoAnswer

if TYPE_CHECKING:
    from pipeline.config import AwsPlace


def facts(error: Exception, session: Any, *, of_login: bool, passes: bool) -> Mapping[str, Any]:
    """What the table of failures can name of what botocore raised itself.

    Args:
        error: What it is.
        session: botocore's session, ``None`` where it could not be opened.
        of_login: Whether it was raised by the chain of credentials.
        passes: Whether a refused login will be accepted later, without a change.
    """

    def setting(name: str) -> str | None:
        try:
            value = session.get_scoped_config().get(name)
        except (boto.BotoCoreError, AttributeError):
            return None
        return one_line(str(value)) if value else None

    def profile(before: str) -> str:
        name = session.get_config_variable("profile") if session is not None else None
        return f"{before} {one_line(str(name))}" if name else ""

    token = "web_identity_token_file"  # noqa: S105 - a setting's name
    return {
        "of_login": of_login,
        "passes": passes,
        "kind_named": type(error).__name__,
        "filename": getattr(error, "filename", None) or "a file of the login",
        "strerror": getattr(error, "strerror", None) or str(error),
        "token_file": lambda: setting(token) or os.environ.get(f"AWS_{token.upper()}") or token,
        "role_arn": lambda: setting("role_arn") or "role_arn",
        "profile_name": lambda: profile(""),
        "profile_option": lambda: profile(" --profile"),
    }


def translate(
    error: Exception,
    what: str,
    *,
    role: str,
    service: str,
    where: str,
    place: AwsPlace,
    session: Any = None,
    of_login: bool = False,
    seconds: float = 3.0,
) -> OrgkeyError:
    """Translate whatever a call, or the chain of credentials, raised.

    Args:
        error: botocore's, the wire's, or whatever the reading of an answer met.
        what: What the call was for.
        role: Which of our identities made it.
        service: Which service.
        where: Its address.
        place: How it is reached.
        session: botocore's session.
        of_login: Whether the chain raised it.
        seconds: Time for a second look at a server's certificate.
    """
    if isinstance(error, NoAnswer):
        # The address that was really asked: a bucket's own, or STS while credentials are fetched.
        url = urlsplit(error.url)
        server = f"{url.scheme}://{url.netloc}"
        own = server == (place.endpoint_url or "").rstrip("/")
        route = unanswered.Route(server, place, place.ca_file if own else None, seconds=seconds)
        return unanswered.explain(error, what, route, where=server, setting="endpoint_url")
    code, text, passes = "", one_line(str(error)), False
    if isinstance(error, boto.ClientError):
        answer = _answer(error, service, role, where)
        if not of_login:
            return failures.explain(answer, what)
        code, passes = error.operation_name, failures.passes(answer)
        text = f"{code}, {answer.named}"
    failure = failures.CallFailure(
        "aws", where, service, role, code=code, text=text, kinds=failures.class_names(error),
        facts=facts(error, session, of_login=of_login, passes=passes),
    )  # fmt: skip
    return failures.explain(failure, what)


def _answer(error: boto.ClientError, service: str, role: str, where: str) -> failures.CallFailure:
    details: dict[str, Any] = error.response.get("Error") or {}
    metadata: dict[str, Any] = error.response.get("ResponseMetadata") or {}
    return failures.CallFailure(
        "answer",
        where,
        service,
        role,
        setting="endpoint_url",
        status=int(metadata.get("HTTPStatusCode") or 0),
        code=one_line(str(details.get("Code") or ""), 80),
        text=one_line(str(details.get("Message") or "")),
        headers=metadata.get("HTTPHeaders") or {},
    )
