"""Logging at the highest level, with the real libraries talking to a server on loopback."""

from __future__ import annotations

import base64
import json
import logging
import threading
import warnings
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pipeline.core import log as logs
from pipeline.core.redaction import MARK, Redactor
from pipeline.core.secret import Secret
from tests.support import quiet_log

SHARE = b"academic acid academic leaf briefing jury"
CANARIES = {
    "the share": SHARE.decode(),
    "the share in base64": base64.b64encode(SHARE).decode().rstrip("="),
    "the share in hex": SHARE.hex(),
    "the access key's secret": "canary-secret-access-key",
    "the session token": "canary-session-token",
    "the Vault token": "s.CanaryCanaryCanaryCanary",
    "the body of an object": "canary-body-of-an-object",
    "a signature": "Signature=",
}


class Answers(BaseHTTPRequestHandler):
    """Says enough of KMS, S3 and Vault's Transit for one call each."""

    def _answer(self, body: bytes, **headers: str) -> None:
        self.send_response(200)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        plain = base64.b64encode(SHARE).decode()
        if self.path == "/b/k":
            self._answer(b"", ETag='"0"')
        elif "/transit/" in self.path:
            self._answer(json.dumps({"data": {"plaintext": plain}}).encode(), Content_Type="application/json")
        else:
            self._answer(json.dumps({"Plaintext": plain, "KeyId": "k"}).encode())

    def do_PUT(self) -> None:
        self.do_POST()

    def do_GET(self) -> None:
        self._answer(b"canary-body-of-an-object")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in http.server
        return


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as serving:
        thread = threading.Thread(target=serving.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def fresh_logging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(logs, "_redactor", Redactor())
    yield
    quiet_log.shut_down()


def talk(server: str) -> None:
    """One call of each kind that carries a share, a record or a login."""
    import boto3
    import hvac
    from botocore.config import Config

    settings = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
    session = boto3.Session("AKIDCANARY", "canary-secret-access-key", "canary-session-token", "us-east-1")
    kms = session.client("kms", endpoint_url=server, config=settings)
    kms.encrypt(KeyId="k", Plaintext=SHARE)
    assert kms.decrypt(CiphertextBlob=b"sealed")["Plaintext"] == SHARE
    s3 = session.client("s3", endpoint_url=server, config=settings)
    assert s3.get_object(Bucket="b", Key="k")["Body"].read() == b"canary-body-of-an-object"
    s3.put_object(Bucket="b", Key="k", Body=b"canary-body-of-an-object")
    vault = hvac.Client(server, token="s.CanaryCanaryCanaryCanary")
    answer = vault.secrets.transit.decrypt_data("orgkey", "vault:v1:sealed")
    assert base64.b64decode(answer["data"]["plaintext"]) == SHARE
    for client in (kms, s3):
        client.close()
    vault.adapter.close()


@pytest.mark.parametrize("as_json", [False, True])
def test_the_highest_level_tells_no_secret(
    server: str, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    logs.setup(3, json=as_json)
    talk(server)
    said = capsys.readouterr().err

    assert [name for name, canary in CANARIES.items() if canary in said] == []
    # It is still worth something: connections and calls can be followed.
    assert "urllib3.connectionpool" in said
    assert "/v1/transit/decrypt/orgkey" in said
    assert "botocore.endpoint" in said
    assert "Making request for %s with params: %s (arguments withheld)" in said


def test_without_these_layers_the_same_calls_would_tell(
    server: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        talk(server)
    told = [name for name, canary in CANARIES.items() if canary in caplog.text]
    assert {"the share in base64", "the session token", "a signature"} <= set(told)


def test_a_registered_secret_is_taken_out_of_our_own_lines_and_tracebacks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.setup(3)
    secret = logs.redact(Secret("correct horse battery"))
    log = logging.getLogger("pipeline.example")
    log.info("passphrase %s and %r", secret.text(), secret.reveal())
    try:
        raise ValueError(f"bad: {secret.reveal().hex()}")
    except ValueError:
        log.exception("it failed")

    said = capsys.readouterr().err
    assert "correct horse" not in said
    assert secret.reveal().hex() not in said
    assert "Traceback" in said
    assert said.count(MARK) >= 3


@pytest.mark.parametrize(
    ("level", "seen"),
    [(-1, "WE"), (0, "WE"), (1, "IWE"), (2, "DIWE"), (3, "DIWE"), (9, "DIWE")],
)
def test_levels_turn_our_own_lines_up(level: int, seen: str, capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup(level)
    log = logging.getLogger("pipeline.example")
    for letter, say in (("D", log.debug), ("I", log.info), ("W", log.warning), ("E", log.error)):
        say("line-%s", letter)
    said = capsys.readouterr().err
    assert "".join(letter for letter in "DIWE" if f"line-{letter}" in said) == seen


def test_others_debug_lines_come_at_the_highest_level_only(capsys: pytest.CaptureFixture[str]) -> None:
    other = logging.getLogger("urllib3.connectionpool")
    logs.setup(2)
    other.debug("first")
    logs.setup(3)
    other.debug("second")
    said = capsys.readouterr().err
    assert "first" not in said
    assert said.count("second") == 1, "a second setup replaces the first"


def test_an_unknown_library_has_its_arguments_withheld_and_preformatted_lines_dropped(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.setup(3)
    log = logging.getLogger("somebody.new")
    log.debug("got %s", "contents-as-argument")
    log.debug("got contents-in-the-template")
    try:
        raise ValueError("contents-in-an-exception")
    except ValueError:
        log.debug("failed for %s", "x", exc_info=True)
    log.warning("worth knowing")

    said = capsys.readouterr().err
    assert "contents" not in said
    assert "got %s (arguments withheld)" in said
    assert "worth knowing" in said


def test_a_line_that_cannot_be_formatted_does_not_print_its_arguments(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.setup(1)
    facts = {"name": "pipeline.example", "msg": "two %s %s", "args": ("contents-as-argument",), "levelno": 20}
    # Straight to our handler: pytest's own raises.
    (handler,) = [item for item in logging.getLogger().handlers if type(item).__module__ == logs.__name__]
    handler.handle(logging.makeLogRecord(facts))
    said = capsys.readouterr().err
    assert "contents-as-argument" not in said
    assert "could not be formatted" in said


def test_lines_carry_the_runs_correlation_id(capsys: pytest.CaptureFixture[str]) -> None:
    first = logs.setup(1)
    logging.getLogger("pipeline.example").info("a line")
    second = logs.setup(1, json=True)
    logging.getLogger("pipeline.example").info("another")

    text, document = capsys.readouterr().err.splitlines()
    assert f" {first} info pipeline.example: a line" in text
    entry = json.loads(document)
    assert (entry["run"], entry["message"], entry["level"]) == (second, "another", "info")
    assert entry["time"].endswith("Z")
    assert first != second


def test_warnings_of_libraries_stay_off_an_operators_screen(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        for level, seen in ((0, False), (2, True)):
            logs.setup(level)
            warnings.warn("old cipher", DeprecationWarning, stacklevel=1)
            assert ("old cipher" in capsys.readouterr().err) is seen
        quiet_log.shut_down()


@pytest.mark.parametrize(
    ("output", "line"),
    [
        (b"", ""),
        (b"one\n\n  two \r\n", "one; two"),
        (b"\x1b[31mred\x1b[0m\x07 \xff", "[31mred[0m \N{REPLACEMENT CHARACTER}"),
        (b"X-Vault-Token: s.abc\nnext", f"X-Vault-Token: {MARK}; next"),
    ],
)
def test_a_programs_last_words_become_one_harmless_line(output: bytes, line: str) -> None:
    assert logs.last_words(output) == line


def test_last_words_are_bounded() -> None:
    assert logs.last_words(b"a" * 5000 + b"END", limit=10) == "[...] aaaaaaaEND"
