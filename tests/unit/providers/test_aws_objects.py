"""What S3 says of an object that it will not hand out, told alike for records and backups."""

from __future__ import annotations

import botocore.exceptions as boto
import pytest

from pipeline.core.errors import Archived, Code, OrgkeyError, Unsupported
from pipeline.providers import failures
from pipeline.providers.aws.errors import refusal

SSE_C = (
    "The object was stored using a form of Server Side Encryption. "
    "The correct parameters must be provided to retrieve the object."
)


@pytest.mark.parametrize(
    ("code", "status", "message", "kind", "exit_code"),
    [
        ("InvalidObjectState", 403, "The operation is not valid for the storage class", Archived, 20),
        ("InvalidRequest", 400, SSE_C, Unsupported, 19),
    ],
)
def test_how_an_object_is_stored_is_named(
    code: str, status: int, message: str, kind: type[OrgkeyError], exit_code: int
) -> None:
    answer = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    failure = refusal(boto.ClientError(answer, "GetObject"), "s3", "driller", "s3")
    error = failures.explain(failure, "backup s3://b/k, read")
    assert type(error) is kind
    assert error.code == Code(exit_code)
    assert error.message.startswith("backup s3://b/k, read: it is ")
    assert getattr(error, "again", False) is False
