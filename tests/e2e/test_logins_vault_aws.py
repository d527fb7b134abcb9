"""Vault's login by AWS through the command line: a played auth method in front of a real OpenBao."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.e2e.logins import use
from tests.support.commandline import Desk
from tests.support.scripted_server import Answer, Asked, ScriptedServer
from tests.support.sts import decoded, signature_holds

if TYPE_CHECKING:
    from tests.conftest import Place
    from tests.support.local_stack import Stack

REGION, SERVER_ID = "eu-central-1", "vault.example.com"
KEYS = {role: (f"AKID{role.upper()}", f"canary-{role}") for role in ("writer", "driller")}
"""Each role's access key and secret key, which STS knows, too."""


class Method:
    """The auth method ``aws`` at ``auth/cloud``: it asks STS who it is; all else is real."""

    def __init__(self, stack: Stack) -> None:
        self._root = stack.vault("root")
        self._behind = urlsplit(stack.endpoint("vault")).netloc
        self.logins: list[tuple[str, str]] = []

    def __call__(self, asked: Asked) -> Answer:
        if asked.path != "/v1/auth/cloud/login":
            return self._forwarded(asked)
        told = json.loads(asked.body)
        headers = {name.lower(): value for name, (value,) in json.loads(decoded(told, "headers")).items()}
        if headers.get("x-vault-aws-iam-server-id") != SERVER_ID:
            return _refused("error validating X-Vault-AWS-IAM-Server-ID header")
        known = [role for role, pair in KEYS.items() if f"Credential={pair[0]}/" in headers["authorization"]]
        if not known or not signature_holds(told, REGION, *KEYS[known[0]]):
            return _refused("error making upstream request: received error code 403 from STS")
        (principal,) = known
        self.logins.append((principal, told["role"]))
        if told["role"] != f"orgkey-{principal}":
            return _refused(
                f"IAM Principal arn:aws:iam::123456789012:role/{principal} does not belong to the role"
            )
        made = self._root.auth.token.create(policies=[told["role"]], no_default_policy=True, ttl="20m")
        return Answer(body=json.dumps({"auth": made["auth"]}).encode())

    def _forwarded(self, asked: Asked) -> Answer:
        far = http.client.HTTPConnection(self._behind, timeout=30)
        kept = {name: value for name, value in asked.headers.items() if name.lower() != "host"}
        far.request(asked.method, asked.path, asked.body or None, kept)
        answer = far.getresponse()
        body = answer.read()
        far.close()
        return Answer(
            answer.status, body, content_type=answer.headers.get("Content-Type", "application/json")
        )


def _refused(why: str) -> Answer:
    return Answer(400, json.dumps({"errors": [why]}).encode())


@pytest.fixture
def method(stack: Stack) -> Method:
    return Method(stack)


@pytest.fixture
def desk(
    stack: Stack, fresh_place: Callable[[Stack], Place], tmp_path: Path, method: Method
) -> Iterator[Desk]:
    desk = Desk(fresh_place(stack), tmp_path)
    with ScriptedServer(method) as server:
        desk.edit(f'"{stack.endpoint("vault")}"', f'"{server.url}"')
        lines = "".join(
            f"[{role}]\naws_access_key_id = {access}\naws_secret_access_key = {secret}\n"
            for role, (access, secret) in KEYS.items()
        )
        desk.write("aws-logins", lines.encode())
        for role in KEYS:
            login(desk, role)
        yield desk


def login(desk: Desk, role: str, **changes: str) -> None:
    settings = {"role": f"orgkey-{role}", "profile": role, "region": REGION, "server_id": SERVER_ID}
    settings |= {"method": "aws", "mount": "cloud", "credentials_file": str(desk.folder / "aws-logins")}
    use(desk, role, **(settings | changes))


def test_escrow_drill_and_doctor(desk: Desk, method: Method) -> None:
    assert desk.escrow()["proven"]
    assert set(method.logins) == {(role, f"orgkey-{role}") for role in KEYS}
    method.logins.clear()
    desk.ask("drill")
    assert method.logins == [("driller", "orgkey-driller")], "each run logs in once, and afresh"
    done = desk.ask("doctor")
    assert done["exit_code"] == 0
    said = json.dumps(done) + desk.run("doctor", "-vvv").err
    assert not any(secret in said for _, secret in KEYS.values())


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"profile": "writer"}, "bind this IAM principal"),
        ({"server_id": "another.example.com"}, "is server_id (another.example.com)"),
        ({"region": "eu-west-1"}, "sts_region there fit https://sts.eu-west-1.amazonaws.com/"),
        ({"mount": "nowhere"}, "at auth/nowhere"),
    ],
    ids=["foreign-principal", "other-server", "other-region", "other-mount"],
)
def test_a_refused_login(desk: Desk, changes: dict[str, Any], told: str) -> None:
    login(desk, "driller", **changes)
    for command in ("drill", "doctor"):
        run = desk.run(command, expect=21)
        assert "refuses the driller's AWS login" in run.out + run.err
        assert told in run.out + run.err
        assert "canary" not in run.out + run.err
