"""What AWS's login services answer, for a scripted server: credentials that the test chooses."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
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


def decoded(told: dict[str, str], name: str) -> str:
    """A part of the request to STS that is sent to Vault's ``aws`` login."""
    return base64.b64decode(told[f"iam_request_{name}"]).decode()


def signature_holds(told: dict[str, str], region: str, access: str, secret: str) -> bool:
    """Signature Version 4, as the IAM user guide describes it; apart from what botocore does."""
    headers = {name.lower(): value for name, (value,) in json.loads(decoded(told, "headers")).items()}
    scheme, _, rest = headers["authorization"].partition(" ")
    parts = dict(item.strip().split("=", 1) for item in rest.split(","))
    names = parts["SignedHeaders"].split(";")
    assert scheme == "AWS4-HMAC-SHA256"
    # Vault demands that these are signed.
    assert {"host", "x-amz-date"} <= set(names)
    assert ("x-vault-aws-iam-server-id" in headers) == ("x-vault-aws-iam-server-id" in names)
    canonical = "\n".join(
        [
            told["iam_http_request_method"],
            "/",
            "",
            *(f"{name}:{headers[name].strip()}" for name in names),
            "",
            ";".join(names),
            hashlib.sha256(decoded(told, "body").encode()).hexdigest(),
        ]
    )
    date = headers["x-amz-date"]
    scope = f"{date[:8]}/{region}/sts/aws4_request"
    if parts["Credential"] != f"{access}/{scope}":
        return False
    text = f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{secret}".encode()
    for word in scope.split("/"):
        key = hmac.new(key, word.encode(), hashlib.sha256).digest()
    return hmac.compare_digest(parts["Signature"], hmac.new(key, text.encode(), hashlib.sha256).hexdigest())
