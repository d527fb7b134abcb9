"""Failures of AWS logins, that is of botocore's chain of credentials, in the program's words.

Imports botocore, so it is itself imported only where a login failed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import botocore.exceptions as boto

from pipeline.core.errors import Denied, OrgkeyError, Unreachable, UsageProblem
from pipeline.providers import answers as _answers
from pipeline.providers.aws.errors import said, translate
from pipeline.providers.text import one_line
from pipeline.providers.wire import Broken

if TYPE_CHECKING:
    from pipeline.config import AwsPlace


def translate_login(error: Exception, what: str, role: str, session: Any, place: AwsPlace) -> OrgkeyError:
    """Translate what the chain raised.

    Args:
        error: Of botocore's, or of Python's where botocore lets one through.
        what: What the login was for.
        role: Which of our identities.
        session: botocore's session, ``None`` when it could not be opened.
        place: The service that the login was for; its proxy is also the login's.
    """
    text = one_line(str(error))
    if isinstance(error, boto.ClientError):
        return _refused(error, what, role, session)
    if isinstance(error, boto.SSOError | boto.TokenRetrievalError):
        return Denied(
            f"{what}: the {role}'s single sign-on at AWS is over, or never was ({text})",
            hint=f"log in with `aws sso login{_profile(session)}`; unattended jobs need another login",
        )
    if isinstance(error, boto.CredentialRetrievalError):
        return Denied(
            f"{what}: the {role}'s credentials cannot be had ({text})", hint=_hint_for(text, session)
        )
    if isinstance(error, boto.InvalidConfigError | boto.UnknownCredentialError | boto.NoRegionError):
        return UsageProblem(
            f"{what}: the {role}'s AWS profile cannot be used ({text})",
            hint="correct the profile in the files of [identity.*.aws], or in ~/.aws",
        )
    if isinstance(error, boto.BotoCoreError | Broken):  # some are an OSError as well
        return translate(error, what, role, "sts", "AWS's login service", place)
    if isinstance(error, OSError):
        return UsageProblem(
            f"{what}: cannot read {error.filename or 'a file of the login'}, which the {role}'s AWS login "
            f"needs: {error.strerror or error}",
            hint="correct that file's owner and permissions, or the setting that names it "
            f"(web_identity_token_file, AWS_WEB_IDENTITY_TOKEN_FILE, [identity.{role}] aws)",
        )
    return Denied(
        f"{what}: the {role}'s credentials cannot be used ({text})",
        hint="check what the profile's source of credentials gives, above all the time of expiry",
    )


def _refused(error: boto.ClientError, what: str, role: str, session: Any) -> OrgkeyError:
    told = said(error, "sts", role, "AWS's login service")
    named = f"{error.operation_name}, {told.named}"
    if _answers.passes(told):
        return Unreachable(
            f"{what}: AWS cannot log the {role} in now ({named})", hint="run the same command again later"
        )
    if error.operation_name == "AssumeRoleWithWebIdentity":
        file = _setting(session, "web_identity_token_file") or os.environ.get("AWS_WEB_IDENTITY_TOKEN_FILE")
        hint = (
            f"check the role's trust policy (issuer, audience, subject), and that the token in "
            f"{file or 'web_identity_token_file'} is renewed before it expires"
        )
    elif error.operation_name == "AssumeRole":
        arn = _setting(session, "role_arn") or "role_arn"
        hint = f"check {arn}, its trust policy, and the right sts:AssumeRole of the source profile"
    else:
        hint = f"log in with `aws sso login{_profile(session)}`; check role and account of the profile"
    return Denied(f"{what}: AWS does not log the {role} in ({named})", hint=hint)


def _hint_for(text: str, session: Any) -> str:
    if "credential_process" in text or "custom-process" in text:
        return f"run the credential_process of the profile{_profile(session, ' ')} by hand"
    if "mfa_serial" in text:
        return "use a role without a second factor for jobs, or session credentials in credentials_file"
    return "log in again with the aws command"


def _setting(session: Any, name: str) -> str | None:
    """A setting of the profile in use."""
    try:
        value = session.get_scoped_config().get(name)
    except (boto.BotoCoreError, AttributeError):
        return None
    return one_line(str(value)) if value else None


def _profile(session: Any, option: str = " --profile ") -> str:
    name = session.get_config_variable("profile") if session is not None else None
    return f"{option}{one_line(str(name))}" if name else ""
