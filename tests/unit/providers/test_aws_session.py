from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.identities import AwsIdentity
from pipeline.config.places import AwsPlace
from pipeline.core.clock import Deadline
from pipeline.core.errors import DeadlinePassed, Denied, OrgkeyError, Unreachable, UsageProblem
from pipeline.providers.aws.session import AwsSession
from tests.support.scripted_server import Answer, Asked, ScriptedServer, certificate
from tests.support.wire_faults import silent_server

EMPTY = b'<?xml version="1.0"?><ListAllMyBucketsResult><Buckets/></ListAllMyBucketsResult>'
SECRET = "canary-secret-key"


def fine(asked: Asked) -> Answer:
    return Answer(body=EMPTY, content_type="application/xml", headers={"x-amz-request-id": "REQ1"})


def refusal(status: int, code: str, text: str = "told so", **headers: str) -> Answer:
    body = f"<Error><Code>{code}</Code><Message>{text}</Message></Error>".encode()
    return Answer(status, body, headers, "application/xml")


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os

    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def keys(tmp_path: Path) -> AwsIdentity:
    path = tmp_path / "credentials"
    path.write_text(f"[default]\naws_access_key_id = WRITER\naws_secret_access_key = {SECRET}\n")
    return AwsIdentity(credentials_file=str(path))


def open_session(
    url: str | None,
    identity: AwsIdentity | None,
    *,
    seconds: float = 30,
    call_seconds: float = 3,
    **more: Any,
) -> AwsSession:
    place = AwsPlace(endpoint_url=url, **more)
    return AwsSession(place, identity, call_seconds=call_seconds, deadline=Deadline(seconds), role="writer")


def buckets(client: Any) -> Any:
    return client.list_buckets()["Buckets"]


def test_one_request_and_its_id(keys: AwsIdentity) -> None:
    with ScriptedServer(fine) as server:
        session = open_session(server.url, keys)
        assert session.call(buckets, "s3", "look") == []
    assert session.request_ids == ["REQ1"]
    (asked,) = server.asked
    assert "Credential=WRITER/" in asked.headers["Authorization"]


@pytest.mark.parametrize(
    ("answer", "kind", "again", "text"),
    [
        (refusal(403, "AccessDenied"), Denied, None, "does not permit this to the writer"),
        (refusal(403, "SignatureDoesNotMatch"), Denied, None, "credentials"),
        (refusal(400, "ExpiredToken"), Denied, None, "have expired"),
        (refusal(503, "SlowDown", **{"Retry-After": "9"}), Unreachable, True, "SlowDown"),
        (refusal(500, "InternalError"), Unreachable, True, "InternalError"),
        (refusal(502, "BadGateway"), Unreachable, True, "cannot serve"),
        (refusal(404, "NoSuchBucket"), Unreachable, False, "bucket does not exist"),
        (
            refusal(301, "PermanentRedirect", **{"x-amz-bucket-region": "eu-west-9"}),
            UsageProblem,
            None,
            "eu-west-9",
        ),
        (refusal(400, "InvalidBucketName"), UsageProblem, None, "InvalidBucketName"),
    ],
)
def test_each_refusal_has_its_meaning_and_is_asked_for_once(
    keys: AwsIdentity, answer: Answer, kind: type[OrgkeyError], again: bool | None, text: str
) -> None:
    with ScriptedServer(lambda asked: answer) as server:
        with pytest.raises(kind, match=text) as raised:
            open_session(server.url, keys).call(buckets, "s3", "look")
        # A redirect to another region is followed, since it is not a failure.
        assert len(server.asked) == (2 if answer.status == 301 else 1), "one layer tries again: the retrier"
    assert getattr(raised.value, "again", None) == again
    assert raised.value.message.startswith("look: ")
    assert raised.value.hint
    assert SECRET not in str(raised.value)
    if "Retry-After" in answer.headers:
        assert isinstance(raised.value, Unreachable)
        assert raised.value.retry_after == 9


def test_a_clock_that_is_off_is_named(keys: AwsIdentity) -> None:
    server_time = format_datetime(datetime.now(UTC) - timedelta(hours=2), usegmt=True)
    answer = refusal(403, "RequestTimeTooSkewed", Date=server_time)
    with (
        ScriptedServer(lambda asked: answer) as server,
        pytest.raises(Denied, match=r"clock differs from the server's by 7\d\d\d s") as raised,
    ):
        open_session(server.url, keys).call(buckets, "s3", "look")
    assert "clock" in raised.value.hint


@pytest.mark.parametrize(
    ("code", "kind", "again"),
    [
        ("DisabledException", Unreachable, False),
        ("KMSInvalidStateException", Unreachable, False),
        ("KMSInternalException", Unreachable, True),
        ("ThrottlingException", Unreachable, True),
        ("AccessDeniedException", Denied, None),
        ("UnrecognizedClientException", Denied, None),
        ("NotFoundException", UsageProblem, None),
    ],
)
def test_the_words_of_kms(keys: AwsIdentity, code: str, kind: type[OrgkeyError], again: bool | None) -> None:
    answer = Answer(400, f'{{"__type": "{code}", "message": "x"}}'.encode(), {}, "application/x-amz-json-1.1")
    with ScriptedServer(lambda asked: answer) as server, pytest.raises(kind) as raised:
        open_session(server.url, keys).call(lambda kms: kms.describe_key(KeyId="k"), "kms", "look")
    assert getattr(raised.value, "again", None) == again


def test_the_credentials_file_comes_before_the_environment(
    keys: AwsIdentity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AMBIENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    with ScriptedServer(fine) as server:
        open_session(server.url, keys).call(buckets, "s3", "look")
    assert "Credential=WRITER/" in server.asked[0].headers["Authorization"]


def test_a_profile_comes_from_the_user_s_own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AMBIENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text(
        "[drill]\naws_access_key_id = DRILLER\naws_secret_access_key = y\n"
    )
    with ScriptedServer(fine) as server:
        open_session(server.url, AwsIdentity(profile="drill")).call(buckets, "s3", "look")
        open_session(server.url, None).call(buckets, "s3", "look")
        with pytest.raises(UsageProblem, match="nobody"):
            open_session(server.url, AwsIdentity(profile="nobody")).call(buckets, "s3", "look")
    drill, ambient = server.asked
    assert "Credential=DRILLER/" in drill.headers["Authorization"]
    assert "Credential=AMBIENT/" in ambient.headers["Authorization"]


def test_the_environment_s_endpoint_is_used_where_none_is_configured(
    keys: AwsIdentity, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer(fine) as ambient, ScriptedServer(fine) as configured:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", ambient.url)
        open_session(None, keys).call(buckets, "s3", "look")
        open_session(configured.url, keys).call(buckets, "s3", "look")
    assert (len(ambient.asked), len(configured.asked)) == (1, 1)


def test_no_credentials_at_all(tmp_path: Path) -> None:
    with pytest.raises(Denied, match="no credentials for the writer"):
        open_session("http://127.0.0.1:9", None).call(buckets, "s3", "look")
    with pytest.raises(UsageProblem, match="does not exist"):
        open_session("http://127.0.0.1:9", AwsIdentity(credentials_file=str(tmp_path / "absent"))).call(
            buckets, "s3", "look"
        )
    (tmp_path / "bad").write_text("no ini file")
    with pytest.raises(UsageProblem):
        open_session("http://127.0.0.1:9", AwsIdentity(credentials_file=str(tmp_path / "bad"))).call(
            buckets, "s3", "look"
        )


def test_an_endpoint_that_is_none(keys: AwsIdentity) -> None:
    with pytest.raises(UsageProblem, match=r"http://a\.\.b"):
        open_session("http://a..b", keys).call(buckets, "s3", "look")


def test_certificates(keys: AwsIdentity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ca_file, context = certificate(tmp_path)
    with ScriptedServer(fine, context) as server:
        open_session(server.url, keys, ca_file=str(ca_file)).call(buckets, "s3", "look")
        with pytest.raises(Unreachable, match="authority that is not trusted") as raised:
            open_session(server.url, keys).call(buckets, "s3", "look")
        assert not raised.value.again
        with pytest.raises(UsageProblem, match="CA file"):
            open_session(server.url, keys, ca_file="/nowhere.pem").call(buckets, "s3", "look")
        with pytest.raises(Unreachable, match="authority that is not trusted"):
            open_session(server.url, keys, ca_file="system").call(buckets, "s3", "look")
        monkeypatch.setenv("SSL_CERT_FILE", str(ca_file))
        open_session(server.url, keys, ca_file="system").call(buckets, "s3", "look")
    ca_file, context = certificate(tmp_path, address="127.0.0.2")
    with (
        ScriptedServer(fine, context) as server,
        pytest.raises(Unreachable, match="another host name"),
    ):
        open_session(server.url, keys, ca_file=str(ca_file)).call(buckets, "s3", "look")
    with (
        ScriptedServer(fine) as server,
        pytest.raises(Unreachable, match="does not speak TLS"),
    ):
        open_session(server.url.replace("http:", "https:"), keys).call(buckets, "s3", "look")


def test_the_deadline_comes_before_the_first_byte(keys: AwsIdentity) -> None:
    with ScriptedServer(fine) as server:
        with pytest.raises(DeadlinePassed):
            open_session(server.url, keys, seconds=0).call(buckets, "s3", "look")
        assert server.asked == []


def test_near_the_deadline_a_call_is_hurried(keys: AwsIdentity) -> None:
    with silent_server() as port:
        session = open_session(f"http://127.0.0.1:{port}", keys, seconds=0.3, call_seconds=60)
        begun = time.monotonic()
        # On a busy machine the time may be over before anything is sent.
        with pytest.raises(DeadlinePassed, match=r"did not answer in time|has passed"):
            session.call(buckets, "s3", "look")
        assert time.monotonic() - begun < 20


def test_threads_share_one_client(keys: AwsIdentity) -> None:
    made: list[Any] = []
    session = open_session("http://127.0.0.1:9", keys)
    threads = [threading.Thread(target=lambda: made.append(session.client("s3"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(client) for client in made}) == 1
