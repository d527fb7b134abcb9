"""What botocore raises, of a call or of a login, as the table of failures asks.

Imports botocore, so it is itself imported only where a call failed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import botocore.exceptions as boto

from pipeline.core.errors import OrgkeyError
from pipeline.providers import failures, unanswered
from pipeline.providers.text import one_line
from pipeline.providers.wire import NoAnswer

if TYPE_CHECKING:
    from pipeline.config import AwsPlace


@dataclass(frozen=True, kw_only=True)
class AwsFailure(failures.CallFailure):
    """What botocore raised without the answer of a service, or of a login.

    Attributes:
        error: What it is.
        session: botocore's session, ``None`` where it could not be opened.
        of_login: Whether it was raised by the chain of credentials.
    """

    error: Exception
    session: Any = None
    of_login: bool = False

    @property
    def passes(self) -> bool:
        """Whether a refused login will be accepted later, without a change."""
        return isinstance(self.error, boto.ClientError) and failures.passes(
            _answer(self.error, "sts", self.role, self.where)
        )

    @property
    def kind_named(self) -> str:
        """The class of what was raised."""
        return type(self.error).__name__

    @property
    def filename(self) -> str:
        """The file that could not be read."""
        return getattr(self.error, "filename", None) or "a file of the login"

    @property
    def strerror(self) -> str:
        """Why not."""
        return getattr(self.error, "strerror", None) or str(self.error)

    @property
    def token_file(self) -> str:
        """The file with a workload's token."""
        name = "web_identity_token_file"
        return self._setting(name) or os.environ.get(f"AWS_{name.upper()}") or name

    @property
    def role_arn(self) -> str:
        """The role that was to be assumed."""
        return self._setting("role_arn") or "role_arn"

    @property
    def profile_name(self) -> str:
        """The profile in use."""
        name = self.session.get_config_variable("profile") if self.session is not None else None
        return f" {one_line(str(name))}" if name else ""

    @property
    def profile_option(self) -> str:
        """The option that names it to the aws command."""
        return f" --profile{self.profile_name}" if self.profile_name else ""

    def _setting(self, name: str) -> str | None:
        try:
            value = self.session.get_scoped_config().get(name)
        except (boto.BotoCoreError, AttributeError):
            return None
        return one_line(str(value)) if value else None


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
        return unanswered.explain(
            error, what, where=server, address=server, setting="endpoint_url", place=place,
            ca_file=place.ca_file if own else None, seconds=seconds,
        )  # fmt: skip
    code, text = "", one_line(str(error))
    if isinstance(error, boto.ClientError):
        answer = _answer(error, service, role, where)
        if not of_login:
            return failures.explain(answer, what)
        code = error.operation_name
        text = f"{code}, {answer.named}"
    kinds = failures.class_names(error)
    failure = AwsFailure(
        "aws", where, service, role, code=code, text=text, kinds=kinds,
        error=error, session=session, of_login=of_login,
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
