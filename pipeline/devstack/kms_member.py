"""The stack's KMS as a member: how the process of :mod:`pipeline.devstack.kms` is started and set up."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from string import Template
from typing import Any

from pipeline.core import files
from pipeline.core.resources import infra_path
from pipeline.devstack import wire
from pipeline.devstack.kms import ACCOUNT, ALLOWED, role_arn
from pipeline.devstack.processes import clean_environment
from pipeline.devstack.state import IDENTITIES, Layout


class KmsServer:
    """How the stand-in KMS is started; see :mod:`pipeline.devstack.kms`.

    Args:
        layout: The stack's files.
    """

    name = "kms"
    label = "KMS (moto)"
    alias = "alias/orgkey-escrow"

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def command(self, program: Path, port: int) -> tuple[list[str], dict[str, str]]:
        """Write who is who; return the server's arguments and environment."""
        home = files.private_directory(self._layout.member(self.name))
        callers: dict[str, list[str]] = {}
        for identity in IDENTITIES:
            if (path := self._layout.aws_credentials(identity)).exists():
                callers.setdefault(wire.read_credentials(path)[0], []).append(identity)
        files.replace(home / "callers.json", json.dumps(callers).encode())
        argv = [str(program), "-m", "pipeline.devstack.kms", "--port", str(port)]
        argv += ["--keys", str(home / "keys.json"), "--callers", str(home / "callers.json")]
        package = Path(__file__).resolve().parents[2]
        return argv, clean_environment(home, {"PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1"})

    def answers(self, endpoint: str) -> bool:
        """Whether it answers."""
        answer = wire.request(endpoint, "GET", "/ready", seconds=2)
        return answer is not None and answer[0] == 200

    ready = answers

    def open(self, endpoint: str) -> None:
        """Nothing to open."""

    def version(self, endpoint: str, program: Path) -> str:
        """Moto's version."""
        return importlib.metadata.version("moto")

    def set_up(self, endpoint: str) -> str:
        """Make the key where it is missing, and give it the policy of `infra/stack/policies/kms-key.json`.

        Returns:
            Its ARN.

        Raises:
            Unreachable: The server does not answer as it should.
        """
        client = wire.aws_client("kms", endpoint, self._layout.aws_credentials("root"))
        return wire.aws_told(lambda: self._guarded(client))

    def _guarded(self, client: Any) -> str:
        arn = self._key(client)
        text = Template(infra_path("stack", "policies", "kms-key.json").read_text())
        names = {identity.upper(): role_arn(identity) for identity in ALLOWED}
        names |= {"ACCOUNT": ACCOUNT, "POLICY_CHANGER": role_arn("policy-changer")}
        client.put_key_policy(KeyId=arn, PolicyName="default", Policy=text.substitute(names))
        return arn

    def _key(self, client: Any) -> str:
        for alias in client.list_aliases()["Aliases"]:
            if alias["AliasName"] == self.alias:
                return str(client.describe_key(KeyId=alias["TargetKeyId"])["KeyMetadata"]["Arn"])
        made = client.create_key(Description="orgkey-escrow")["KeyMetadata"]
        client.create_alias(AliasName=self.alias, TargetKeyId=made["KeyId"])
        return str(made["Arn"])
