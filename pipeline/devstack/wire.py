"""Talking to the stack's servers: plain HTTP for readiness, and the sessions that all others use."""

from __future__ import annotations

import configparser
import http.client
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pipeline.config.identities import AwsIdentity
from pipeline.config.places import AwsPlace
from pipeline.core.clock import Deadline
from pipeline.core.errors import LocalFilesProblem
from pipeline.storage.check import on_this_host

if TYPE_CHECKING:
    from pipeline.providers.aws.session import AwsSession

REGION = "us-east-1"
CALL_SECONDS = 15.0
SET_UP_SECONDS = 60.0


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


def aws(endpoint: str, credentials: Path) -> AwsSession:
    """A session at a server of the stack, with a credentials file's profile ``default``."""
    from pipeline.providers.aws.session import AwsSession

    place = AwsPlace(region=REGION, endpoint_url=endpoint, proxy="none" if on_this_host(endpoint) else None)
    identity = AwsIdentity(credentials_file=str(credentials))
    deadline = Deadline(SET_UP_SECONDS)
    return AwsSession(place, identity, call_seconds=CALL_SECONDS, deadline=deadline, role="root")


def boto3_client(service: str, endpoint: str, credentials: Path) -> Any:
    """boto3's client for what only setting a server up needs; errors as :func:`aws`'s session has them.

    Args:
        service: ``s3`` or ``kms``.
        endpoint: The server's URL.
        credentials: A credentials file; its profile ``default`` is used.
    """
    import boto3.session
    from botocore.config import Config

    access, secret = read_credentials(credentials)
    made = boto3.session.Session(access, secret, region_name=REGION)
    return made.client(
        service,
        endpoint_url=endpoint,
        config=Config(
            connect_timeout=CALL_SECONDS,
            read_timeout=CALL_SECONDS,
            retries={"total_max_attempts": 2},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            proxies={} if on_this_host(endpoint) else None,
            s3={"addressing_style": "path"},
        ),
    )


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
