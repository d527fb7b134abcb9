"""A backup in a bucket is asked for no more than is needed."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

import pytest

from pipeline.core.clock import Deadline
from pipeline.core.errors import Unreachable
from pipeline.core.retry import Retrier
from pipeline.providers.aws.session import AwsSession
from pipeline.sources.backups import s3
from pipeline.sources.backups.s3 import RANGE, S3Source, listed


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


@pytest.mark.parametrize("more", [1, -1])
def test_a_server_that_gives_another_range_is_not_evidence_against_the_backup(more: int) -> None:
    class Odd(Bucket):
        def get_object(self, **request: Any) -> dict[str, Any]:
            start, end = map(int, request["Range"].removeprefix("bytes=").split("-"))
            return {"Body": io.BytesIO(bytes(end + 1 - start + more))}

    retrier = Retrier(Deadline(60), attempts=1)
    source = S3Source(cast("AwsSession", Odd(b"")), {"Bucket": "b"}, "k", 100, '"e"', retrier)
    with pytest.raises(Unreachable, match="other bytes than were asked for"):
        source.start()


def test_bytes_of_another_place_are_not_taken_for_those_that_were_asked_for() -> None:
    class Cached(Bucket):
        def get_object(self, **request: Any) -> dict[str, Any]:
            return super().get_object(**request) | {"ContentRange": "bytes 0-99/200"}

    content = bytes(100) + b"x" * 100
    retrier = Retrier(Deadline(60), attempts=1)
    source = S3Source(cast("AwsSession", Cached(content)), {"Bucket": "b"}, "k", 200, '"e"', retrier)
    assert source._get(0, 100) == bytes(100)
    with pytest.raises(Unreachable, match="other bytes than were asked for"):
        source._get(100, 200)


@pytest.mark.parametrize("again", [None, "t"])
def test_a_listing_that_does_not_go_on_is_never_taken_for_whole(again: str | None) -> None:
    class Cut(Bucket):
        next_page = AwsSession.next_page

        def listed(self, page: object, _what: str) -> object:
            return page

        def list_objects_v2(self, **_: Any) -> dict[str, Any]:
            entry = {"Key": "a", "Size": 1, "ETag": '"e"'}
            return {"Contents": [entry], "IsTruncated": True, "NextContinuationToken": again}

    retrier = Retrier(Deadline(60), attempts=1)
    with pytest.raises(Unreachable, match="cuts its listing short"):
        listed(cast("AwsSession", Cut(b"")), {"Bucket": "b"}, "", (), retrier)


def test_a_listing_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless(Bucket):
        next_page = AwsSession.next_page

        def listed(self, page: object, _what: str) -> object:
            return page

        def list_objects_v2(self, **_: Any) -> dict[str, Any]:
            self.asked["list"] += 1
            entry = {"Key": f"{self.asked['list']}.pgp", "Size": 1, "ETag": '"e"'}
            return {"Contents": [entry], "IsTruncated": True, "NextContinuationToken": entry["Key"]}

    monkeypatch.setattr(s3, "_MOST_LISTED", 3)
    bucket = Endless(b"")
    with pytest.raises(Unreachable, match="lists more than 3 backups"):
        listed(cast("AwsSession", bucket), {"Bucket": "b"}, "", (), Retrier(Deadline(60), attempts=1))
    assert bucket.asked["list"] == 4
