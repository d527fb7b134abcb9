"""Every operation of the permission table as a call on a real Vault, on things made for that one call."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tools.permissions import AT_VAULT, Identity, Operation, vault

if TYPE_CHECKING:
    from tests.support.local_stack import Stack

Call = Callable[[Any], Any]
OPERATIONS: tuple[Operation, ...] = (*vault.KV, *vault.TRANSIT, *vault.SYSTEM)
# Who has a login at Vault; what extends retentions has none.
WITH_LOGIN: tuple[Identity, ...] = tuple(name for name in AT_VAULT if name != "retention")
CONTEXT = base64.b64encode(b"context").decode()
PLAIN = base64.b64encode(b"share").decode()
KEY = "orgkey-escrow"
FINGERPRINT = "0" * 40
MERGE = {"Content-Type": "application/merge-patch+json"}


@dataclass
class Scene:
    """A stack of the test's own, and what root prepares on it.

    Attributes:
        stack: The stack.
        identity: Whose call is prepared: an identity's own policy and role are its own.
    """

    stack: Stack
    identity: str = "writer"
    _clients: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def root(self) -> Any:
        return self.client("root")

    def client(self, identity: str) -> Any:
        """A login, made once: a policy's change holds for tokens that are there."""
        if identity not in self._clients:
            self._clients[identity] = self.stack.vault(identity)
        return self._clients[identity]

    def entry(self, *, head: bool = False, there: bool = True) -> str:
        """The path of a new record or head; whether root has made it."""
        name = uuid.uuid4().hex[:12]
        path = f"records/{FINGERPRINT}/" + (f"ledger/head-{name}" if head else name)
        if there:
            self.post(self.root, f"orgkey/data/{path}", data={"record": "bytes"})
        return path

    @staticmethod
    def post(client: Any, path: str, **body: Any) -> Any:
        return client.adapter.post(f"/v1/{path}", json=body)

    def sealed(self) -> str:
        made = self.post(self.root, f"transit/encrypt/{KEY}", plaintext=PLAIN, context=CONTEXT)
        return str(made["data"]["ciphertext"])

    def engine(self) -> str:
        """A new, empty engine."""
        path = f"engine-{uuid.uuid4().hex[:8]}"
        self.post(self.root, f"sys/mounts/{path}", type="transit")
        return path


def _post(path: str, **body: Any) -> Call:
    return lambda client: Scene.post(client, path, **body)


def _get(path: str) -> Call:
    return lambda client: client.adapter.get(f"/v1/{path}")


def _delete(path: str) -> Call:
    return lambda client: client.adapter.delete(f"/v1/{path}")


def _list(path: str) -> Call:
    return lambda client: client.adapter.list(f"/v1/{path}")


def _patch(path: str) -> Call:
    body = {"data": {"record": "other"}}
    return lambda client: client.adapter.request("patch", f"/v1/{path}", json=body, headers=MERGE)


def _name() -> str:
    return uuid.uuid4().hex[:12]


def _doomed_key(scene: Scene) -> str:
    """A key that may be deleted."""
    name = _name()
    scene.post(scene.root, f"transit/keys/{name}")
    scene.post(scene.root, f"transit/keys/{name}/config", deletion_allowed=True)
    return name


# What an identity is refused on the real key, root does on a key of its own, where it would end the scene.
def _on_key(verb: str, **body: Any) -> Callable[[Scene], Call]:
    return lambda scene: _post(f"transit/{verb}/{KEY}", context=CONTEXT, **body)


PREPARE: dict[str, Callable[[Scene], Call]] = {
    "kv-make-record": lambda s: _post(
        f"orgkey/data/{s.entry(there=False)}", data={"a": "b"}, options={"cas": 0}
    ),
    "kv-make-outside": lambda s: _post(
        f"orgkey/data/elsewhere/{_name()}", data={"a": "b"}, options={"cas": 0}
    ),
    "kv-read-record": lambda s: _get(f"orgkey/data/{s.entry()}"),
    "kv-overwrite": lambda s: _post(f"orgkey/data/{s.entry()}", data={"record": "other"}),
    "kv-patch": lambda s: _patch(f"orgkey/data/{s.entry()}"),
    "kv-delete": lambda s: _delete(f"orgkey/data/{s.entry()}"),
    "kv-delete-versions": lambda s: _post(f"orgkey/delete/{s.entry()}", versions=[1]),
    "kv-undelete": lambda s: _post(f"orgkey/undelete/{s.entry()}", versions=[1]),
    "kv-destroy": lambda s: _post(f"orgkey/destroy/{s.entry()}", versions=[1]),
    "kv-structure": lambda s: _get(f"orgkey/subkeys/{s.entry()}"),
    "kv-list": lambda s: _list(f"orgkey/metadata/{s.entry().rpartition('/')[0]}"),
    "kv-metadata-read": lambda s: _get(f"orgkey/metadata/{s.entry()}"),
    "kv-metadata-write": lambda s: _post(f"orgkey/metadata/{s.entry()}", max_versions=1),
    "kv-metadata-delete": lambda s: _delete(f"orgkey/metadata/{s.entry()}"),
    "kv-config-read": lambda s: _get("orgkey/config"),
    "kv-config-write": lambda s: _post("orgkey/config", max_versions=100),
    "head-make": lambda s: _post(
        f"orgkey/data/{s.entry(head=True, there=False)}", data={"a": "b"}, options={"cas": 0}
    ),
    "head-read": lambda s: _get(f"orgkey/data/{s.entry(head=True)}"),
    "head-overwrite": lambda s: _post(f"orgkey/data/{s.entry(head=True)}", data={"sequence": "other"}),
    "transit-encrypt": _on_key("encrypt", plaintext=PLAIN),
    "transit-decrypt": lambda s: _post(f"transit/decrypt/{KEY}", ciphertext=s.sealed(), context=CONTEXT),
    "transit-rewrap": lambda s: _post(f"transit/rewrap/{KEY}", ciphertext=s.sealed(), context=CONTEXT),
    "transit-datakey": _on_key("datakey/plaintext"),
    "transit-read": lambda s: _get(f"transit/keys/{KEY}"),
    "transit-read-other": lambda s: _get(f"transit/keys/{_doomed_key(s)}"),
    "transit-list": lambda s: _list("transit/keys"),
    "transit-typo": lambda s: _post(f"transit/encrypt/{_name()}", plaintext=PLAIN),
    "transit-make": lambda s: _post(f"transit/keys/{_name()}", type="aes256-gcm96"),
    "transit-rotate": lambda s: _post(f"transit/keys/{KEY}/rotate"),
    "transit-config": lambda s: _post(f"transit/keys/{KEY}/config", deletion_allowed=False),
    "transit-trim": lambda s: _post(f"transit/keys/{KEY}/trim", min_available_version=1),
    "transit-export": lambda s: _get(f"transit/export/encryption-key/{KEY}"),
    "transit-backup": lambda s: _get(f"transit/backup/{KEY}"),
    "transit-delete": lambda s: _delete(f"transit/keys/{_doomed_key(s)}"),
    "token-lookup-self": lambda s: _get("auth/token/lookup-self"),
    "capabilities-self": lambda s: _post("sys/capabilities-self", paths=["orgkey/config"]),
    "token-create": lambda s: _post("auth/token/create", ttl="1m"),
    "policy-read": lambda s: _get(f"sys/policies/acl/orgkey-{s.identity}"),
    "policy-write": lambda s: _post(
        f"sys/policies/acl/orgkey-{s.identity}",
        policy=s.root.adapter.get(f"/v1/sys/policies/acl/orgkey-{s.identity}")["data"]["policy"],
    ),
    "policy-make": lambda s: _post(
        f"sys/policies/acl/{_name()}", policy='path "x" { capabilities = ["read"] }'
    ),
    "role-read": lambda s: _get(f"auth/approle/role/orgkey-{s.identity}"),
    "role-write": lambda s: _post(f"auth/approle/role/orgkey-{s.identity}", token_ttl="20m"),
    "secret-id-make": lambda s: _post(f"auth/approle/role/orgkey-{s.identity}/secret-id"),
    "secret-id-make-other": lambda s: _post(
        f"auth/approle/role/orgkey-{'driller' if s.identity == 'writer' else 'writer'}/secret-id"
    ),
    "mount-list": lambda s: _get("sys/mounts"),
    "mount-enable": lambda s: _post(f"sys/mounts/{_name()}", type="transit"),
    "mount-tune": lambda s: _post("sys/mounts/orgkey/tune", description=""),
    "mount-disable": lambda s: _delete(f"sys/mounts/{s.engine()}"),
    "auth-enable": lambda s: _post(f"sys/auth/{_name()}", type="approle"),
    "audit-list": lambda s: _get("sys/audit"),
    "audit-disable": lambda s: _delete("sys/audit/stack"),
    "seal": lambda s: _post("sys/seal"),
}
# What the server tells root in place of doing it: root was let through, and then the engine refused.
EVEN_ROOT = {
    "transit-export": "not exportable",
    "transit-backup": "exporting is disallowed",
    "transit-trim": "minimum available version",
    "audit-disable": "configuration-managed",
}


def attempt(scene: Scene, operation: Operation, client: Any, identity: str) -> bool:
    """Make an operation's call on fresh things; whether the identity was let through.

    Raises:
        VaultError: The server refused for another reason than the identity's rights.
    """
    import hvac.exceptions

    scene.identity = identity if identity != "root" else "writer"
    call = PREPARE[operation.name](scene)
    try:
        call(client)
    except hvac.exceptions.Forbidden:
        return False
    except hvac.exceptions.VaultError as error:
        if EVEN_ROOT.get(operation.name, "\0") not in str(error):
            raise
    return True


def twin(scene: Scene, operation: Operation) -> str:
    """Somebody who may: an identity of the table, or root where none is."""
    return next((name for name in WITH_LOGIN if name in operation.allowed), "root")


def cells(
    scene: Scene, operation: Operation, identities: tuple[str, ...] = WITH_LOGIN
) -> Iterator[tuple[str, bool]]:
    """Measure a row: for each identity whether it was let through, between two calls of its twin."""
    able = twin(scene, operation)
    for identity in identities:
        for each in (able, identity, able):
            passed = attempt(scene, operation, scene.client(each), each)
            if each == able:
                assert passed, f"{operation.name}: {able} is refused, so this shows nothing"
            if operation.name == "seal" and each == "root":
                scene.stack.unseal()
            if each == identity:
                yield identity, passed


def wrong(scene: Scene, identities: tuple[str, ...] = WITH_LOGIN) -> set[tuple[str, str]]:
    """The cells of the whole table that are not as the table says, as operation and identity."""
    return {
        (operation.name, identity)
        for operation in OPERATIONS
        for identity, passed in cells(scene, operation, identities)
        if passed != (identity in operation.allowed)
    }
