"""Vault's login by AWS: the server checks the signature, from its own knowledge of the secret key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.config.identities import VaultIdentity
from pipeline.config.places import VaultPlace
from pipeline.core.clock import Deadline
from pipeline.core.errors import Denied
from pipeline.providers.vault.session import VaultSession
from tests.support.scripted_server import Answer, Asked, ScriptedServer
from tests.support.sts import decoded, signature_holds

ACCESS, SECRET = "AKIDEXAMPLE", "canary-secret-key"
TOKEN = {"client_token": "s.token", "lease_duration": 3600, "renewable": False, "policies": ["writer"]}


def look(url: str, identity: VaultIdentity) -> None:
    place = VaultPlace(address=url)
    session = VaultSession(place, identity, call_seconds=3, deadline=Deadline(30), role="writer")
    session.call(lambda client: client.get("orgkey/config"), "look")


def refused(why: str) -> Answer:
    return Answer(400, json.dumps({"errors": [why]}).encode())


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "credentials"
    file.write_text(
        f"[writer]\naws_access_key_id = {ACCESS}\naws_secret_access_key = {SECRET}\n"
        "aws_session_token = a-session\n"
    )
    return file


def vault(asks: list[dict[str, Any]], region: str, server_id: str | None, secret: str = SECRET) -> Any:
    """A Vault with the AWS auth method at ``auth/cloud``."""

    def script(asked: Asked) -> Answer:
        if asked.path == "/v1/auth/cloud/login":
            told = json.loads(asked.body)
            asks.append(told)
            headers = json.loads(decoded(told, "headers"))
            if headers.get("X-Vault-AWS-IAM-Server-ID", [None]) != [server_id]:
                return refused("error validating X-Vault-AWS-IAM-Server-ID header")
            if not signature_holds(told, region, ACCESS, secret):
                return refused("error making upstream request: received error code 403 from STS")
            return Answer(body=json.dumps({"auth": TOKEN}).encode())
        return Answer(body=b'{"data": {}}')

    return script


@pytest.mark.parametrize(
    ("region", "server_id", "url"),
    [
        (None, None, "https://sts.amazonaws.com/"),
        ("eu-central-1", "vault.example.com", "https://sts.eu-central-1.amazonaws.com/"),
        ("cn-north-1", None, "https://sts.cn-north-1.amazonaws.com.cn/"),
    ],
)
def test_who_we_are_is_signed(keys: Path, region: str | None, server_id: str | None, url: str) -> None:
    asks: list[dict[str, Any]] = []
    identity = VaultIdentity(
        method="aws", role="orgkey-writer", mount="cloud", region=region, server_id=server_id,
        profile="writer", credentials_file=str(keys),
    )  # fmt: skip
    with ScriptedServer(vault(asks, region or "us-east-1", server_id)) as server:
        look(server.url, identity)
    (told,) = asks
    assert (told["role"], told["iam_http_request_method"], decoded(told, "url")) == (
        "orgkey-writer",
        "POST",
        url,
    )
    assert decoded(told, "body") == "Action=GetCallerIdentity&Version=2011-06-15"
    assert json.loads(decoded(told, "headers"))["X-Amz-Security-Token"] == ["a-session"]
    assert SECRET not in json.dumps(told) + "".join(decoded(told, it) for it in ("url", "body", "headers"))


@pytest.mark.parametrize(("server_id", "secret"), [("another", SECRET), ("vault.example.com", "another")])
def test_a_refused_login_names_what_to_look_at(keys: Path, server_id: str, secret: str) -> None:
    identity = VaultIdentity(
        method="aws",
        role="r",
        mount="cloud",
        server_id=server_id,
        profile="writer",
        credentials_file=str(keys),
    )
    with (
        ScriptedServer(vault([], "us-east-1", "vault.example.com", secret)) as server,
        pytest.raises(Denied, match="refuses the writer's AWS login") as raised,
    ):
        look(server.url, identity)
    assert "the role r at auth/cloud (it must exist, and bind this IAM principal)" in raised.value.hint
    assert f"is server_id ({server_id})" in raised.value.hint
    assert SECRET not in raised.value.message + raised.value.hint


def test_without_credentials_nothing_is_sent(keys: Path) -> None:
    keys.write_text("[writer]\n")
    identity = VaultIdentity(
        method="aws", role="r", mount="cloud", profile="writer", credentials_file=str(keys)
    )
    with ScriptedServer(vault([], "us-east-1", None)) as server:
        with pytest.raises(Denied, match="credentials"):
            look(server.url, identity)
        assert server.asked == []


@pytest.mark.parametrize(
    "wrong",
    [{"role": None}, {"region": "../x"}, {"server_id": "a\nb"}, {"jwt_file": "/x"}, {"method": "jwt"}],
)
def test_settings_that_do_not_fit_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        VaultIdentity(**({"method": "aws", "role": "r", "region": "eu-west-1"} | wrong))
