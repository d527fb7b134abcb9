from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.identities import VaultIdentity
from pipeline.config.places import VaultPlace
from pipeline.core.clock import Deadline
from pipeline.core.errors import DeadlinePassed, Denied, OrgkeyError, Unreachable, UsageProblem
from pipeline.providers.credentials import read_token
from pipeline.providers.vault.answers import Health
from pipeline.providers.vault.session import VaultSession
from tests.support.scripted_server import Answer, Asked, ScriptedServer, certificate

TOKEN = "s.canary-token"


def lookup(ttl: int = 0, renewable: bool = False) -> Answer:
    data = {"ttl": ttl, "renewable": renewable, "policies": ["writer"]}
    return Answer(body=json.dumps({"request_id": "x", "data": data}).encode())


def logged_in(token: str = TOKEN, ttl: int = 3600) -> Answer:
    auth = {"client_token": token, "lease_duration": ttl, "renewable": True, "policies": ["writer"]}
    return Answer(body=json.dumps({"auth": auth}).encode())


def said(status: int, *errors: str, **headers: str) -> Answer:
    return Answer(status, json.dumps({"errors": list(errors)}).encode(), headers)


@pytest.fixture
def token_file(tmp_path: Path) -> VaultIdentity:
    (tmp_path / "token").write_text(TOKEN + "\n")
    return VaultIdentity(token_file=str(tmp_path / "token"))


@pytest.fixture
def approle(tmp_path: Path) -> VaultIdentity:
    (tmp_path / "role").write_text("role\n")
    (tmp_path / "secret").write_text("secret\n")
    return VaultIdentity(role_id_file=str(tmp_path / "role"), secret_id_file=str(tmp_path / "secret"))


def open_session(
    url: str, identity: VaultIdentity | None, *, seconds: float = 30, **place: Any
) -> VaultSession:
    return VaultSession(
        VaultPlace(address=url, **place), identity, call_seconds=3, deadline=Deadline(seconds), role="writer"
    )


def read(client: Any) -> Any:
    return client.get("orgkey/config")


def after_login(answer: Answer, health: Answer | None = None) -> Callable[[Asked], Answer]:
    def script(asked: Asked) -> Answer:
        if asked.path == "/v1/auth/token/lookup-self":
            return lookup()
        if asked.path == "/v1/sys/health":
            return health or Answer()
        return answer

    return script


@pytest.mark.parametrize(
    ("answer", "kind", "again", "text"),
    [
        (said(400, "invalid ciphertext"), UsageProblem, None, "invalid ciphertext"),
        (said(403, "permission denied"), Denied, None, "permission denied"),
        (said(404), UsageProblem, None, "nothing there"),
        (said(404, "no handler for route"), UsageProblem, None, "no handler"),
        (said(405, "unsupported operation"), UsageProblem, None, "unsupported operation"),
        (said(412, "required index state not present"), Unreachable, True, "status 412"),
        (said(413, "too large"), UsageProblem, None, "too large"),
        (said(429, "rate limit"), Unreachable, True, "status 429"),
        (said(500, "boom"), Unreachable, True, "boom"),
        (Answer(502, b"<html>bad gateway", content_type="text/html"), Unreachable, True, "a web page"),
        (said(504), Unreachable, True, "status 504"),
        (Answer(200, b"<html>portal", content_type="text/html"), Unreachable, False, "web page"),
        (Answer(503, b"[]"), Unreachable, True, "as a vault does"),
        (Answer(403, b'"no"'), Unreachable, False, "as a vault does"),
        (Answer(403, b"no"), Denied, None, "refuses"),
    ],
)
def test_each_answer_has_its_meaning(
    token_file: VaultIdentity, answer: Answer, kind: type[OrgkeyError], again: bool | None, text: str
) -> None:
    with ScriptedServer(after_login(answer)) as server:
        session = open_session(server.url, token_file)
        with pytest.raises(kind, match=text) as raised:
            session.call(read, "look")
    assert getattr(raised.value, "again", None) == again
    assert raised.value.message.startswith("look: ")
    assert raised.value.hint
    assert TOKEN not in str(raised.value)


@pytest.mark.parametrize(
    ("status", "state", "text"),
    [
        (503, Health.SEALED, "is sealed"),
        (501, Health.NOT_INITIALISED, "is not initialised"),
        (472, Health.DR_SECONDARY, "disaster recovery secondary"),
    ],
)
@pytest.mark.parametrize("namespace", [None, "team"])
def test_unusable_states_are_named_and_not_waited_for(
    token_file: VaultIdentity, status: int, state: Health, text: str, namespace: str | None
) -> None:
    # A sealed server answers everything with 503; only its health says what it is, and in no namespace.
    health = {"/v1/sys/health": Answer(status, b'{"initialized": true, "sealed": true}')}
    health["/v1/sys/seal-status"] = Answer(200, b'{"type": "shamir"}')

    def script(asked: Asked) -> Answer:
        answer = health.get(asked.path, said(503, "sealed"))
        if asked.path in health and "X-Vault-Namespace" in asked.headers:
            answer = said(400, "operation unavailable in namespaces")
        return answer

    with ScriptedServer(script) as server:
        session = open_session(server.url, token_file, namespace=namespace)
        assert session.health() is state
        assert session.seal()[0] == "shamir"
        assert not state.usable
        with pytest.raises(Unreachable, match=text) as raised:
            session.call(read, "look")
    assert not raised.value.again


@pytest.mark.parametrize("state", [Health.ACTIVE, Health.STANDBY, Health.PERFORMANCE_STANDBY])
def test_standbys_are_usable(token_file: VaultIdentity, state: Health) -> None:
    fine = Answer(body=b'{"data": {"max_versions": 0}}')
    with ScriptedServer(after_login(fine, Answer(state.value))) as server:
        session = open_session(server.url, token_file)
        assert session.health() is state
        assert state.usable
        assert session.call(read, "look")["data"] == {"max_versions": 0}


def test_a_load_balancer_s_503_is_waited_for(token_file: VaultIdentity) -> None:
    busy = Answer(503, b"", {"Retry-After": "7"}, "text/plain")
    with (
        ScriptedServer(after_login(busy, Answer(200))) as server,
        pytest.raises(Unreachable) as raised,
    ):
        open_session(server.url, token_file).call(read, "look")
    assert raised.value.again
    assert raised.value.retry_after == 7


@pytest.mark.parametrize("body", [b"<html>no server is available", b'{"message": "no healthy upstream"}'])
def test_a_load_balancer_without_servers_is_no_sealed_vault(token_file: VaultIdentity, body: bytes) -> None:
    """HAProxy answers every path so, that of the health too, while a cluster elects its leader."""
    with ScriptedServer(lambda asked: Answer(503, body)) as server:
        session = open_session(server.url, token_file)
        assert session.health() is None
        with pytest.raises(Unreachable, match="cannot serve now") as raised:
            session.call(read, "look")
    assert raised.value.again
    assert raised.value.retry_after == 2.0


@pytest.mark.parametrize("state", [472, 473, 429])
def test_what_openbao_has_not_a_standby_of_vault_enterprise_answers(
    token_file: VaultIdentity, state: int
) -> None:
    """As an answer to a request: a DR secondary serves nothing, the others only not now."""
    health = Answer(state, b'{"initialized": true, "sealed": false}')
    with ScriptedServer(after_login(said(state, "not here"), health)) as server:
        session = open_session(server.url, token_file)
        with pytest.raises(Unreachable) as raised:
            session.call(read, "look")
    assert raised.value.again is (state != 472)
    assert ("disaster recovery" in raised.value.message) is (state == 472)


def test_a_cluster_without_a_leader_is_given_time(token_file: VaultIdentity) -> None:
    told = said(500, "local node not active but active cluster node not found")
    with ScriptedServer(after_login(told)) as server:
        session = open_session(server.url, token_file)
        with pytest.raises(Unreachable, match="has no leader now") as raised:
            session.call(read, "look")
    assert raised.value.again
    assert raised.value.retry_after == 2.0
    assert "election" in raised.value.hint


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed_with_the_token(token_file: VaultIdentity, status: int) -> None:
    with ScriptedServer(lambda asked: Answer()) as other:
        away = Answer(status, b"", {"Location": f"{other.url}/v1/orgkey/config"})
        with ScriptedServer(after_login(away)) as server:
            session = open_session(server.url, token_file)
            with pytest.raises(Unreachable, match="redirects to") as raised:
                session.call(read, "look")
        # 307 is a standby's word, also while an election goes on: later it forwards.
        assert raised.value.again is (status == 307)
        assert raised.value.retry_after == (2.0 if status == 307 else None)
        assert other.asked == []


def test_headers_and_login_once(approle: VaultIdentity, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "ambient")
    monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:9")
    monkeypatch.setenv("VAULT_NAMESPACE", "ambient")
    fine = Answer(body=b'{"request_id":"01234567-89ab-cdef-0123-456789abcdef","data": {}}')

    def script(asked: Asked) -> Answer:
        return logged_in() if asked.path == "/v1/auth/approle/login" else fine

    with ScriptedServer(script) as server:
        session = open_session(server.url, approle, namespace="team")
        assert server.asked == []
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: session.call(read, "look"), range(8)))
    logins = [asked for asked in server.asked if "login" in asked.path]
    assert len(logins) == 1
    assert "X-Vault-Token" not in logins[0].headers
    assert {asked.headers.get("X-Vault-Token") for asked in server.asked} == {None, TOKEN}
    assert {asked.headers.get("X-Vault-Namespace") for asked in server.asked} == {"team"}
    assert {asked.headers.get("X-Vault-Request") for asked in server.asked} == {"true"}
    assert session.request_ids == ["01234567-89ab-cdef-0123-456789abcdef"] * 8


def test_a_refused_login_is_denied(approle: VaultIdentity) -> None:
    with (
        ScriptedServer(lambda asked: said(400, "invalid role or secret ID")) as server,
        pytest.raises(Denied, match="AppRole login") as raised,
    ):
        open_session(server.url, approle).call(read, "look")
    assert "secret id" in raised.value.hint


class Tokens:
    """A server whose tokens live for a number of uses."""

    def __init__(self, uses: int) -> None:
        self.uses = uses
        self.left: dict[str, int] = {}
        self.lock = threading.Lock()

    def __call__(self, asked: Asked) -> Answer:
        with self.lock:
            if "login" in asked.path:
                token = f"t{len(self.left)}"
                self.left[token] = self.uses
                return logged_in(token)
            token = asked.headers["X-Vault-Token"]
            if self.left[token] <= 0:
                return said(403, "permission denied")
            if "lookup" in asked.path:
                return lookup()
            self.left[token] -= 1
            return Answer(body=b'{"data": {}}')


def test_a_token_that_expires_is_replaced_once(approle: VaultIdentity) -> None:
    tokens = Tokens(2)
    with ScriptedServer(tokens) as server:
        session = open_session(server.url, approle)
        for _ in range(4):
            session.call(read, "look")
        assert len(tokens.left) == 2
        with pytest.raises(Denied, match="expired twice"):
            session.call(read, "look")
        assert len(tokens.left) == 2


@pytest.mark.parametrize("value", ["1h", [1], 1e400, None])
@pytest.mark.parametrize("field", ["lease_duration", "num_uses", "policies", "renewable", "renewed"])
def test_a_login_with_odd_facts_never_ends_in_an_error_of_the_library(
    approle: VaultIdentity, field: str, value: Any
) -> None:
    def script(asked: Asked) -> Answer:
        lasting = {"lease_duration": value if field == "renewed" else 3600}
        auth = {"client_token": TOKEN, "lease_duration": 5, "renewable": True, "policies": ["writer"]}
        told = lasting if asked.path.endswith("renew-self") else auth | {field: value}
        return Answer(body=json.dumps({"auth": told, "data": {}}).encode())

    with ScriptedServer(script) as server, suppress(Unreachable):
        open_session(server.url, approle).call(read, "look")


def test_threads_share_the_fresh_login(approle: VaultIdentity) -> None:
    tokens = Tokens(6)
    with ScriptedServer(tokens) as server:
        session = open_session(server.url, approle)
        with ThreadPoolExecutor(5) as pool:
            list(pool.map(lambda _: session.call(read, "look"), range(12)))
    assert len(tokens.left) == 2


def test_a_missing_right_is_no_reason_to_log_in_again(approle: VaultIdentity) -> None:
    def script(asked: Asked) -> Answer:
        if "login" in asked.path:
            return logged_in()
        return lookup() if "lookup" in asked.path else said(403, "permission denied")

    with ScriptedServer(script) as server:
        session = open_session(server.url, approle)
        for _ in range(3):
            with pytest.raises(Denied, match="permission denied"):
                session.call(read, "look")
    assert sum("login" in asked.path for asked in server.asked) == 1


def test_a_token_that_may_not_look_itself_up_costs_one_login(approle: VaultIdentity) -> None:
    def script(asked: Asked) -> Answer:
        return logged_in() if "login" in asked.path else said(403, "permission denied")

    with ScriptedServer(script) as server:
        session = open_session(server.url, approle)
        for _ in range(3):
            with pytest.raises(Denied, match="permission denied"):
                session.call(read, "look")
    assert sum("login" in asked.path for asked in server.asked) == 2


@pytest.mark.parametrize(("renewed", "fits"), [(100, True), (5, False)])
def test_a_given_token_is_renewed_and_has_to_outlive_the_run(
    token_file: VaultIdentity, renewed: int, fits: bool
) -> None:
    def script(asked: Asked) -> Answer:
        if "lookup" in asked.path:
            return lookup(ttl=10, renewable=True)
        return logged_in(ttl=renewed) if "renew" in asked.path else Answer(body=b'{"data": {}}')

    with ScriptedServer(script) as server:
        session = open_session(server.url, token_file, seconds=60)
        if fits:
            session.call(read, "look")
        else:
            with pytest.raises(Denied, match="expires in 5 s"):
                session.call(read, "look")


def test_a_dead_token_is_denied_and_a_new_one_in_the_file_is_taken(
    token_file: VaultIdentity, tmp_path: Path
) -> None:
    valid = {TOKEN}

    def script(asked: Asked) -> Answer:
        if asked.headers["X-Vault-Token"] not in valid:
            return said(403, "permission denied")
        return lookup() if "lookup" in asked.path else Answer(body=b'{"data": {}}')

    with ScriptedServer(script) as server:
        session = open_session(server.url, token_file)
        session.call(read, "look")
        valid.clear()
        with pytest.raises(Denied, match="no longer accepted"):
            session.call(read, "look")
        (tmp_path / "token").write_text("s.next")
        valid.add("s.next")
        session.call(read, "look")
    with ScriptedServer(script) as server:
        valid.clear()
        with pytest.raises(Denied, match="does not know"):
            open_session(server.url, token_file).call(read, "look")


def test_where_a_token_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("VAULT_TOKEN", raising=False)
    with pytest.raises(UsageProblem, match="no login"):
        read_token(None, "writer")
    (tmp_path / ".vault-token").write_text("from-home\n")
    assert read_token(None, "writer").text() == "from-home"
    monkeypatch.setenv("VAULT_TOKEN", "from-environment")
    assert read_token(None, "writer").text() == "from-environment"
    (tmp_path / "token").write_text("\n")
    for name in ("token", "absent"):
        with pytest.raises(UsageProblem, match=name):
            read_token(VaultIdentity(token_file=str(tmp_path / name)), "writer")


def test_an_answer_without_the_expected_parts(approle: VaultIdentity) -> None:
    with (
        ScriptedServer(lambda asked: Answer(body=b'{"data": []}')) as server,
        pytest.raises(Unreachable, match="no auth"),
    ):
        open_session(server.url, approle).call(read, "look")


def test_the_deadline_comes_before_the_first_byte(token_file: VaultIdentity) -> None:
    with ScriptedServer(after_login(Answer())) as server:
        session = open_session(server.url, token_file, seconds=0)
        with pytest.raises(DeadlinePassed):
            session.call(read, "look")
        assert server.asked == []


def test_certificates(token_file: VaultIdentity, tmp_path: Path) -> None:
    fine = after_login(Answer(body=b'{"data": {}}'))
    ca_file, context = certificate(tmp_path)
    with ScriptedServer(fine, context) as server:
        open_session(server.url, token_file, ca_file=str(ca_file)).call(read, "look")
        with pytest.raises(Unreachable, match="authority that is not trusted") as raised:
            open_session(server.url, token_file).call(read, "look")
        assert not raised.value.again
        assert "ca_file" in raised.value.hint
        with pytest.raises(UsageProblem, match="CA file"):
            open_session(server.url, token_file, ca_file="/nowhere/ca.pem").call(read, "look")
    ca_file, context = certificate(tmp_path, address="127.0.0.2")
    with (
        ScriptedServer(fine, context) as server,
        pytest.raises(Unreachable, match="another host name"),
    ):
        open_session(server.url, token_file, ca_file=str(ca_file)).call(read, "look")
    ca_file, context = certificate(tmp_path, days=-1)
    with (
        ScriptedServer(fine, context) as server,
        pytest.raises(Unreachable, match="expired certificate"),
    ):
        open_session(server.url, token_file, ca_file=str(ca_file)).call(read, "look")
    with (
        ScriptedServer(fine) as server,
        pytest.raises(Unreachable, match="does not speak TLS"),
    ):
        open_session(server.url.replace("http:", "https:"), token_file).call(read, "look")


def test_a_name_that_does_not_resolve(token_file: VaultIdentity) -> None:
    with pytest.raises(Unreachable, match="cannot be resolved"):
        open_session("http://no-such-host.invalid:8200", token_file).call(read, "look")


def test_a_server_s_text_cannot_forge_lines(token_file: VaultIdentity) -> None:
    hostile = said(500, "boom\norgkey: error: forged \x1b[31m" + "x" * 10_000)
    with (
        ScriptedServer(after_login(hostile)) as server,
        pytest.raises(Unreachable) as raised,
    ):
        open_session(server.url, token_file).call(read, "look")
    assert "\n" not in raised.value.message
    assert "\x1b" not in raised.value.message
    assert len(raised.value.message) < 600


def test_what_was_written_is_asked_for_with_every_later_request(token_file: VaultIdentity) -> None:
    def script(asked: Asked) -> Answer:
        looks = asked.path == "/v1/auth/token/lookup-self"
        answer = lookup() if looks else Answer(body=b'{"data": {"version": 1}}')
        return replace(answer, headers={"X-Vault-Index": "i7"} if asked.method in ("POST", "PUT") else {})

    with ScriptedServer(script) as server:
        session = open_session(server.url, token_file)
        session.call(lambda client: client.post("orgkey/data/x", {}), "write")
        session.call(read, "read")
        # Another login of the same run, as the driller's after the writer's.
        place = VaultPlace(address=server.url)
        other = VaultSession(place, token_file, call_seconds=3, deadline=session.deadline, role="driller")
        other.call(read, "read")
        indexes = [asked.headers.get("X-Vault-Index") for asked in server.asked]
        assert set(indexes[indexes.index("i7") :]) == {"i7"}
        assert indexes.count("i7") >= 3
    indexes = [asked.headers.get("X-Vault-Index") for asked in server.asked]
    assert indexes[0] is None
    assert indexes[-1] == "i7"
    assert server.asked[-1].headers.get("X-Vault-Inconsistent") == "forward-active-node"


def test_the_systems_authorities_are_trusted_where_that_is_asked_for(
    token_file: VaultIdentity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca_file, context = certificate(tmp_path)
    with ScriptedServer(after_login(Answer(body=b'{"data": {}}')), context) as server:
        with pytest.raises(Unreachable, match="authority that is not trusted") as raised:
            open_session(server.url, token_file, ca_file="system").call(read, "look")
        assert "the system's bundle does not hold that authority" in raised.value.hint
        with monkeypatch.context() as patch:
            patch.setenv("SSL_CERT_FILE", str(ca_file))
            open_session(server.url, token_file, ca_file="system").call(read, "look")
        # Of a folder OpenSSL reads what is called by its subject's hash, as `openssl rehash` calls it.
        folder = tmp_path / "authorities"
        folder.mkdir()
        (folder / "ca.pem").symlink_to(ca_file)
        monkeypatch.setenv("SSL_CERT_DIR", str(folder))
        with pytest.raises(Unreachable, match="authority that is not trusted"):
            open_session(server.url, token_file, ca_file="system").call(read, "look")
        (folder / "ca.pem").rename(folder / "756b76dc.0")
        open_session(server.url, token_file, ca_file="system").call(read, "look")
        # Nothing but the word brings it in.
        with pytest.raises(Unreachable, match="authority that is not trusted"):
            open_session(server.url, token_file).call(read, "look")


@pytest.mark.parametrize(("content", "told"), [(None, "does not exist"), (b"-", "holds no certificate")])
def test_a_bundle_of_the_system_that_cannot_be_used_is_named(
    token_file: VaultIdentity,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: bytes | None,
    told: str,
) -> None:
    bundle = tmp_path / "bundle.pem"
    if content is not None:
        bundle.write_bytes(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    with pytest.raises(UsageProblem, match=f"{bundle} {told}"):
        open_session("https://127.0.0.1:1", token_file, ca_file="system").call(read, "look")
    monkeypatch.setenv("VAULT_CACERT", str(bundle))
    with pytest.raises(UsageProblem, match=told) as caught:
        open_session("https://127.0.0.1:1", token_file, ca_file=str(bundle)).call(read, "look")
    assert content or caught.value.hint == "correct the variable VAULT_CACERT"
