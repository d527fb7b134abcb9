"""The stack's Vault: OpenBao (or HashiCorp Vault, where that is on PATH) with file storage."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from pipeline import files
from pipeline.assets import infra_path
from pipeline.devstack import wire
from pipeline.devstack.processes import clean_environment
from pipeline.devstack.state import Layout
from pipeline.errors import LocalFilesProblem, Unreachable

KV_MOUNT, TRANSIT_MOUNT, TRANSIT_KEY = "orgkey", "transit", "orgkey-escrow"
ROLES = ("writer", "driller")

CONFIG = """\
ui = false
disable_clustering = true
log_level = "warn"
api_addr = "http://127.0.0.1:{port}"

storage "file" {{
  path = {data}
}}

listener "tcp" {{
  address = "127.0.0.1:{port}"
  tls_disable = true
}}
"""
# OpenBao takes audit devices from its configuration only, Vault from its API only.
AUDIT_BAO = """
audit "file" "stack" {{
  options {{
    file_path = {path}
    log_raw = "false"
    mode = "0600"
  }}
}}
"""
# Vault refuses to start where it may not lock memory; OpenBao no longer knows the setting.
UNLOCKED_VAULT = "disable_mlock = true\n"


class VaultServer:
    """How this member is started, opened and set up.

    Args:
        layout: The stack's files.
    """

    name = "vault"
    label = "Vault"

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def command(self, program: Path, port: int) -> tuple[list[str], dict[str, str]]:
        """Write the server's configuration; return its arguments and environment."""
        home = files.private_directory(self._layout.member(self.name))
        data = files.private_directory(home / "data")
        text = CONFIG.format(port=port, data=json.dumps(str(data)))
        if is_openbao(program):
            text += AUDIT_BAO.format(path=json.dumps(str(self._layout.audit)))
        else:
            text += UNLOCKED_VAULT
        files.replace(home / "server.hcl", text.encode())
        return [str(program), "server", f"-config={home / 'server.hcl'}"], clean_environment(home)

    def answers(self, endpoint: str) -> bool:
        """Whether it answers at all, sealed or not."""
        return wire.request(endpoint, "GET", "/v1/sys/health", seconds=2) is not None

    def ready(self, endpoint: str) -> bool:
        """Whether it is initialised and unsealed."""
        answer = wire.request(endpoint, "GET", "/v1/sys/health?standbyok=true", seconds=2)
        return answer is not None and answer[0] == 200

    def version(self, endpoint: str, program: Path) -> str:
        """What it calls its version."""
        answer = wire.request(endpoint, "GET", "/v1/sys/seal-status", seconds=2)
        return str(json.loads(answer[1])["version"]) if answer else ""

    def open(self, endpoint: str) -> None:
        """Initialise it where that is due, and unseal it.

        Raises:
            LocalFilesProblem: Its unseal key is lost.
            Unreachable: It does not answer as it should.
        """
        if not self._call(endpoint, "GET", "sys/init")["initialized"]:
            made = self._call(endpoint, "PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
            document = {"unseal_key": made["keys_base64"][0], "root_token": made["root_token"]}
            files.replace(self._layout.vault_init, json.dumps(document).encode())
            files.private_directory(self._layout.root_token.parent)
            files.replace(self._layout.root_token, document["root_token"].encode())
        if self._call(endpoint, "GET", "sys/seal-status")["sealed"]:
            self._call(endpoint, "PUT", "sys/unseal", {"key": self._secrets()["unseal_key"]})

    def _call(self, endpoint: str, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """One call that needs no token; without hvac, whose import a restart need not wait for."""
        data = b"" if body is None else json.dumps(body).encode()
        answer = wire.request(endpoint, method, f"/v1/{path}", body=data)
        if answer is None or answer[0] != 200:
            said = answer[0] if answer else "nothing"
            raise Unreachable(
                f"the stack's Vault does not answer {path} as it should, it says {said}",
                hint=f"see {self._layout.log(self.name)}",
            )
        return json.loads(answer[1])

    def _secrets(self) -> dict[str, str]:
        try:
            document: dict[str, str] = json.loads(self._layout.vault_init.read_bytes())
        except (OSError, ValueError) as error:
            raise LocalFilesProblem(
                f"the unseal key of the stack's Vault is not in {self._layout.vault_init}",
                hint="start afresh with `orgkey stack down --wipe` and `orgkey stack up`",
            ) from error
        return document

    def set_up(self, endpoint: str) -> None:
        """Make mounts, key, policies, roles and credentials; what is there already stays.

        Raises:
            Unreachable: The server does not answer as it should.
        """
        client = wire.vault_client(endpoint, self._layout.root_token.read_text().strip())
        wire.vault_told(lambda: self._set_up(client))

    def _set_up(self, client: Any) -> None:
        mounts = client.sys.list_mounted_secrets_engines()["data"]
        if f"{KV_MOUNT}/" not in mounts:
            client.sys.enable_secrets_engine("kv", path=KV_MOUNT, options={"version": "2"})
        if f"{TRANSIT_MOUNT}/" not in mounts:
            client.sys.enable_secrets_engine("transit", path=TRANSIT_MOUNT)
        if "approle/" not in client.sys.list_auth_methods()["data"]:
            client.sys.enable_auth_method("approle")
        if not client.sys.list_enabled_audit_devices()["data"] and self._layout.vault_init.exists():
            options = {"file_path": str(self._layout.audit), "log_raw": "false", "mode": "0600"}
            client.sys.enable_audit_device("file", path="stack", options=options)
        # A no-op where the key exists. Not exportable, no plaintext backup, deletion not allowed.
        key = {"type": "aes256-gcm96", "derived": True, "exportable": False, "allow_plaintext_backup": False}
        client.write_data(f"{TRANSIT_MOUNT}/keys/{TRANSIT_KEY}", data=key)
        for role in ROLES:
            self._role(client, role)

    def _role(self, client: Any, role: str) -> None:
        name = f"orgkey-{role}"
        policy = infra_path("stack", "policies", f"vault-{role}.hcl").read_text()
        client.sys.create_or_update_policy(name, policy)
        path = f"auth/approle/role/{name}"
        settings = {
            "token_policies": [name],
            "token_no_default_policy": True,
            "token_ttl": "20m",
            "token_max_ttl": "1h",
            "secret_id_num_uses": 0,
            "secret_id_ttl": 0,
        }
        client.write_data(path, data=settings)
        files.private_directory(self._layout.role_id(role).parent)
        role_id = client.read(f"{path}/role-id")["data"]["role_id"]
        files.replace(self._layout.role_id(role), role_id.encode())
        if not self._layout.secret_id(role).exists():
            secret_id = client.write_data(f"{path}/secret-id", data={})["data"]["secret_id"]
            files.replace(self._layout.secret_id(role), secret_id.encode())


def is_openbao(program: Path) -> bool:
    """Whether a program is OpenBao rather than HashiCorp Vault."""
    if program.name == "bao":
        return True
    try:
        done = subprocess.run([program, "version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.SubprocessError):
        return False
    return "OpenBao" in done.stdout
