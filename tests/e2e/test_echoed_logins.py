"""A Vault that repeats the token it was sent, and a token that cannot be sent: none of it is left."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.conftest import Place
from tests.support.commandline import Desk, Run
from tests.support.scripted_server import Answer, Asked, ScriptedServer

# Of no shape that is known: only who knows the value can take it out.
TOKEN = b"canary-0123456789-of-nobody"


@pytest.fixture
def desk(place: Place, tmp_path: Path) -> Desk:
    made = Desk(place, tmp_path, disk=True)
    made.escrow()
    return made


def use_token(desk: Desk, token: bytes) -> None:
    path = desk.write("vault-token", token)
    text, count = re.subn(
        r"(\[identity\.\w+\.vault\][^\n]*\n)(?:[a-z_]+ = [^\n]*\n)+",
        lambda found: f"{found[1]}token_file = {json.dumps(str(path))}\n",
        desk.config.read_text(),
    )
    assert count == 3
    desk.config.write_text(text)


def runs(desk: Desk) -> list[Run]:
    """Commands that ask Vault, for people and for programs."""
    given = (str(desk.export), "--export-passphrase-file", str(desk.passphrase_file))
    kinds: tuple[tuple[str, ...], ...] = ((), ("--json",), ("--json", "-vvv"), ("--log-format", "json"))
    return [
        desk.run(command, *(given if command == "escrow" else ()), *kind)
        for command in ("doctor", "drill", "escrow", "list")
        for kind in kinds[: 4 if command == "doctor" else 2]
    ]


def assert_none(desk: Desk, done: list[Run]) -> None:
    word = TOKEN[:17].decode()
    for run in done:
        assert word not in run.out + run.err, run
    kept = [path for path in desk.folder.rglob("*") if path.is_file() and path.name != "vault-token"]
    assert any("ledger" in path.parts for path in kept)
    for path in kept:
        assert word.encode() not in path.read_bytes(), path


@pytest.mark.parametrize("status", [400, 403])
def test_a_vault_that_repeats_the_token(desk: Desk, status: int) -> None:
    def script(asked: Asked) -> Answer:
        if asked.path == "/v1/auth/token/lookup-self":
            return Answer(body=b'{"data": {"ttl": 0, "policies": []}}')
        told = f"you sent {asked.headers.get('X-Vault-Token')}"
        return Answer(status, json.dumps({"errors": [told]}).encode())

    use_token(desk, TOKEN + b"\n")
    with ScriptedServer(script) as server:
        desk.edit(json.dumps(desk.stack.endpoint("vault")), json.dumps(server.url))
        done = runs(desk)
    assert any(asked.headers.get("X-Vault-Token") == TOKEN.decode() for asked in server.asked)
    assert any("you sent [redacted]" in run.out for run in done)
    assert_none(desk, done)


@pytest.mark.parametrize("more", [b"\r\nX-Evil: 1\n", b"\x00", b"\rsecond"])
def test_a_token_that_cannot_be_sent(desk: Desk, more: bytes) -> None:
    use_token(desk, TOKEN + more)
    done = runs(desk)
    assert any("vault-token holds no token" in run.out for run in done)
    assert_none(desk, done)
