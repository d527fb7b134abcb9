"""Credentials for AWS that a program gives: fresh, stale, none, too late."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.core.errors import Denied, Unreachable
from tests.support.aws_look import EMPTY, ROLE, buckets, look
from tests.support.scripted_server import Answer, ScriptedServer


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


def process(folder: Path, body: str) -> str:
    """A profile whose credentials come from a program."""
    script = folder / "credentials.py"
    script.write_text(f"import json, os, sys, time\n{body}\n")
    return f"[profile job]\ncredential_process = {shlex.join([sys.executable, str(script)])}\n"


PRINTS = """
print(json.dumps({"Version": 1, "AccessKeyId": f"KEY{number}", "SecretAccessKey": "process-secret",
                  "SessionToken": "t", "Expiration": ends}))
"""


def test_credentials_that_end_are_renewed(s3: ScriptedServer, tmp_path: Path) -> None:
    # Five minutes are so few that botocore renews before each use; what it had is never used again.
    count = tmp_path / "count"
    body = f"""
number = int(open({str(count)!r}).read()) + 1 if os.path.exists({str(count)!r}) else 1
open({str(count)!r}, "w").write(str(number))
ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + (300 if number > 1 else -60)))
"""
    session = look(s3.url, tmp_path, process(tmp_path, body + PRINTS))
    session.call(buckets, "s3", "look")
    keys = [asked.headers["Authorization"].split("Credential=")[1].split("/")[0] for asked in s3.asked]
    assert keys[0] != "KEY1", "it had expired"
    assert keys[0] != keys[1]
    assert len(set(keys)) == 2


def test_credentials_that_are_never_fresh(s3: ScriptedServer, tmp_path: Path) -> None:
    body = 'number, ends = 1, "2020-01-01T00:00:00Z"\n' + PRINTS
    with pytest.raises(Denied, match="credentials cannot be used"):
        look(s3.url, tmp_path, process(tmp_path, body))
    assert s3.asked == []


@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        ('print("no json")', Denied, "not a JSON document"),
        ('print("[]")', Denied, "not a JSON document"),
        ('print(json.dumps({"Version": 1}))', Denied, "Missing required key"),
        ('sys.exit("the vault is closed")', Denied, "the vault is closed"),
    ],
)
def test_a_program_that_gives_no_credentials(
    s3: ScriptedServer, tmp_path: Path, body: str, kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind, match=text) as raised:
        look(s3.url, tmp_path, process(tmp_path, body))
    assert "credential_process of the profile job" in getattr(raised.value, "hint", "")


@pytest.mark.parametrize("through", ["itself", "source_profile"])
def test_a_program_that_does_not_end(s3: ScriptedServer, tmp_path: Path, through: str) -> None:
    # Its child keeps the pipes open, as a shell script's would: both are ended.
    body = """
import subprocess
subprocess.Popen(["sleep", "20"])
time.sleep(20)
number, ends = 1, None
"""
    text = process(tmp_path, body + PRINTS)
    if through == "source_profile":
        text = text.replace("[profile job]", "[profile base]")
        text += f"[profile job]\nrole_arn = {ROLE}\nsource_profile = base\n"
    with pytest.raises(Unreachable, match="credential_process did not end within"):
        look(s3.url, tmp_path, text, call_seconds=1)
