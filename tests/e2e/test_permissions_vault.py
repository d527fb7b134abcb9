"""Every cell of the permission table's part on Vault, on a real server; and widened rights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e import vault_matrix as matrix
from tests.e2e.vault_matrix import OPERATIONS, WITH_LOGIN, Scene
from tests.support.commandline import Desk
from tools.permissions import Operation

if TYPE_CHECKING:
    from tests.support.local_stack import Stack


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A stack for this module: root tries everything that the identities are refused."""
    from tests.support.local_stack import Stack

    made = Stack(tmp_path_factory.mktemp("matrix") / "stack")
    try:
        made.up()
        yield Scene(made)
    finally:
        made.down(wipe=True)


def test_every_operation_of_the_table_can_be_called() -> None:
    assert set(matrix.PREPARE) == {operation.name for operation in OPERATIONS}
    assert len({operation.name for operation in OPERATIONS}) == len(OPERATIONS)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_each_cell_is_as_the_table_says(scene: Scene, operation: Operation) -> None:
    measured = dict(matrix.cells(scene, operation))
    assert measured == {name: name in operation.allowed for name in WITH_LOGIN}


def test_what_extends_retentions_has_no_login_at_vault(scene: Scene) -> None:
    roles = scene.root.adapter.list("/v1/auth/approle/role")["data"]["keys"]
    policies = scene.root.adapter.list("/v1/sys/policies/acl")["data"]["keys"]
    assert {name for name in roles if name.startswith("orgkey-")} == {
        f"orgkey-{name}" for name in ("writer", "driller", "auditor", "planner")
    }
    assert "orgkey-retention" not in policies
    assert not [operation.name for operation in OPERATIONS if "retention" in operation.allowed]


def test_the_planner_looks_and_touches_nothing() -> None:
    may = {
        "kv-config-read",
        "transit-read",
        "token-lookup-self",
        "capabilities-self",
        "policy-read",
        "role-read",
        "mount-list",
        "audit-list",
    }
    assert {operation.name for operation in OPERATIONS if "planner" in operation.allowed} == may


def test_tokens_are_short_and_have_one_policy(scene: Scene) -> None:
    for identity in WITH_LOGIN:
        facts = scene.stack.vault(identity).auth.token.lookup_self()["data"]
        assert facts["policies"] == [f"orgkey-{identity}"]
        assert facts["creation_ttl"] == 20 * 60


def test_a_mistyped_transit_key_is_not_made(scene: Scene) -> None:
    import hvac.exceptions

    for identity in WITH_LOGIN:
        with pytest.raises(hvac.exceptions.Forbidden):
            scene.post(scene.stack.vault(identity), "transit/encrypt/orgkey-escrov", plaintext=matrix.PLAIN)
    assert "orgkey-escrov" not in scene.root.secrets.transit.list_keys()["data"]["keys"]


# -- widening ------------------------------------------------------------------------------------

WIDENED = {
    "the writer may delete": (
        "writer",
        'path "orgkey/data/records/*" {\n  capabilities = ["create", "read", "delete"]\n}\n',
        "kv-delete",
        "delete on orgkey/data/records/*",
        "the writer may delete orgkey/data/records/",
    ),
    "the writer may open a share": (
        "writer",
        'path "transit/decrypt/orgkey-escrow" {\n  capabilities = ["update"]\n}\n',
        "transit-decrypt",
        "update on transit/decrypt/orgkey-escrow",
        "the writer may do more than it needs: update on transit/decrypt/orgkey-escrow",
    ),
    "the driller may write": (
        "driller",
        'path "orgkey/data/records/+/+" {\n  capabilities = ["create", "read"]\n}\n',
        "kv-make-record",
        "create on orgkey/data/records/+/+",
        "the driller may create orgkey/data/records/",
    ),
    "the auditor may read a record": (
        "auditor",
        'path "orgkey/data/records/+/+" {\n  capabilities = ["read"]\n}\n',
        "kv-read-record",
        "read on orgkey/data/records/+/+",
        "the auditor may read orgkey/data/records/",
    ),
    "the auditor may open a share": (
        "auditor",
        'path "transit/decrypt/orgkey-escrow" {\n  capabilities = ["update"]\n}\n',
        "transit-decrypt",
        "update on transit/decrypt/orgkey-escrow",
        "the auditor may do more than it needs: update on transit/decrypt/orgkey-escrow",
    ),
    "the driller may change its role": (
        "driller",
        'path "auth/approle/role/orgkey-driller" {\n  capabilities = ["update"]\n}\n',
        "role-write",
        "update on auth/approle/role/orgkey-driller",
        "the driller may update auth/approle/role/orgkey-driller",
    ),
}


def administrator(stack: Stack) -> str:
    """The table of root's login."""
    return f'\n[identity.administrator.vault]\ntoken_file = "{stack.layout.root_token}"\n'


@pytest.mark.parametrize("case", WIDENED)
def test_a_widened_right_is_seen_by_matrix_doctor_and_plan_and_mended(
    scene: Scene, tmp_path: Path, case: str
) -> None:
    from tests.conftest import Place

    identity, rule, cell, surplus, said = WIDENED[case]
    desk = Desk(Place(scene.stack, "records", "orgkey"), tmp_path)
    assert said not in desk.run("doctor").out

    path = f"/v1/sys/policies/acl/orgkey-{identity}"
    policy = scene.root.adapter.get(path)["data"]["policy"]
    scene.root.adapter.post(path, json={"policy": policy + "\n" + rule})

    assert matrix.wrong(scene, (identity,)) == {(cell, identity)}
    doctor = desk.run("doctor")
    assert doctor.code != 0
    assert said in doctor.out
    desk.config.write_text(desk.config.read_text() + administrator(scene.stack))
    found = desk.ask("infra", "plan", expect=42)
    (change,) = found["changes"]
    assert change["object"] == f"sys/policies/acl/orgkey-{identity}"
    assert change["surplus"] == [surplus]
    assert f"-{rule.splitlines()[0]}" in change["diff"]
    applied = desk.ask("infra", "apply", "--yes")
    assert [item["state"] for item in applied["changes"]] == ["done"]
    assert desk.ask("infra", "plan")["changes"] == []
    (operation,) = (item for item in OPERATIONS if item.name == cell)
    assert dict(matrix.cells(scene, operation, (identity,))) == {identity: False}
    assert said not in desk.run("doctor").out


# -- what the table has no cell for: ways to more -----------------------------------------------------

WAYS = {
    "the driller's secret id": ("writer", "auth/approle/role/orgkey-driller/secret-id", "update"),
    "the driller's policy, by its old path": ("writer", "sys/policy/orgkey-driller", "update"),
    "an identity's groups": ("auditor", "identity/group", "update"),
    "tokens without a parent": ("driller", "auth/token/create-orphan", "sudo"),
    "the record of the pinned key": ("auditor", "orgkey/data/records/{pin}/*", "read"),
    "the versions of the pinned key": ("driller", "orgkey/destroy/records/{pin}/*", "update"),
    "a new version of the share's key": ("writer", "transit/keys/orgkey-escrow/import_version", "update"),
    "a data key in the clear": ("writer", "transit/datakey/plaintext/orgkey-escrow", "update"),
}


def test_each_way_to_more_is_a_failure_that_names_it(scene: Scene, tmp_path: Path) -> None:
    from tests.conftest import Place

    desk = Desk(Place(scene.stack, "records", "orgkey"), tmp_path)
    failures = [item for item in desk.run("doctor", "--json").document["findings"] if item["level"] == "fail"]
    assert failures == []
    for identity, path, right in WAYS.values():
        policy = f"/v1/sys/policies/acl/orgkey-{identity}"
        before = scene.root.adapter.get(policy)["data"]["policy"]
        rule = path.format(pin=desk.fingerprint)
        added = f'\npath "{rule}" {{\n  capabilities = ["{right}"]\n}}\n'
        scene.root.adapter.post(policy, json={"policy": before + added})
        run = desk.run("doctor", "--json")
        assert run.code == 2, rule
        (failure,) = [item for item in run.document["findings"] if item["level"] == "fail"]
        for part in (identity, right, rule.removesuffix("*")):
            assert part in failure["message"]
        scene.root.adapter.post(policy, json={"policy": before})
