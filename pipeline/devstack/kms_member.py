"""The stack's KMS as a member: how the process of :mod:`pipeline.devstack.kms` is started and set up."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

from pipeline.core import files
from pipeline.core.environment import clean_environment
from pipeline.core.resources import infra_path
from pipeline.devstack import wire
from pipeline.devstack.kms import ACCOUNT, ALLOWED, role_arn
from pipeline.devstack.members import StackServer
from pipeline.devstack.state import IDENTITIES


class KmsServer(StackServer):
    """How the stand-in KMS is started; see :mod:`pipeline.devstack.kms`."""

    name = "kms"
    label = "KMS (moto)"
    alias = "alias/orgkey-escrow"

    def command(self, program: Path, port: int) -> tuple[list[str], dict[str, str]]:
        """Write who is who; return the server's arguments and environment."""
        home = files.private_directory(self.layout.member(self.name))
        callers: dict[str, list[str]] = {}
        for identity in IDENTITIES:
            if (path := self.layout.aws_credentials(identity)).exists():
                callers.setdefault(wire.read_credentials(path)[0], []).append(identity)
        files.replace(home / "callers.json", json.dumps(callers).encode())
        argv = [str(program), "-m", "pipeline.devstack.kms", str(port)]
        argv += [str(home / "keys.json"), str(home / "callers.json")]
        package = Path(__file__).resolve().parents[2]
        return argv, clean_environment(
            {"HOME": str(home), "PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1"}
        )

    def answers(self, endpoint: str) -> bool:
        """Whether it answers."""
        answer = wire.request(endpoint, "GET", "/ready", seconds=2)
        return answer is not None and answer[0] == 200

    def version(self, endpoint: str, program: Path) -> str:
        """Moto's version."""
        return importlib.metadata.version("moto")

    def set_up(self, endpoint: str) -> Mapping[str, Any]:
        """Make the key where it is missing, and give it the policy of `infra/stack/policies/kms-key.json`."""
        policy = Template(infra_path("stack", "policies", "kms-key.json").read_text())
        names = {identity.upper(): role_arn(identity) for identity in ALLOWED}
        names |= {"ACCOUNT": ACCOUNT, "POLICY_CHANGER": role_arn("policy-changer")}

        def make(client: Any) -> str:
            arn = self._key(client)
            client.put_key_policy(KeyId=arn, PolicyName="default", Policy=policy.substitute(names))
            return arn

        session = wire.aws(endpoint, self.layout.aws_credentials("root"))
        return {"kms_key": session.call(make, "kms", "stack, make the KMS key")}

    def _key(self, client: Any) -> str:
        for alias in client.list_aliases()["Aliases"]:
            if alias["AliasName"] == self.alias:
                return str(client.describe_key(KeyId=alias["TargetKeyId"])["KeyMetadata"]["Arn"])
        made = client.create_key(Description="orgkey-escrow")["KeyMetadata"]
        client.create_alias(AliasName=self.alias, TargetKeyId=made["KeyId"])
        return str(made["Arn"])
