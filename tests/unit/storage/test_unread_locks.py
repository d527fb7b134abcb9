"""A look at the lock of a stored version that fails says nothing about the copy itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.config.places import S3TargetConfig
from pipeline.core.clock import Deadline
from pipeline.core.retry import Retrier, retrying
from pipeline.providers.aws.session import AwsSession
from pipeline.storage.interface import TARGET_CALLS, Stored, Target
from pipeline.storage.s3.backend import S3Backend
from tests.support.scripted_server import Answer, Asked, ScriptedServer

FPR = "A" * 40
EPOCHS = ("20260131T080000Z-0a1b2c3d", "20260131T090000Z-0a1b2c3e")
VERSION = (
    "<Version><Key>r/{fingerprint}/{epoch}.tar</Key><VersionId>{epoch}</VersionId><IsLatest>true</IsLatest>"
    "<LastModified>2026-01-31T08:00:00Z</LastModified><ETag>e</ETag><Size>6</Size></Version>"
)
LISTING = (
    "<ListVersionsResult><Name>b</Name><IsTruncated>false</IsTruncated>"
    + "".join(VERSION.format(fingerprint=FPR, epoch=epoch) for epoch in EPOCHS)
    + "</ListVersionsResult>"
)
LOCKED = (
    "<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2099-01-01T00:00:00Z</RetainUntilDate></Retention>"
)
FAILURES = {
    "an error of the server": Answer(500, b"", content_type="application/xml"),
    "not XML": Answer(200, b"}{", content_type="application/xml"),
    "a web page": Answer(200, b"<html>log in</html>", content_type="text/html"),
    "no lock on the bucket": Answer(400, b"<Error><Code>InvalidRequest</Code></Error>"),
}


@pytest.fixture
def listing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Stored]]:
    """What a listing says, while the server answers like this about the lock of the first epoch."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "A")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret")
    monkeypatch.setenv("HOME", str(tmp_path))

    def find(*answers: Answer, times: int = 1000) -> list[Stored]:
        left = list(answers) * times

        def script(asked: Asked) -> Answer:
            if "?versions" in asked.path:
                return Answer(200, LISTING.encode(), content_type="application/xml")
            if EPOCHS[0] in asked.path and left:
                return left.pop()
            return Answer(200, LOCKED.encode(), content_type="application/xml")

        with ScriptedServer(script) as server:
            place = S3TargetConfig(
                kind="s3", bucket="b", prefix="r", endpoint_url=server.url, controlled_by=("team",),
                lock_mode="GOVERNANCE", lock_days=2,
            )  # fmt: skip
            deadline = Deadline(60)
            session = AwsSession(place, None, call_seconds=10, deadline=deadline, role="auditor")
            target: Target = S3Backend("s3", place, session)
            return retrying(target, Retrier(deadline, base=0.01), "target", TARGET_CALLS).find(FPR)

    return find


@pytest.mark.parametrize("failure", FAILURES)
def test_the_copies_stay_in_the_listing(failure: str, listing: Callable[..., list[Stored]]) -> None:
    first, second = listing(FAILURES[failure])
    assert first.readable
    assert second.readable
    assert first.retain_until is None
    assert first.unlocked is not None
    if failure != "no lock on the bucket":
        assert "the lock could not be read" in first.unlocked
        assert second.unlocked is None
        assert second.retain_until is not None


def test_a_failure_that_passes_is_asked_about_again(listing: Callable[..., list[Stored]]) -> None:
    found = listing(FAILURES["an error of the server"], times=1)
    assert [stored.unlocked for stored in found] == [None, None]
