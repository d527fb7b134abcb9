"""Credentials by botocore's chain: bounded in time, renewed, and every failure with its own words."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.config.identities import AwsIdentity
from pipeline.config.places import AwsPlace
from pipeline.core.clock import Deadline
from pipeline.core.errors import Denied, ProgramMissing, Unreachable, UsageProblem
from pipeline.providers.aws.session import AwsSession
from tests.support import sts
from tests.support.aws_look import EMPTY, ROLE, buckets, look
from tests.support.scripted_server import Answer, Asked, ScriptedServer


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    # botocore looks for the home when it is imported.
    for owner in ("credentials.SSOProvider", "tokens.SSOTokenProvider"):
        monkeypatch.setattr(f"botocore.{owner}._SSO_TOKEN_CACHE_DIR", str(tmp_path / ".aws/sso/cache"))


@pytest.fixture
def s3() -> Iterator[ScriptedServer]:
    with ScriptedServer(lambda asked: Answer(body=EMPTY, content_type="application/xml")) as server:
        yield server


def assuming(url: str, more: str = "") -> str:
    return (
        "[profile base]\naws_access_key_id = BASE\naws_secret_access_key = x\n"
        f"[profile job]\nrole_arn = {ROLE}\nsource_profile = base\nservices = here\n{more}\n"
        f"[services here]\nsts =\n  endpoint_url = {url}\nsso =\n  endpoint_url = {url}\n"
    )


def test_moto_s_sts(s3: ScriptedServer, tmp_path: Path) -> None:
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        _, port = server.get_host_and_port()
        look(s3.url, tmp_path, assuming(f"http://127.0.0.1:{port}"))
    finally:
        server.stop()
    (asked,) = s3.asked
    assert "Credential=ASIA" in asked.headers["Authorization"]
    assert asked.headers["X-Amz-Security-Token"]


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (sts.refusal("AccessDenied", "not authorized to perform: sts:AssumeRole"), Denied, "AssumeRole, Acc"),
        (sts.refusal("InvalidClientTokenId"), Denied, "AssumeRole, InvalidClientTokenId"),
        (sts.refusal("Throttling", status=400), Unreachable, "cannot log the writer in now"),
        (sts.refusal("InternalFailure", status=500), Unreachable, "cannot log the writer in now"),
    ],
)
def test_a_role_that_is_not_given(
    s3: ScriptedServer, tmp_path: Path, answer: Answer, kind: type[Exception], text: str
) -> None:
    with (
        ScriptedServer(lambda asked: answer) as server,
        pytest.raises(kind, match=text) as raised,
    ):
        look(s3.url, tmp_path, assuming(server.url))
    assert len(server.asked) == 1, "one layer tries again: the retrier"
    assert s3.asked == []
    if isinstance(raised.value, Denied):
        assert ROLE in raised.value.hint


def test_an_sts_that_does_not_answer_is_not_waited_for(s3: ScriptedServer, tmp_path: Path) -> None:
    # It would answer in the end: who waits as long as botocore does gets in, and fails the test.
    over = threading.Event()

    def slowly(asked: Asked) -> Answer:
        over.wait(20)
        return sts.credentials(asked, "LATE", "x")

    with ScriptedServer(slowly) as server:
        try:
            with pytest.raises(Unreachable, match=f"{server.url} did not answer in time"):
                look(s3.url, tmp_path, assuming(server.url), call_seconds=0.5)
        finally:
            over.set()
    assert s3.asked == []


def test_an_sts_that_is_not_there(s3: ScriptedServer, tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="no connection to http://127"):
        look(s3.url, tmp_path, assuming("http://127.0.0.1:9"))


def test_nobody_is_asked_for_a_code(s3: ScriptedServer, tmp_path: Path) -> None:
    with pytest.raises(Denied, match="nobody is asked for a code") as raised:
        look(s3.url, tmp_path, assuming(s3.url, "mfa_serial = arn:aws:iam::123456789012:mfa/me"))
    assert "second factor" in raised.value.hint
    assert s3.asked == []


def test_a_profile_that_makes_no_sense(s3: ScriptedServer, tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="profile cannot be used"):
        look(s3.url, tmp_path, f"[profile job]\nrole_arn = {ROLE}\nsource_profile = nobody\n")


def test_a_program_that_is_not_there(s3: ScriptedServer, tmp_path: Path) -> None:
    with pytest.raises(ProgramMissing, match="no-such-program"):
        look(s3.url, tmp_path, "[profile job]\ncredential_process = no-such-program --x\n")


SSO = """
[profile job]
sso_session = ours
sso_account_id = 123456789012
sso_role_name = orgkey
services = here
[sso-session ours]
sso_start_url = https://ours.awsapps.com/start
sso_region = eu-central-1
[services here]
sso =
  endpoint_url = {url}
sso_oidc =
  endpoint_url = {url}
"""


def sso_token(folder: Path, seconds: float) -> None:
    """What `aws sso login` leaves behind."""
    cache = folder / ".aws/sso/cache"
    cache.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha1(b"ours", usedforsecurity=False).hexdigest()
    document = {
        "startUrl": "https://ours.awsapps.com/start",
        "region": "eu-central-1",
        "accessToken": "sso-access-token",
        "expiresAt": sts.stamp(seconds),
    }
    (cache / f"{name}.json").write_text(json.dumps(document))


def test_single_sign_on(s3: ScriptedServer, tmp_path: Path) -> None:
    def portal(asked: Asked) -> Answer:
        if asked.headers.get("x-amz-sso_bearer_token") != "sso-access-token":
            return Answer(401, b'{"message": "who"}', {"x-amzn-ErrorType": "UnauthorizedException"})
        keys = {"accessKeyId": "SSOKEY", "secretAccessKey": "x", "sessionToken": "t"}
        ends = {"expiration": 4_102_444_800_000}
        return Answer(body=json.dumps({"roleCredentials": {**keys, **ends}}).encode())

    with ScriptedServer(portal) as server:
        config = SSO.format(url=server.url)
        for kept in (False, True):
            if kept:
                sso_token(tmp_path, -600)
            with pytest.raises(Denied, match="single sign-on at AWS") as raised:
                look(s3.url, tmp_path, config)
            assert "aws sso login --profile job" in raised.value.hint
            assert s3.asked == []
        sso_token(tmp_path, 3600)
        look(s3.url, tmp_path, config)
    assert "Credential=SSOKEY/" in s3.asked[0].headers["Authorization"]


def test_the_named_files_are_the_only_ones(
    s3: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text(
        "[job]\naws_access_key_id = USERS\naws_secret_access_key = x\n"
    )
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AMBIENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    look(s3.url, tmp_path, "[profile job]\naws_access_key_id = NAMED\naws_secret_access_key = x\n")
    assert "Credential=NAMED/" in s3.asked[0].headers["Authorization"]
    with pytest.raises(UsageProblem, match="config file"):
        AwsSession(
            AwsPlace(endpoint_url=s3.url),
            AwsIdentity(config_file=str(tmp_path / "absent")),
            call_seconds=3,
            deadline=Deadline(30),
            role="writer",
        ).client("s3")
    assert os.environ["AWS_ACCESS_KEY_ID"] == "AMBIENT"


def test_a_file_that_cannot_be_read_is_named_as_that(tmp_path: Path) -> None:
    identity = AwsIdentity(credentials_file=str(tmp_path))
    session = AwsSession(AwsPlace(), identity, call_seconds=3, deadline=Deadline(30), role="writer")
    with pytest.raises(UsageProblem, match=r"credentials file .* cannot be read: Is a directory") as raised:
        session.call(buckets, "s3", "look")
    assert "permissions" in raised.value.hint
