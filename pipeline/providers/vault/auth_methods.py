"""The ways to log in to Vault that give a fresh token, one function each."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pipeline.providers.credentials import read_secret
from pipeline.providers.text import one_line
from pipeline.providers.tls.files import day, read_certificate

if TYPE_CHECKING:
    from pipeline.config.identities import VaultIdentity
    from pipeline.core.secret import Secret
    from pipeline.providers.aws.session import SignedRequest


@dataclass(frozen=True, slots=True)
class Attempt:
    """One login that can be made.

    Attributes:
        called: What messages call the way.
        body: What is posted to the method's ``login``.
        hint: What to look at when the server refuses.
    """

    called: str
    body: Callable[[], dict[str, Any]]
    hint: str


Signs = Callable[["VaultIdentity"], "SignedRequest"]


def prepare(identity: VaultIdentity, sign: Signs) -> Attempt | None:
    """Read what the login needs, afresh each time: credentials on disk are renewed by others.

    Args:
        identity: How to log in.
        sign: Makes the request by which AWS says who we are.

    Returns:
        ``None`` for an identity that has only a token.

    Raises:
        UsageProblem: A file cannot be read, or is empty.
    """
    if identity.way == "approle":
        return _approle(identity)
    if identity.way in ("kubernetes", "jwt"):
        return _jwt(identity)
    if identity.way == "aws":
        return _aws(identity, sign(identity))
    return _certificate(identity) if identity.way == "cert" else None


def _approle(identity: VaultIdentity) -> Attempt:
    role_id = read_secret(identity.role_id_file, "role id", public=True)
    secret_id = read_secret(identity.secret_id_file, "secret id")
    return Attempt(
        "AppRole",
        lambda: {"role_id": role_id.text(), "secret_id": secret_id.text()},
        f"make a new secret id for the role; check {identity.role_id_file} and {identity.secret_id_file}",
    )


def _jwt(identity: VaultIdentity) -> Attempt:
    """Kubernetes' and any other issuer's tokens are sent alike; the server checks them differently."""
    token = read_secret(identity.token_of_workload, "JSON web token")
    return Attempt(
        "Kubernetes" if identity.way == "kubernetes" else "JWT",
        lambda: {"role": identity.role, "jwt": token.text()},
        f"check the role {identity.role} at auth/{identity.mounted} (it must exist, and accept this issuer, "
        f"subject and audience), and the token in {identity.token_of_workload}{_claims(token)}",
    )


def _aws(identity: VaultIdentity, signed: SignedRequest) -> Attempt:
    """The server sends the request on to STS, and takes whom that names (Vault's API, "AWS auth method")."""

    def body() -> dict[str, Any]:
        headers = json.dumps({name: [value] for name, value in signed.headers.items()})
        texts = {"url": signed.url, "body": signed.body, "headers": headers}
        encoded = {
            f"iam_request_{name}": base64.b64encode(text.encode()).decode() for name, text in texts.items()
        }
        return {"role": identity.role, "iam_http_request_method": "POST", **encoded}

    return Attempt(
        "AWS",
        body,
        f"check the role {identity.role} at auth/{identity.mounted} (it must exist, and bind this IAM "
        f"principal), that sts_endpoint and sts_region there fit {signed.url}, and that "
        f"iam_server_id_header_value there is server_id ({identity.server_id or 'not set'})",
    )


def _certificate(identity: VaultIdentity) -> Attempt:
    named = f"the role {identity.role}" if identity.role else "a role"
    shown = read_certificate(identity.client_cert_file or "")
    until = f", valid until {day(shown.ends)}" if shown else ""
    return Attempt(
        "certificate",
        lambda: {"name": identity.role} if identity.role else {},
        f"{named} at auth/{identity.mounted} must accept the certificate in "
        f"{identity.client_cert_file}{until}; the listener must ask clients for one",
    )


def _claims(token: Secret) -> str:
    """What a token says of itself that is not a secret: its audience, and its end."""
    try:
        middle = token.text().split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
        until = claims.get("exp")
        audience = claims.get("aud", "none")
        ends = datetime.fromtimestamp(float(until), UTC) if until is not None else None
    except (IndexError, ValueError, AttributeError, TypeError, OverflowError, OSError, binascii.Error):
        return ": it is not a JSON web token"
    names = audience if isinstance(audience, list) else [audience]
    claims_shown = f" (audience {one_line(', '.join(str(name) for name in names), 80)}"
    if ends is None:
        return f"{claims_shown})"
    word = "expired" if ends < datetime.now(UTC) else "valid until"
    return f"{claims_shown}; {word} {day(ends)})"
