"""The Vault module applied to a real server, and the program's own view of what it made."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.local_stack import vault_client
from tools.terraform.hcl import Block, Code, document
from tools.terraform.programs import Failed, Tofu

ROOT = Path(__file__).parents[2]
# With "//": what lies beside the module belongs to it, as when the repository is its source.
MODULE = f"{ROOT}//infra/terraform/vault"
EXPORT = ROOT / "tests" / "assets" / "keys" / "rsa2048-two-block.asc"
NAMESPACE = "terraform"
LOGINS = ("writer", "driller", "auditor")


def digests() -> str:
    """The module's files, as `sha256sum` writes them."""
    files = sorted((ROOT / "infra" / "terraform" / "vault").glob("*.tf"))
    return "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files)


class Desk:
    """A directory with a stack of its own, and the program run in it.

    Args:
        directory: An empty one.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config = directory / "orgkey.toml"
        kept = {
            name: os.environ[name]
            for name in ("HOME", "LANG", "PATH", "XDG_CACHE_HOME", "ORGKEY_STACK_CACHE")
            if name in os.environ
        }
        self.env = kept | {
            "ORGKEY_STACK_DIR": str(directory / "stack"),
            "ORGKEY_STATE_DIR": str(directory / "state"),
            "ORGKEY_CONFIG": str(self.config),
        }

    def orgkey(self, *words: str, expect: int = 0) -> str:
        """Run a command of the program.

        Raises:
            Failed: It ended with another code.
        """
        done = subprocess.run(
            [sys.executable, "-m", "pipeline.cli.app", *words],
            cwd=ROOT,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        if done.returncode != expect:
            raise Failed(
                f"orgkey {' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
            )
        return done.stdout + done.stderr

    def file(self, name: str, text: str) -> Path:
        """A private file."""
        path = self.directory / name
        path.touch(mode=0o600)
        path.write_text(text)
        return path


def root() -> str:
    """A configuration with the module in a namespace of a server that is named by the environment."""
    module: dict[str, Any] = {"source": MODULE, "targets": [{}], "holders": [{}], "audit": False}
    return document(
        "Made for one try.",
        [
            Block('provider "vault"', {"namespace": NAMESPACE, "skip_child_token": True}),
            Block('module "vault"', module),
            Block('output "role_ids"', {"value": Code("module.vault.role_ids")}),
        ],
    )


def run(program: Path, directory: Path, vault: Path) -> Iterator[str]:
    """Apply, compare with the program's files, and escrow with the logins that came out of it.

    Args:
        program: OpenTofu.
        directory: An empty one.
        vault: Where the provider is.

    Yields:
        Lines for people.

    Raises:
        Failed: OpenTofu failed, or the program finds something else than it wants.
    """
    desk = Desk(directory)
    desk.orgkey("stack", "up")
    try:
        yield from _run(program, desk, vault)
    finally:
        desk.orgkey("stack", "down", "--wipe")


def _run(program: Path, desk: Desk, vault: Path) -> Iterator[str]:
    token = (desk.directory / "stack" / "identities" / "root" / "vault-token").read_text().strip()
    passphrase = desk.file("passphrase", "correct horse battery staple")
    said = desk.orgkey("inspect", str(EXPORT), "--json")
    pin = re.findall(r'"fingerprint": "([0-9A-F]+)"', said)[0]
    desk.orgkey("stack", "config", "--out", str(desk.config), "--fingerprint", pin)
    text = desk.config.read_text()
    address = re.findall(r'^address = "(.+)"$', text, re.MULTILINE)[0]
    client = vault_client(address, token)
    client.adapter.post(f"/v1/sys/namespaces/{NAMESPACE}", json={})
    yield f"a namespace of {client.adapter.get('/v1/sys/health')['version']} at {address}"

    # The configuration of a user whose Vault is that namespace.
    for mount in ("orgkey", "transit"):
        text = text.replace(f'mount = "{mount}"', f'namespace = "{NAMESPACE}"\nmount = "{mount}"')
    admin = desk.file("administrator", token)
    text += f'\n[identity.administrator.vault]\ntoken_file = "{admin}"\n'
    desk.config.write_text(text)
    before = desk.orgkey("infra", "plan", expect=42)
    yield f"before: orgkey infra plan ends with 42 and {before.count('missing')} things are missing"

    folder = desk.directory / "tofu"
    folder.mkdir()
    (folder / "main.tf").write_text(root())
    tofu = Tofu(program, folder, {"VAULT_ADDR": address, "VAULT_TOKEN": token})
    tofu.use(vault=vault)
    tofu("validate")
    done = tofu("apply", "-auto-approve")
    yield next(line for line in done.splitlines() if line.startswith("Apply complete"))
    tofu("plan", "-detailed-exitcode")
    yield "a second plan changes nothing"
    desk.orgkey("infra", "plan", expect=0)
    yield "orgkey infra plan ends with 0: policies, roles, mounts and key are as its own files want them"

    for item in tofu.state().values():
        identity = str(item.get("role_name", "")).removeprefix("orgkey-")
        if identity in LOGINS:
            place = f"/v1/auth/approle/role/orgkey-{identity}/secret-id"
            answer = client.adapter.post(place, headers={"X-Vault-Namespace": NAMESPACE})
            role = desk.file(f"{identity}-role-id", item["role_id"])
            secret = desk.file(f"{identity}-secret-id", answer["data"]["secret_id"])
            for kind, path in (("role", role), ("secret", secret)):
                table = rf'(\[identity\.{identity}\.vault\].*?^{kind}_id_file = )"[^"]*"'
                text = re.sub(table, rf'\1"{path}"', text, count=1, flags=re.DOTALL | re.MULTILINE)
    desk.config.write_text(text)
    desk.orgkey("doctor")
    yield "orgkey doctor ends with 0 with the logins of the roles"
    said = desk.orgkey("escrow", str(EXPORT), "--export-passphrase-file", str(passphrase))
    yield "orgkey escrow ends with 0: the key is stored, and restored and proven from each copy"
    desk.orgkey("status")
    yield "orgkey status ends with 0"
