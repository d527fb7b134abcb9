"""The stack's smaller parts that need no server."""

from __future__ import annotations

import io
import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from pipeline.core.errors import LocalFilesProblem
from pipeline.core.resources import infra_path
from pipeline.devstack import members, wire
from pipeline.devstack.environment import drop_ambient
from pipeline.devstack.kms import Gate, Store
from pipeline.devstack.kms_member import KmsServer
from pipeline.devstack.processes import Process
from pipeline.devstack.s3 import S3Server
from pipeline.devstack.state import Book, Layout, Member, StackState


def test_state_is_read_back_as_written(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    book = Book(layout)
    assert book.read() == StackState()
    member = Member("vault", "http://127.0.0.1:8200", "2.4.0", Process(1, 2, "boot"))
    outside = Member("s3", "http://h:1", outside=True)
    written = StackState({"vault": member, "s3": outside}, setup="x", kms_key="arn")
    book.update(member, setup="x")
    book.update(outside, kms_key="arn")
    assert Book(layout).read() == written
    assert written.members["vault"].port == 8200


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"schema": "orgkey.stack-state/2"}', '{"schema": 1, "x": 2}']
)
def test_a_damaged_state_is_a_clear_error(tmp_path: Path, text: str) -> None:
    layout = Layout(tmp_path)
    layout.state.write_text(text)
    with pytest.raises(LocalFilesProblem, match=r"stack\.json cannot be read"):
        Book(layout).read()


def test_an_outside_s3_is_asked_what_every_s3_knows(tmp_path: Path) -> None:
    class Strict(BaseHTTPRequestHandler):
        """No health path, and no buckets without a login, as most servers."""

        def do_GET(self) -> None:
            self.send_response(403 if self.path == "/" else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Strict) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        seen = members.look(S3Server(Layout(tmp_path)), Member("s3", endpoint, outside=True))
        server.shutdown()
    assert (seen.running, seen.ready) == (True, True)
    gone = members.look(S3Server(Layout(tmp_path)), Member("s3", endpoint, outside=True))
    assert not gone.running


def test_identities_that_share_a_key_have_the_rights_of_each(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    for identity in ("writer", "driller", "auditor"):
        path = layout.aws_credentials(identity)
        path.parent.mkdir(parents=True)
        path.write_bytes(wire.write_credentials("lonely" if identity == "auditor" else "shared", "secret"))
    KmsServer(layout).command(Path("python"), 1)
    callers = json.loads((layout.member("kms") / "callers.json").read_bytes())
    gate = Gate(lambda *_: [b"done"], Store(tmp_path / "keys"), callers)

    def may(key: str, action: str) -> bool:
        environ = {
            "PATH_INFO": "/",
            "HTTP_X_AMZ_TARGET": f"TrentService.{action}",
            "wsgi.input": io.BytesIO(),
        }
        environ["HTTP_AUTHORIZATION"] = (
            f"AWS4-HMAC-SHA256 Credential={key}/20260101/us-east-1/kms/aws4_request"
        )
        return gate(environ, lambda *_: None) == [b"done"]

    assert may("shared", "Encrypt")
    assert may("shared", "Decrypt")
    assert not may("shared", "CreateKey")
    assert may("lonely", "DescribeKey")
    assert not may("lonely", "Decrypt")


def test_ambient_settings_are_dropped() -> None:
    env = {"VAULT_ADDR": "x", "BAO_TOKEN": "x", "AWS_PROFILE": "x", "AWS_CONFIG_FILE": "x", "PATH": "p"}
    drop_ambient(env)
    assert env == {
        "PATH": "p",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def test_credentials_are_read_back_and_a_missing_profile_is_named(tmp_path: Path) -> None:
    path = tmp_path / "credentials"
    path.write_bytes(wire.write_credentials("access", "se%cret"))
    assert wire.read_credentials(path) == ("access", "se%cret")
    with pytest.raises(LocalFilesProblem, match="profile writer"):
        wire.read_credentials(path, "writer")
    with pytest.raises(LocalFilesProblem, match="profile default"):
        wire.read_credentials(tmp_path / "none")


def test_policies_give_no_right_to_remove() -> None:
    document = json.loads(infra_path("stack", "policies", "s3-bucket.json").read_text())
    actions = {action for statement in document["Statement"] for action in statement["Action"]}
    assert not [action for action in actions if "Delete" in action or "Bypass" in action or "*" in action]


def test_data_files_are_named_when_they_are_missing() -> None:
    with pytest.raises(LocalFilesProblem, match="infra/stack/none is missing"):
        infra_path("stack", "none")
