"""Talking to the stack's servers: plain HTTP for readiness, SDK clients that know no ambient setting."""

from __future__ import annotations

import configparser
import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipeline.core.errors import LocalFilesProblem, Unreachable

REGION = "us-east-1"
CALL_SECONDS = 15.0


def request(
    endpoint: str, method: str, path: str, *, body: bytes = b"", headers: dict[str, str] | None = None,
    seconds: float = CALL_SECONDS,
) -> tuple[int, bytes] | None:  # fmt: skip
    """Send one HTTP request; no proxy is ever used.

    Args:
        endpoint: The server's URL.
        method: HTTP method.
        path: With the leading slash.
        body: What is sent.
        headers: Further headers.
        seconds: Time allowed.

    Returns:
        Status and body, ``None`` when nobody answers.
    """
    place = urlsplit(endpoint)
    kind = http.client.HTTPSConnection if place.scheme == "https" else http.client.HTTPConnection
    connection = kind(place.hostname or "", place.port, timeout=seconds)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def load_clients() -> None:
    """Import what the clients need: late, but before threads do it at the same time."""
    import boto3
    import botocore.auth
    import botocore.awsrequest
    import hvac
    import requests

    _ = (boto3, botocore, hvac, requests)


def vault_client(endpoint: str, token: str | None) -> Any:
    """An hvac client that reads neither environment nor home.

    Args:
        endpoint: The server's URL.
        token: The token; ``None`` for calls that need none.
    """
    import hvac
    import requests

    session = requests.Session()
    session.trust_env = not _on_loopback(endpoint)
    return hvac.Client(url=endpoint, token=token or "", timeout=CALL_SECONDS, session=session)


def aws_client(service: str, endpoint: str, credentials: Path) -> Any:
    """A boto3 client for a server of the stack.

    Args:
        service: ``s3`` or ``kms``.
        endpoint: The server's URL.
        credentials: A credentials file; its profile ``default`` is used.
    """
    import boto3
    from botocore.config import Config

    access, secret = read_credentials(credentials)
    return boto3.session.Session(
        aws_access_key_id=access, aws_secret_access_key=secret, region_name=REGION
    ).client(
        service,
        endpoint_url=endpoint,
        config=Config(
            connect_timeout=CALL_SECONDS,
            read_timeout=CALL_SECONDS,
            retries={"total_max_attempts": 2},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            proxies={} if _on_loopback(endpoint) else None,
            s3={"addressing_style": "path"},
        ),
    )


def _on_loopback(endpoint: str) -> bool:
    return urlsplit(endpoint).hostname in ("127.0.0.1", "::1", "localhost")


def write_credentials(access: str, secret: str) -> bytes:
    """The text of a credentials file with one profile, ``default``."""
    return f"[default]\naws_access_key_id = {access}\naws_secret_access_key = {secret}\n".encode()


def read_credentials(path: Path, profile: str = "default") -> tuple[str, str]:
    """Read the access key id and the secret key of one profile.

    Raises:
        LocalFilesProblem: The file or the profile is not there.
    """
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(path.read_text())
        return parser[profile]["aws_access_key_id"], parser[profile]["aws_secret_access_key"]
    except (OSError, KeyError, configparser.Error) as error:
        raise LocalFilesProblem(
            f"{path} holds no credentials for the profile {profile}",
            hint="it has the form of ~/.aws/credentials: aws_access_key_id and aws_secret_access_key",
        ) from error


@contextmanager
def aws_errors() -> Iterator[None]:
    """Turn errors of boto3's into our own.

    Raises:
        Unreachable: The server does not answer, or refuses.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise Unreachable(
            f"the stack's S3 or KMS cannot be set up: {error}",
            hint="see server.log below s3 and kms in the stack's directory, and the credentials' rights",
        ) from error


@contextmanager
def vault_errors() -> Iterator[None]:
    """Turn errors of hvac's into our own.

    Raises:
        Unreachable: The server does not answer, or refuses.
    """
    import requests
    from hvac.exceptions import VaultError

    try:
        yield
    except (VaultError, requests.RequestException) as error:
        raise Unreachable(
            f"the stack's Vault cannot be set up: {error}",
            hint="see vault/server.log in the stack's directory, and the rights of the token",
        ) from error
