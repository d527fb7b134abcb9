"""One call of S3 with a login from a file of AWS's settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.config.identities import AwsIdentity
from pipeline.config.places import AwsPlace
from pipeline.core.clock import Deadline
from pipeline.providers.aws.session import AwsSession

EMPTY = b'<?xml version="1.0"?><ListAllMyBucketsResult><Buckets/></ListAllMyBucketsResult>'
ROLE = "arn:aws:iam::123456789012:role/orgkey-writer"


def look(url: str, folder: Path, config: str, *, call_seconds: float = 10) -> AwsSession:
    file = folder / "aws-config"
    file.write_text(config)
    session = AwsSession(
        AwsPlace(endpoint_url=url),
        AwsIdentity(profile="job", config_file=str(file)),
        call_seconds=call_seconds,
        deadline=Deadline(60),
        role="writer",
    )
    session.call(buckets, "s3", "look")
    return session


def buckets(client: Any) -> Any:
    return client.list_buckets()["Buckets"]
