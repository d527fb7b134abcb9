"""A bucket that lists for ever is given up before it fills this host's memory."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any, cast

import pytest

from pipeline.config.places import S3TargetConfig
from pipeline.core.errors import Unreachable
from pipeline.providers.aws.session import AwsSession
from pipeline.storage.s3 import bucket


class Endless:
    """Answers each page with the next one's mark."""

    next_page = AwsSession.next_page

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.pages = count()

    def call(self, work: Callable[[Any], Any], _service: str, _what: str) -> Any:
        return work(self)

    def listed(self, page: object, _what: str) -> object:
        return page

    def list_object_versions(self, **_: Any) -> dict[str, Any]:
        return {self.kind: [{}] * 1000, "IsTruncated": True, "NextKeyMarker": f"k{next(self.pages)}"}


@pytest.mark.parametrize("kind", ["Versions", "DeleteMarkers", "CommonPrefixes"])
def test_a_listing_without_end_is_given_up(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket, "_MOST_LISTED", 2500)
    settings = S3TargetConfig(kind="s3", bucket="b", prefix="r", controlled_by=("team",))
    session = Endless(kind)
    pages = bucket.Bucket(settings, cast("AwsSession", session)).pages("r/", "target s3, list")
    with pytest.raises(Unreachable, match="lists more than 2,500 versions") as caught:
        list(pages)
    assert next(session.pages) == 3
    assert not caught.value.again
