"""What botocore raises, of a call or of a login, as the table of failures asks.

Imports botocore, so it is itself imported only where a call failed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import botocore.exceptions as boto

from pipeline.providers import failures
from pipeline.providers.text import one_line


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


def refusal(error: boto.ClientError, service: str, role: str, where: str) -> failures.CallFailure:
    """What a service answered that refused a call."""
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
