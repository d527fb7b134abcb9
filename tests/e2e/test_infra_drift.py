"""What `orgkey infra plan` shows of changes by hand, and what it never touches."""

from __future__ import annotations

import shlex
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.devstack import build
from pipeline.devstack.programs import OPENBAO
from pipeline.devstack.progress import Progress
from tests.e2e.teams import POLICY, ROLE, Team, told

if TYPE_CHECKING:
    pass


# -- each change is shown exactly, and mended ----------------------------------------------------

EDITED = 'path "secret/*" {\n  capabilities = ["read"]\n}\n'
BY_HAND: dict[str, tuple[str, str, dict[str, Any], tuple[str, str, Any, Any], list[str]]] = {
    "ttl": (
        "post",
        f"{ROLE}writer",
        {"token_ttl": "50m"},
        (f"{ROLE}writer", "token_ttl", 3000, 1200),
        ["a longer or looser token_ttl"],
    ),
    "shorter": ("post", f"{ROLE}writer", {"token_ttl": "10m"}, (f"{ROLE}writer", "token_ttl", 600, 1200), []),
    "default-policy": (
        "post",
        f"{ROLE}driller",
        {"token_no_default_policy": False},
        (f"{ROLE}driller", "token_no_default_policy", False, True),
        ["also the policy default"],
    ),
    "policies": (
        "post",
        f"{ROLE}auditor",
        {"token_policies": ["orgkey-auditor", "orgkey-driller"]},
        (f"{ROLE}auditor", "token_policies", ["orgkey-auditor", "orgkey-driller"], ["orgkey-auditor"]),
        ["also the policies orgkey-driller"],
    ),
    "no-secret-id": (
        "post",
        f"{ROLE}writer",
        {"bind_secret_id": False, "token_bound_cidrs": ["127.0.0.0/8"]},
        (f"{ROLE}writer", "bind_secret_id", False, True),
        ["logins without a secret id"],
    ),
    "token-type": (
        "post",
        f"{ROLE}writer",
        {"token_type": "batch"},
        (f"{ROLE}writer", "token_type", "batch", "service"),
        ["tokens that cannot be revoked"],
    ),
    "max-versions": (
        "post",
        "orgkey/config",
        {"max_versions": 1},
        ("orgkey/config", "max_versions", 1, 100),
        ["versions are lost after fewer writes"],
    ),
    "expiry": (
        "post",
        "orgkey/config",
        {"delete_version_after": "24h"},
        ("orgkey/config", "delete_version_after", "24h0m0s", "0s"),
        ["versions expire by themselves"],
    ),
    "deletion": (
        "post",
        "transit/keys/orgkey-escrow/config",
        {"deletion_allowed": True},
        ("transit/keys/orgkey-escrow", "deletion_allowed", True, False),
        ["whoever may delete keys can delete it, and every share with it"],
    ),
    "role-gone": ("delete", f"{ROLE}driller", {}, (f"{ROLE}driller", "exists", False, True), []),
    "policy-gone": ("delete", f"{POLICY}planner", {}, (f"{POLICY}planner", "exists", False, True), []),
}


@pytest.mark.parametrize("case", BY_HAND)
def test_each_change_by_hand_is_shown_exactly_and_mended(made: Team, case: str) -> None:
    method, path, body, change, surplus = BY_HAND[case]
    made.call(method, path, **body)
    plan = made.plan(42)
    further = [item for item in told(plan) if item[1] == "token_bound_cidrs"]
    assert [item for item in told(plan) if item not in further] == [change]
    assert [item["surplus"] for item in plan["changes"] if item["field"] == change[1]] == [surplus]
    shown = made.desk.run("infra", "plan", expect=42).out
    assert change[0] in shown
    assert all(f"gives more than it should: {item}" in shown for item in surplus)
    doctor = [
        item
        for item in made.desk.ask("doctor", expect=None)["findings"]
        if item["subject"].startswith("vault's side") and change[0] in item["message"]
    ]
    assert {item["level"] for item in doctor if change[1] in item["message"] or len(doctor) == 1} == {
        "fail" if surplus else "warn"
    }
    made.apply()
    assert made.plan(0)["changes"] == []


def test_an_edited_policy_is_shown_line_by_line(made: Team) -> None:
    policy = made.call("get", f"{POLICY}writer")["policy"]
    made.call("post", f"{POLICY}writer", policy=f"{policy}\n{EDITED}")
    (change,) = made.plan(42)["changes"]
    assert (change["object"], change["field"]) == (f"{POLICY}writer", "policy")
    assert (change["have"], change["want"]) == (f"{policy}\n{EDITED}", policy)
    removed = [line[1:] for line in change["diff"].splitlines()[2:] if line.startswith("-")]
    assert removed == ["", *EDITED.splitlines()]
    assert not [line for line in change["diff"].splitlines()[2:] if line.startswith("+")]
    assert change["surplus"] == ["read on secret/*"]
    made.apply()
    assert made.plan(0)["changes"] == []


# -- what is never touched -----------------------------------------------------------------------


def test_what_is_not_ours_and_what_is_stored_stays(team: Team) -> None:
    team.apply()
    team.call("post", "sys/policies/acl/orgkey-retired", policy=EDITED)
    team.call("post", "auth/approle/role/their-app", token_policies=["theirs"])
    team.call("post", "sys/mounts/theirs", type="kv", options={"version": "1"})
    team.call("post", "orgkey/data/records/kept", data={"record": "bytes"})
    team.call("post", "transit/keys/orgkey-escrow/rotate")
    team.call("post", "orgkey/config", max_versions=500, delete_version_after="-1s")
    secret = team.call("post", f"{ROLE}writer/secret-id")["secret_id_accessor"]
    before = _everything(team)
    assert team.plan(0)["changes"] == []
    team.call("post", f"{ROLE}writer", token_ttl="50m")
    team.apply()
    assert _everything(team) == before
    assert secret in team.call("list", f"{ROLE}writer/secret-id")["keys"]
    key = team.call("get", "transit/keys/orgkey-escrow")
    assert (key["latest_version"], key["min_decryption_version"], key["min_encryption_version"]) == (2, 1, 0)


def _everything(team: Team) -> Any:
    return [
        team.call("list", "sys/policies/acl"),
        team.call("list", "auth/approle/role"),
        {path: item["uuid"] for path, item in team.call("get", "sys/mounts").items()},
        {path: item["uuid"] for path, item in team.call("get", "sys/auth").items()},
        team.call("get", "orgkey/data/records/kept"),
        team.call("get", "orgkey/config"),
        team.call("get", "transit/keys/orgkey-escrow"),
        team.call("get", f"{POLICY}retired"),
        team.call("get", "auth/approle/role/their-app"),
        team.call("get", f"{ROLE}writer"),
    ]


FAULTS: dict[str, tuple[list[tuple[str, dict[str, Any]]], str, str]] = {
    "exportable": (
        [
            ("sys/mounts/transit", {"type": "transit"}),
            ("transit/keys/orgkey-escrow", {"derived": True, "exportable": True}),
        ],
        "transit/keys/orgkey-escrow",
        "exportable is true, should be false",
    ),
    "plaintext-backup": (
        [
            ("sys/mounts/transit", {"type": "transit"}),
            ("transit/keys/orgkey-escrow", {"derived": True, "allow_plaintext_backup": True}),
        ],
        "transit/keys/orgkey-escrow",
        "allow_plaintext_backup is true, should be false",
    ),
    "not-derived": (
        [
            ("sys/mounts/transit", {"type": "transit"}),
            ("transit/keys/orgkey-escrow", {"type": "aes256-gcm96"}),
        ],
        "transit/keys/orgkey-escrow",
        "derived is false, should be true",
    ),
    "version-one": (
        [("sys/mounts/orgkey", {"type": "kv", "options": {"version": "1"}})],
        "sys/mounts/orgkey",
        "key-value store of version 1",
    ),
    "another-engine": (
        [("sys/mounts/transit", {"type": "kv"})],
        "sys/mounts/transit",
        "type kv, not transit",
    ),
    "another-login": ([("sys/auth/approle", {"type": "userpass"})], "sys/auth/approle", "type userpass"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_what_cannot_be_mended_is_a_failure_and_left_alone(team: Team, case: str) -> None:
    steps, subject, said = FAULTS[case]
    for path, body in steps:
        team.call("post", path, **body)
    plan = team.plan(22)
    (problem,) = plan["problems"]
    assert (problem["server"], problem["object"]) == (team.label, subject)
    assert said in problem["message"]
    assert problem["hint"]
    assert subject not in {item["object"] for item in plan["changes"]}
    assert f"PROBLEM  {subject}" in team.desk.run("infra", "plan", expect=22).out
    before = team.call("get", "sys/mounts"), team.call("get", "sys/auth")
    applied = team.apply(22)
    assert {item["state"] for item in applied["changes"]} == {"done"}
    assert [item["object"] for item in applied["problems"]] == [subject]
    kept = team.call("get", "sys/mounts"), team.call("get", "sys/auth")
    assert all(found.items() <= now.items() for found, now in zip(before, kept, strict=True))
    assert team.plan(22)["changes"] == []
    doctor = team.desk.ask("doctor", expect=None)["findings"]
    assert [item["level"] for item in doctor if subject in item["message"] and item["code"] == 22] == ["fail"]


def test_the_command_that_it_names_raises_a_store_of_version_one(team: Team) -> None:
    """It names server and namespace: without them it would ask another server."""
    team.call("post", "sys/mounts/orgkey", type="kv", options={"version": "1"})
    (problem,) = team.plan(22)["problems"]
    program, *words = shlex.split(problem["hint"].partition(": ")[2])
    assert program == "vault"
    bao = build.ensure(OPENBAO, Progress())
    # Without the administrator's token file and address of whoever runs the tests.
    env = {"HOME": str(team.desk.folder), "VAULT_TOKEN": team.token.read_text().strip()}
    subprocess.run([bao, *words], env=env, capture_output=True, timeout=60, check=True)
    assert team.plan(42)["problems"] == []
