"""A real server that AWS KMS unseals: posture asks it, and counts AWS's administrators."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline.devstack import programs, wire
from tests.assets.ports import distinct_ports
from tests.integration.commandline import Desk

if TYPE_CHECKING:
    from pipeline.devstack.stack import Stack
    from tests.conftest import Place

CONFIG = """\
ui = false
disable_clustering = true
api_addr = "http://127.0.0.1:{port}"
storage "file" {{
  path = {data}
}}
listener "tcp" {{
  address = "127.0.0.1:{port}"
  tls_disable = true
}}
seal "awskms" {{
  region = "us-east-1"
  kms_key_id = "{key}"
  endpoint = "{kms}"
}}
"""


def bao() -> Path:
    found = programs.find(programs.OPENBAO)
    assert found is not None
    return found


@pytest.fixture
def unsealed_by_kms(stack: Stack, tmp_path: Path) -> Iterator[str]:
    """The address of an OpenBao whose unseal key is a KMS key of the stack's AWS account."""
    kms = stack.kms("root")
    key = kms.create_key(Description="unseals a server")["KeyMetadata"]["KeyId"]
    (port,) = distinct_ports(1)
    (tmp_path / "bao").mkdir()
    config = tmp_path / "bao.hcl"
    data = json.dumps(str(tmp_path / "bao"))
    config.write_text(CONFIG.format(port=port, data=data, key=key, kms=stack.endpoint("kms")))
    credentials = kms._request_signer._credentials
    log = (tmp_path / "bao.log").open("wb")
    server = subprocess.Popen(
        [bao(), "server", f"-config={config}"],
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
            "AWS_ACCESS_KEY_ID": credentials.access_key,
            "AWS_SECRET_ACCESS_KEY": credentials.secret_key,
            "AWS_EC2_METADATA_DISABLED": "true",
        },
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        ends = time.monotonic() + 60
        while wire.request(address, "GET", "/v1/sys/seal-status", seconds=2) is None:
            assert server.poll() is None, (tmp_path / "bao.log").read_text()
            assert time.monotonic() < ends
            time.sleep(0.1)
        body = json.dumps({"recovery_shares": 1, "recovery_threshold": 1}).encode()
        made = wire.request(address, "PUT", "/v1/sys/init", body=body)
        assert made is not None, (tmp_path / "bao.log").read_text()
        assert made[0] == 200, made
        yield address
    finally:
        server.terminate()
        server.wait(timeout=30)
        log.close()


@pytest.mark.timeout(180)
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
