"""The stack's Vault: OpenBao (or HashiCorp Vault, where that is on PATH) with raft storage."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from pipeline.config.holders import TransitHolderConfig
from pipeline.config.identities import VaultIdentity
from pipeline.config.places import VaultPlace, VaultTargetConfig
from pipeline.core import files
from pipeline.core.clock import Deadline
from pipeline.core.environment import clean_environment
from pipeline.core.errors import Conflict, LocalFilesProblem, Unreachable
from pipeline.core.resources import infra_path
from pipeline.core.retry import Retrier
from pipeline.devstack import wire
from pipeline.devstack.members import StackServer
from pipeline.devstack.programs import OPENBAO, version_of
from pipeline.provision import apply, plan
from pipeline.provision.desired import Site
from pipeline.provision.files import Files

if TYPE_CHECKING:
    from pipeline.providers.vault.session import VaultSession

KV_MOUNT, TRANSIT_MOUNT, TRANSIT_KEY = "orgkey", "transit", "orgkey-escrow"
ROLES = ("writer", "driller", "auditor", "planner")
PARTY: Any = {"controlled_by": ("vault-admins",)}


class VaultServer(StackServer):
    """How this member is started, opened and set up. An outside one may be a standby."""

    name = "vault"
    label = "Vault"
    program = OPENBAO

    def command(self, program: Path, port: int) -> tuple[list[str], dict[str, str]]:
        """Write the server's configuration; return its arguments and environment."""
        home = files.private_directory(self.layout.member(self.name))
        data = files.private_directory(home / "data")
        own = "bao" if is_openbao(program) else "vault"
        text = configuration(own)
        values = {
            "PORT": str(port),
            "DATA": json.dumps(str(data)),
            "AUDIT": json.dumps(str(self.layout.audit)),
        }
        files.replace(home / "server.hcl", Template(text).substitute(values).encode())
        return [str(program), "server", f"-config={home / 'server.hcl'}"], clean_environment(
            {"HOME": str(home)}
        )

    def check(self) -> None:
        """See that its data, if there are any, can still be read.

        Raises:
            LocalFilesProblem: They were written with file storage.
        """
        data = self.layout.member(self.name) / "data"
        if (data / "core").is_dir():
            raise LocalFilesProblem(
                f"the stack in {self.layout.root} has file storage, which OpenBao 2.7 cannot read",
                hint="start afresh with `orgkey stack down --wipe` and `orgkey stack up`",
            )

    def answers(self, endpoint: str) -> bool:
        """Whether it answers at all, sealed or not."""
        return wire.request(endpoint, "GET", "/v1/sys/health", seconds=2) is not None

    def ready(self, endpoint: str) -> bool:
        """Whether it is initialised and unsealed, and serves.

        For a moment after it was unsealed it cannot write its audit log, and refuses every request.
        """
        health = "/v1/sys/health?standbyok=true" if self.outside else "/v1/sys/health"
        answer = wire.request(endpoint, "GET", health, seconds=2)
        if answer is None or answer[0] != 200:
            return False
        try:
            token = self.layout.root_token.read_text().strip()
        except OSError:
            return True  # nothing to ask with
        own = {"X-Vault-Token": token}
        looked = wire.request(endpoint, "GET", "/v1/auth/token/lookup-self", headers=own, seconds=2)
        return looked is not None and looked[0] < 500

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
            files.replace(self.layout.vault_init, json.dumps(document).encode())
            files.private_directory(self.layout.root_token.parent)
            files.replace(self.layout.root_token, document["root_token"].encode())
        if self._call(endpoint, "GET", "sys/seal-status")["sealed"]:
            self._call(endpoint, "PUT", "sys/unseal", {"key": self._secrets()["unseal_key"]})

    def _call(self, endpoint: str, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """One call that needs no token; a restart need not wait for the imports of a session."""
        data = b"" if body is None else json.dumps(body).encode()
        answer = wire.request(endpoint, method, f"/v1/{path}", body=data)
        if answer is None or answer[0] != 200:
            status = answer[0] if answer else "nothing"
            raise Unreachable(
                f"the stack's Vault does not answer {path} as it should, but with {status}",
                hint=f"see {self.layout.log(self.name)}",
            )
        return json.loads(answer[1])

    def _secrets(self) -> dict[str, str]:
        try:
            document: dict[str, str] = json.loads(self.layout.vault_init.read_bytes())
        except (OSError, ValueError) as error:
            raise LocalFilesProblem(
                f"the unseal key of the stack's Vault is not in {self.layout.vault_init}",
                hint="start afresh with `orgkey stack down --wipe` and `orgkey stack up`",
            ) from error
        return document

    def set_up(self, endpoint: str) -> Mapping[str, Any]:
        """Make mounts, key, policies, roles and credentials as `orgkey infra apply` does; all else stays."""
        from pipeline.providers.vault.session import VaultSession

        place = VaultPlace(address=endpoint, proxy="none")
        login = VaultIdentity(token_file=str(self.layout.root_token))
        deadline = Deadline(wire.SET_UP_SECONDS)
        session = VaultSession(place, login, call_seconds=wire.CALL_SECONDS, deadline=deadline, role="root")
        site = Site(
            place,
            {"vault": VaultTargetConfig(**PARTY, kind="vault", address=endpoint, mount=KV_MOUNT)},
            {
                "vault": TransitHolderConfig(
                    **PARTY, kind="vault-transit", address=endpoint, mount=TRANSIT_MOUNT, key=TRANSIT_KEY
                )
            },
            session,
        )
        difference = plan.make(Files(), None, [site])
        for fault in difference.faults:
            raise Conflict(f"the stack's Vault, {fault.object}: {fault.message}", hint=fault.hint)
        # An outside server's audit devices are its own.
        changes = [item for item in difference.changes if not item.object.startswith("sys/audit/")]
        for outcome in apply.apply([site], changes, Retrier(deadline)):
            if outcome.error is not None:
                raise outcome.error
        self._audit(session)
        for role in ROLES:
            self._credentials(session, role)
        return {}

    def _audit(self, session: VaultSession) -> None:
        """Vault takes audit devices from its API; an outside server's are its own."""
        if self.layout.vault_init.exists() and not session.read("sys/audit", "stack, audit"):
            options = {"file_path": str(self.layout.audit), "log_raw": "false", "mode": "0600"}
            session.write("sys/audit/stack", {"type": "file", "options": options}, "stack, audit")

    def _credentials(self, session: VaultSession, role: str) -> None:
        path = f"auth/approle/role/orgkey-{role}"
        files.private_directory(self.layout.role_id(role).parent)
        found = session.read(f"{path}/role-id", f"stack, role id of {role}") or {}
        files.replace(self.layout.role_id(role), str(found["role_id"]).encode())
        if not self.layout.secret_id(role).exists():
            what = f"stack, secret id of {role}"
            made = session.call(lambda client: client.post(f"{path}/secret-id", {}), what)
            files.replace(self.layout.secret_id(role), made["data"]["secret_id"].encode())


def configuration(product: str) -> str:
    """The template of the server's configuration, from `infra/stack`.

    Args:
        product: ``bao`` or ``vault``.
    """
    return "".join(infra_path("stack", f"{name}.hcl").read_text() for name in ("server", product))


def is_openbao(program: Path) -> bool:
    """Whether a program is OpenBao rather than HashiCorp Vault."""
    if program.name == "bao":
        return True
    answer = version_of(program, OPENBAO.ask)
    return answer is not None and answer.product == "OpenBao"
