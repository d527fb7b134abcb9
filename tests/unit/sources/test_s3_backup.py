"""A backup in a bucket is asked for no more than is needed."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

from pipeline.core.clock import Deadline
from pipeline.core.retry import Retrier
from pipeline.providers.aws.session import AwsSession
from pipeline.sources.backups.s3 import RANGE, S3Source


class Bucket:
    """Serves one object, and counts what it is asked."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.asked: Counter[str] = Counter()

    def call(self, work: Callable[[Any], Any], _service: str, _what: str) -> Any:
        return work(self)

    def head_object(self, **_: Any) -> dict[str, Any]:
        self.asked["head"] += 1
        return {"VersionId": "v1", "ChecksumSHA256": "c", "ContentLength": len(self.content)}

    def get_object(self, **request: Any) -> dict[str, Any]:
        self.asked["get"] += 1
        start, end = map(int, request["Range"].removeprefix("bytes=").split("-"))
        return {"Body": io.BytesIO(self.content[start : end + 1])}


def test_one_that_is_opened_twice_is_described_once() -> None:
    content = bytes(range(256)) * (RANGE // 256 + 1)
    bucket = Bucket(content)
    retrier = Retrier(Deadline(60), attempts=1)
    source = S3Source(cast("AwsSession", bucket), {"Bucket": "b"}, "k", len(content), '"e"', retrier)
    for _ in range(2):
        with source.open() as stream:
            assert stream.take(len(content), "it") == content
    assert source.facts == {"VersionId": "v1", "ChecksumSHA256": "c"}
    assert bucket.asked == {"head": 1, "get": 4}
