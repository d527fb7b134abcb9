"""Credentials that cannot be sent, and servers that repeat those they were sent: none is ever shown."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.output import Output, report_error
from pipeline.config.identities import AwsIdentity, VaultIdentity
from pipeline.config.places import AwsPlace, VaultPlace
from pipeline.core import log
from pipeline.core.clock import Deadline
from pipeline.core.errors import Denied, OrgkeyError, Unreachable, UsageProblem
from pipeline.core.redaction import MARK, Redactor
from pipeline.core.secret import Secret
from pipeline.evidence.ledger.store import Ledger
from pipeline.providers.aws.session import AwsSession
from pipeline.providers.credentials import read_secret, read_token
from pipeline.providers.vault.session import VaultSession
from tests.support.scripted_server import Answer, Asked, ScriptedServer

# Of no shape that is known: only who registered it can take it out.
TOKEN = "canary-0123456789"
UNSENDABLE = [
    f"{TOKEN}\r\nX-Evil: 1",
    f"{TOKEN}\nsecond",
    f"{TOKEN}\rsecond",
    f"{TOKEN}\x00",
    f"{TOKEN}\x0bsecond",
    f"{TOKEN}\x7f",
    f"{TOKEN}\x1b[31m",
    f"{TOKEN} second",
    f"{TOKEN}\tsecond",
    f"{TOKEN}ü",
    f"{TOKEN}\u2028second",
]


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "_redactor", Redactor())
    monkeypatch.setattr(log, "_logins", Redactor())


def identity(folder: Path, token: str = TOKEN) -> VaultIdentity:
    (folder / "token").write_bytes(token.encode())
    return VaultIdentity(token_file=str(folder / "token"))


def session(url: str, who: VaultIdentity | None, **place: Any) -> VaultSession:
    return VaultSession(
        VaultPlace(address=url, **place), who, call_seconds=3, deadline=Deadline(30), role="writer"
    )


def whole(error: OrgkeyError) -> str:
    return f"{error.message}\n{error.hint}"


@pytest.mark.parametrize("text", UNSENDABLE)
@pytest.mark.parametrize("called", ["token", "role id", "secret id", "JSON web token"])
def test_a_file_with_what_cannot_be_sent(tmp_path: Path, called: str, text: str) -> None:
    file = tmp_path / "credential"
    file.write_bytes(text.encode())
    with pytest.raises(UsageProblem, match=f"holds no {called}") as raised:
        read_secret(str(file), called)
    assert raised.value.hint.endswith("plain text on one line")
    assert TOKEN not in whole(raised.value)


@pytest.mark.parametrize("text", [text for text in UNSENDABLE if "\x00" not in text] + [f"{TOKEN}\udcff"])
def test_a_variable_with_what_cannot_be_sent(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("VAULT_TOKEN", text)
    with pytest.raises(UsageProblem, match="VAULT_TOKEN holds no token") as raised:
        read_token(None, "writer")
    assert TOKEN not in whole(raised.value)


def test_line_ends_that_editors_leave_are_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_token(identity(tmp_path, f"{TOKEN}\r\n"), "writer").text() == TOKEN
    monkeypatch.setenv("VAULT_TOKEN", f"{TOKEN}\n")
    assert read_token(None, "writer").text() == TOKEN


def test_a_token_that_a_server_gives_and_nobody_can_send(tmp_path: Path) -> None:
    for name in ("role", "secret"):
        (tmp_path / name).write_text(name)
    who = VaultIdentity(role_id_file=str(tmp_path / "role"), secret_id_file=str(tmp_path / "secret"))
    auth = {"client_token": UNSENDABLE[0], "lease_duration": 60}
    with (
        ScriptedServer(lambda _: Answer(body=json.dumps({"auth": auth}).encode())) as server,
        pytest.raises(Unreachable, match=r"does not answer as a vault does|web page") as raised,
    ):
        session(server.url, who).read("sys/mounts", "look")
    assert TOKEN not in whole(raised.value)


@pytest.mark.parametrize("namespace", ["team\r\nX-Evil: 1", "t\u00e9am", "a team"])
def test_a_namespace_that_cannot_be_sent_is_not_shown(tmp_path: Path, namespace: str) -> None:
    with (
        ScriptedServer(echoing(200)) as server,
        pytest.raises(UsageProblem, match=r"^look: .* cannot be sent") as raised,
    ):
        session(server.url, identity(tmp_path), namespace=namespace).read("sys/mounts", "look")
    assert server.asked == []
    assert namespace not in whole(raised.value)


def echoing(status: int, before: str = "", header: str = "X-Vault-Token") -> Any:
    def script(asked: Asked) -> Answer:
        if asked.path == "/v1/auth/token/lookup-self":
            return Answer(body=json.dumps({"data": {"ttl": 0}}).encode())
        given = asked.headers.get(header) or asked.body.decode()
        told = f"{before}you sent {given} and {base64.b64encode(given.encode()).decode()}"
        return Answer(status, json.dumps({"errors": [told]}).encode())

    return script


@pytest.mark.parametrize("status", [400, 403, 404, 405, 429, 500, 503])
# Where a message is cut off, no part of the token is left either.
@pytest.mark.parametrize("before", ["", "x" * 280])
def test_a_server_that_repeats_the_token(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], status: int, before: str
) -> None:
    with (
        ScriptedServer(echoing(status, before)) as server,
        pytest.raises(OrgkeyError) as raised,
    ):
        session(server.url, identity(tmp_path)).write("orgkey/data/x", {}, "write")
    error = raised.value
    assert TOKEN[:6] not in whole(error)
    if not before and status in (400, 403):
        assert f"you sent {MARK}" in error.message
    report_error(error, as_json=True)
    shown = capsys.readouterr()
    assert TOKEN[:6] not in shown.out + shown.err


def test_a_server_that_repeats_the_token_in_a_header(tmp_path: Path) -> None:
    def script(asked: Asked) -> Answer:
        return Answer(302, headers={"Location": f"http://x/{asked.headers['X-Vault-Token']}"})

    with ScriptedServer(script) as server, pytest.raises(Unreachable, match="redirects") as raised:
        session(server.url, identity(tmp_path)).read("sys/mounts", "look")
    assert TOKEN not in whole(raised.value)


def test_a_server_that_repeats_the_secret_id(tmp_path: Path) -> None:
    (tmp_path / "role").write_text("role-of-the-writer")
    (tmp_path / "secret").write_text(TOKEN)
    who = VaultIdentity(role_id_file=str(tmp_path / "role"), secret_id_file=str(tmp_path / "secret"))
    with (
        ScriptedServer(echoing(400, header="none")) as server,
        pytest.raises(Denied, match="AppRole login") as raised,
    ):
        session(server.url, who).read("sys/mounts", "look")
    assert TOKEN not in whole(raised.value)
    assert "role-of-the-writer" in raised.value.message  # no secret


def test_a_service_that_repeats_aws_credentials(tmp_path: Path) -> None:
    secret = "abcdefghijklmnopqrstuvwxyz0123456789ABCD"
    (tmp_path / "credentials").write_text(
        f"[default]\naws_access_key_id = AKIATEST\naws_secret_access_key = {secret}\n"
        f"aws_session_token = {TOKEN}\n"
    )

    def script(asked: Asked) -> Answer:
        told = f"you sent {asked.headers['X-Amz-Security-Token']}, signed with {secret}"
        body = f"<Error><Code>AccessDenied</Code><Message>{told}</Message></Error>"
        return Answer(403, body.encode(), content_type="application/xml")

    with ScriptedServer(script) as server, pytest.raises(Denied, match="you sent") as raised:
        AwsSession(
            AwsPlace(region="eu-central-1", endpoint_url=server.url),
            AwsIdentity(credentials_file=str(tmp_path / "credentials")),
            call_seconds=3,
            deadline=Deadline(30),
            role="writer",
        ).call(lambda client: client.get_object(Bucket="some-bucket", Key="x"), "s3", "read")
    assert TOKEN not in whole(raised.value)
    assert secret not in whole(raised.value)


def test_a_proxy_that_repeats_its_password(tmp_path: Path) -> None:
    def script(asked: Asked) -> Answer:
        login = base64.b64decode(asked.headers["Proxy-Authorization"].split()[1]).decode()
        told = f"{asked.headers['Proxy-Authorization']} is {login}"
        return Answer(403, json.dumps({"errors": [told]}).encode())

    with ScriptedServer(script) as server:
        (tmp_path / "proxy").write_text(server.url.replace("http://", "http://user:pass%21word-1@"))
        with pytest.raises(Denied) as raised:
            session("http://vault.invalid", identity(tmp_path), proxy_file=str(tmp_path / "proxy")).read(
                "sys/mounts", "look"
            )
        assert server.asked
    for spelled in ("pass!word-1", "pass%21word-1", base64.b64encode(b"user:pass!word-1").decode()):
        assert spelled not in whole(raised.value)


@pytest.mark.parametrize("port", ["127.0.0.1:99999", "[::1", "[::1:3128", "[a]:3128", "127.0.0.1:x", ":3128"])
@pytest.mark.parametrize("login", ["", "user:pass-word-1@"])
def test_a_proxy_file_whose_address_is_none(tmp_path: Path, port: str, login: str) -> None:
    (tmp_path / "proxy").write_text(f"http://{login}{port}\n")
    with pytest.raises(UsageProblem, match="proxy does not hold a proxy's address") as raised:
        session("http://vault.invalid", identity(tmp_path), proxy_file=str(tmp_path / "proxy")).read(
            "sys/mounts", "look"
        )
    assert "pass-word-1" not in whole(raised.value)


def test_a_proxy_of_the_environment_whose_address_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://user:pass-word-1@127.0.0.1:99999")
    with pytest.raises(UsageProblem, match=r"(?i)https?_proxy is not") as raised:
        session("http://vault.invalid", identity(tmp_path)).read("sys/mounts", "look")
    assert "pass-word-1" not in whole(raised.value)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(404, b"<html>not found", content_type="text/html"),
        Answer(404, b"404 page not found", content_type="text/plain; charset=utf-8"),
        Answer(body=b'{"data": []}'),
        Answer(body=b'{"data": null}'),
        Answer(body=b'{"data": "x"}'),
        Answer(body=b"[]"),
    ],
)
def test_what_is_no_vault_is_not_taken_for_nothing_there(tmp_path: Path, answer: Answer) -> None:
    def script(asked: Asked) -> Answer:
        return Answer(body=b'{"data": {"ttl": 0}}') if asked.path.endswith("lookup-self") else answer

    with (
        ScriptedServer(script) as server,
        pytest.raises(Unreachable, match=r"does not answer as a vault does|web page"),
    ):
        session(server.url, identity(tmp_path)).read("sys/mounts", "look")


def test_what_is_not_there_is_none(tmp_path: Path) -> None:
    def script(asked: Asked) -> Answer:
        if asked.path.endswith("lookup-self"):
            return Answer(body=b'{"data": {"ttl": 0}}')
        return Answer(404, b'{"errors": []}')

    with ScriptedServer(script) as server:
        assert session(server.url, identity(tmp_path)).read("sys/x", "look") is None


def test_results_and_the_ledger_hold_no_login(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log.redact_login(Secret(TOKEN))
    document = {"schema": "orgkey.x/1", "findings": [{"message": f"it said {TOKEN}", "code": 2}]}
    Output(json=True).emit(document, [])
    Output().emit({}, [f"it said {TOKEN}"])
    Output().progress(f"it said {TOKEN}")
    Output().warn(f"it said {TOKEN}")
    shown = capsys.readouterr()
    assert TOKEN not in shown.out + shown.err
    assert (shown.out + shown.err).count(f"it said {MARK}") == 4

    ledger = Ledger(tmp_path, "A" * 40)
    ledger.append("failed", {"problems": [f"it said {TOKEN}"]}, now=datetime.now(UTC), run="0" * 16)
    assert TOKEN.encode() not in ledger.own().read(1)
    assert ledger.entries()[0].details == {"problems": [f"it said {MARK}"]}


def test_results_still_show_what_they_are_for(capsys: pytest.CaptureFixture[str]) -> None:
    share = " ".join(["academic"] * 33)
    log.redact(Secret(share))
    Output().emit({}, [share])
    assert capsys.readouterr().out == share + "\n"
