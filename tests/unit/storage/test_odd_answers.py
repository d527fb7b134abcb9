"""`doctor` on a server whose answers are not what they should be: one finding, and the rest still said."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.config.holders import TransitHolderConfig
from pipeline.config.identities import VaultIdentity
from pipeline.config.places import VaultPlace, VaultTargetConfig
from pipeline.core.clock import Deadline
from pipeline.core.errors import Code
from pipeline.core.finding import Finding, Level
from pipeline.custody.holders.transit import TransitKeyHolder
from pipeline.providers.vault.session import VaultSession
from pipeline.storage.vault.backend import VaultBackend
from tests.support.scripted_server import Answer, Asked, ScriptedServer

ROLE = "driller"
PLACE: dict[str, Any] = {"controlled_by": ("vault-admins",)}


def server(odd: dict[str, Any]) -> ScriptedServer:
    """Answers as a Vault with everything in order, but for these paths."""

    def script(asked: Asked) -> Answer:
        path = asked.path.partition("?")[0].removeprefix("/v1/")
        known: dict[str, Any] = {
            "auth/token/lookup-self": {"policies": ["orgkey-driller"], "ttl": 1200},
            "sys/internal/ui/mounts/orgkey": {"type": "kv", "options": {"version": "2"}},
            "orgkey/config": {"max_versions": 0, "delete_version_after": "0s"},
            "sys/health": {},
        } | odd
        if path == "sys/capabilities-self":
            paths = json.loads(asked.body)["paths"]
            rights = {"data": ["read"], "metadata": ["read", "list"], "decrypt": ["update"]}
            known[path] = {item: rights.get(item.split("/")[1], ["deny"]) for item in paths}
        if path not in known:
            return Answer(404, b'{"errors": []}')
        return Answer(200, json.dumps({"data": known[path]}).encode())

    return ScriptedServer(script)


def session(address: str, token: Any) -> VaultSession:
    place = VaultPlace(address=address)
    login = VaultIdentity(token_file=str(token))
    return VaultSession(place, login, call_seconds=5, deadline=Deadline(60), role=ROLE)


@pytest.fixture
def token(tmp_path: Any) -> Any:
    file = tmp_path / "token"
    file.write_text("s.token")
    file.chmod(0o600)
    return file


def failures(found: list[Finding]) -> list[tuple[str, Code]]:
    return [(item.message, item.code) for item in found if item.level is Level.FAIL]


def looked(address: str, token: Any) -> list[Finding]:
    settings = VaultTargetConfig(**PLACE, kind="vault", address=address)
    return VaultBackend("vault", settings, session(address, token)).check()


def held(address: str, token: Any) -> list[Finding]:
    settings = TransitHolderConfig(**PLACE, kind="vault-transit", address=address, key="orgkey-escrow")
    return TransitKeyHolder("vault", settings, session(address, token)).check()


@pytest.mark.parametrize(
    "odd",
    [
        {"orgkey/config": {"max_versions": "abc"}},
        {"orgkey/config": {"max_versions": [1]}},
        {"orgkey/config": ["x"]},
        {"orgkey/config": None},
        {"sys/internal/ui/mounts/orgkey": "x"},
    ],
    ids=str,
)
def test_an_odd_answer_about_the_mount_is_one_failure(token: Any, odd: dict[str, Any]) -> None:
    with server(odd) as at:
        ((said, code),) = failures(looked(at.url, token))
    assert "orgkey" in said or "vault" in said
    assert code in (Code.UNREACHABLE, Code.USAGE)
    with server({}) as at:
        assert failures(looked(at.url, token)) == []


@pytest.mark.parametrize("off", ["-1s", -1, "0s"])
def test_a_mount_with_expiry_switched_off_is_in_order(token: Any, off: Any) -> None:
    with server({"orgkey/config": {"max_versions": 100, "delete_version_after": off}}) as at:
        assert failures(looked(at.url, token)) == []


KEY = {
    "derived": True,
    "supports_encryption": True,
    "supports_decryption": True,
    "latest_version": 1,
    "min_decryption_version": 1,
}


@pytest.mark.parametrize(
    "key",
    [
        {name: value for name, value in KEY.items() if name != "latest_version"},
        KEY | {"latest_version": "abc"},
        KEY | {"min_decryption_version": [2]},
        ["x"],
        None,
    ],
    ids=str,
)
def test_an_odd_answer_about_a_key_is_one_failure_and_rights_are_still_looked_at(
    token: Any, key: object
) -> None:
    with server({"transit/keys/orgkey-escrow": key}) as at:
        found = held(at.url, token)
    ((said, code),) = failures(found)
    assert "orgkey-escrow" in said
    assert code is Code.UNREACHABLE
    assert "the driller may do what it needs, and no more" in [item.message for item in found]
    with server({"transit/keys/orgkey-escrow": KEY}) as at:
        assert failures(held(at.url, token)) == []
