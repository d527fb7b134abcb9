"""A server that AWS KMS unseals: posture asks it, and counts AWS's administrators."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.commandline import Desk
from tests.support.scripted_server import Answer, Asked, ScriptedServer

if TYPE_CHECKING:
    from tests.conftest import Place


@pytest.fixture
def unsealed_by_kms() -> Iterator[str]:
    """The address of a server that AWS KMS unseals; played, since OpenBao 2.7 needs a plugin for it."""
    told = {"type": "awskms", "initialized": True, "sealed": False, "recovery_seal": True, "t": 1, "n": 1}

    def script(asked: Asked) -> Answer:
        if asked.path == "/v1/sys/seal-status":
            return Answer(body=json.dumps(told).encode())
        return Answer(403, json.dumps({"errors": ["permission denied"]}).encode())

    with ScriptedServer(script) as server:
        yield server.url


def test_a_server_that_aws_kms_unseals_is_open_to_aws(
    place: Place, tmp_path: Path, unsealed_by_kms: str
) -> None:
    desk = Desk(place, tmp_path)
    assert desk.ask("custody", "posture")["reconstruct"] == [["aws-admins", "vault-admins"]]
    address = desk.stack.endpoint("vault")
    text = desk.config.read_text()
    assert text.count(f'address = "{address}"') == 2
    desk.config.write_text(text.replace(address, unsealed_by_kms))

    found = desk.ask("custody", "posture", expect=None)
    assert ["aws-admins"] in found["reconstruct"], "whoever has the KMS key opens Vault's storage, too"
    assert any("is unsealed by awskms: aws-admins can open its storage" in fact for fact in found["facts"])

    desk.config.write_text(
        desk.config.read_text().replace(
            f'address = "{unsealed_by_kms}"', f'address = "{unsealed_by_kms}"\nunsealed_by = ["security"]'
        )
    )
    found = desk.ask("custody", "posture", expect=None)
    assert ["aws-admins"] not in found["reconstruct"]
    assert ["aws-admins", "security"] in found["reconstruct"]
