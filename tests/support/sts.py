"""What AWS's login services answer, for a scripted server: credentials that the test chooses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs

from tests.support.scripted_server import Answer, Asked

_WHOLE = """<{op}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{op}Result>
<Credentials><AccessKeyId>{access}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>
<SessionToken>session-token</SessionToken><Expiration>{ends}</Expiration></Credentials>
<AssumedRoleUser><Arn>{arn}</Arn><AssumedRoleId>AROA:orgkey</AssumedRoleId></AssumedRoleUser>
</{op}Result><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></{op}Response>"""
_ERROR = """<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>
<Code>{code}</Code><Message>{text}</Message></Error><RequestId>r</RequestId></ErrorResponse>"""


def form(asked: Asked) -> dict[str, str]:
    """The parameters of a request to STS."""
    return {name: values[0] for name, values in parse_qs(asked.body.decode()).items()}


def stamp(seconds: float) -> str:
    """A moment that many seconds from now, as AWS writes it."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def credentials(asked: Asked, access: str, secret: str, *, seconds: float = 3600) -> Answer:
    """The answer of AssumeRole and AssumeRoleWithWebIdentity."""
    told = form(asked)
    text = _WHOLE.format(
        op=told["Action"], access=access, secret=secret, ends=stamp(seconds), arn=told["RoleArn"]
    )
    return Answer(body=text.encode(), content_type="text/xml")


def refusal(code: str, text: str = "told so", status: int = 403) -> Answer:
    """An error of STS."""
    return Answer(status, _ERROR.format(code=code, text=text).encode(), content_type="text/xml")
