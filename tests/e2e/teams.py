"""A namespace of a real server, and an operator whose configuration lies there."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.conftest import Place
from tests.support.commandline import Desk, environment

if TYPE_CHECKING:
    from tests.support.local_stack import Stack

LOGINS = ("writer", "driller", "auditor", "planner")
ROLE = "auth/approle/role/orgkey-"
POLICY = "sys/policies/acl/orgkey-"


class Team:
    """A namespace of its own, and an operator whose configuration lies there.

    Args:
        server: The stack.
        folder: A private directory.
        pin: Whether a key is pinned.
        more: Added to the configuration.
    """

    def __init__(self, server: Stack, folder: Path, *, pin: bool = True, more: str = "") -> None:
        self.stack = server
        self.name = f"team-{uuid.uuid4().hex[:8]}"
        self.root = server.vault("root")
        self.root.adapter.post(f"/v1/sys/namespaces/{self.name}", json={})
        self.token = folder / "admin-token"
        self.token.write_text(server.layout.root_token.read_text())
        self.desk = Desk(Place(server, "records", "orgkey"), folder, pin=pin, more=more)
        self.desk.edit('mount = "orgkey"', f'namespace = "{self.name}"\nmount = "orgkey"')
        self.desk.edit('mount = "transit"', f'namespace = "{self.name}"\nmount = "transit"')
        self.add(f'[identity.administrator.vault]\ntoken_file = "{self.token}"\n')

    def add(self, text: str) -> None:
        self.desk.config.write_text(f"{self.desk.config.read_text()}\n{text}")

    @property
    def label(self) -> str:
        return f"{self.stack.endpoint('vault')} namespace {self.name}"

    def call(self, method: str, path: str, **body: Any) -> Any:
        """What root does in the namespace, behind the program's back."""
        headers = {"X-Vault-Namespace": self.name}
        answer = self.root.adapter.request(method, f"/v1/{path}", json=body or None, headers=headers)
        return answer.get("data") if isinstance(answer, dict) else None

    def plan(self, expect: int, *words: str) -> dict[str, Any]:
        return self.desk.ask("infra", "plan", *words, expect=expect)

    def apply(self, expect: int = 0, *words: str) -> dict[str, Any]:
        return self.desk.ask("infra", "apply", "--yes", *words, expect=expect)


def told(document: dict[str, Any]) -> list[tuple[str, str, Any, Any]]:
    return [(item["object"], item["field"], item["have"], item["want"]) for item in document["changes"]]


def entries_of(team: Team) -> list[dict[str, Any]]:
    folder = team.desk.state / team.desk.fingerprint / "ledger"
    return [json.loads(path.read_bytes()) for path in sorted(folder.glob("*/[0-9]*.json"))]


def bao(team: Team, folder: Path) -> dict[str, str]:
    """An environment in which `bao` is there, logged in as root."""
    from pipeline.devstack import build
    from pipeline.devstack.programs import OPENBAO
    from pipeline.devstack.progress import Progress

    (folder / "bin").mkdir(exist_ok=True)
    shutil.copy(build.ensure(OPENBAO, Progress()), folder / "bin" / "bao")
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    return environment(folder) | {"PATH": path, "BAO_TOKEN": team.token.read_text()}
