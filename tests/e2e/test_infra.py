"""`orgkey infra plan` and `apply` on real servers: from nothing to no differences; who may, and a yes."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.teams import LOGINS, POLICY, ROLE, Team, bao, entries_of
from tests.support.commandline import converse, environment
from tests.support.local_stack import vault_client

if TYPE_CHECKING:
    from tests.support.local_stack import Stack


# -- from nothing to no differences --------------------------------------------------------------


def test_an_empty_server_is_planned_made_and_then_as_planned(team: Team) -> None:
    plan = team.plan(42)
    assert [(item["object"], item["field"]) for item in plan["changes"]] == [
        ("sys/mounts/orgkey", "exists"),
        ("orgkey/config", "max_versions"),
        ("sys/mounts/transit", "exists"),
        ("transit/keys/orgkey-escrow", "exists"),
        *((POLICY + name, "exists") for name in LOGINS),
        ("sys/auth/approle", "exists"),
        *((ROLE + name, "exists") for name in LOGINS),
    ]
    assert plan["problems"] == []
    assert plan == team.plan(42), "planning changed something"
    assert set(team.call("get", "sys/mounts")) == {"cubbyhole/", "identity/", "sys/"}

    applied = team.apply()
    assert [(item["object"], item["field"]) for item in applied["changes"]] == [
        (item["object"], item["field"]) for item in plan["changes"]
    ]
    assert {item["state"] for item in applied["changes"]} == {"done"}
    assert applied["left"] == []
    after = team.plan(0)
    assert (after["changes"], after["problems"]) == ([], [])
    assert "no differences" in team.desk.run("infra", "plan", expect=0).out
    assert team.apply()["changes"] == []


def test_what_apply_made_is_safe(team: Team) -> None:
    team.apply()
    key = team.call("get", "transit/keys/orgkey-escrow")
    assert (key["type"], key["derived"], key["latest_version"]) == ("aes256-gcm96", True, 1)
    assert not any(key[name] for name in ("exportable", "allow_plaintext_backup", "deletion_allowed"))
    config = team.call("get", "orgkey/config")
    assert (config["max_versions"], config["delete_version_after"]) == (100, "0s")
    for name in LOGINS:
        role = team.call("get", ROLE + name)
        assert role["token_policies"] == [f"orgkey-{name}"]
        assert role["token_no_default_policy"]
        assert (role["token_ttl"], role["token_max_ttl"], role["token_period"]) == (1200, 3600, 0)


def test_the_printed_commands_make_logins_with_which_an_escrow_runs(team: Team, tmp_path: Path) -> None:
    text = team.desk.config.read_text()
    for name in ("writer", "driller", "auditor"):
        for kind in ("role-id", "secret-id"):
            old = str(getattr(team.stack.layout, kind.replace("-", "_"))(name))
            text = text.replace(old, str(tmp_path / f"{name}-{kind}"))
    team.desk.config.write_text(text)
    commands = [item for item in team.apply()["credentials"] if item["identity"] != "planner"]
    assert {item["identity"] for item in commands} == {"writer", "driller", "auditor"}
    for item in commands:
        for kind in ("role_id", "secret_id"):
            subprocess.run(["sh", "-c", item[kind]], env=bao(team, tmp_path), check=True, timeout=60)
            file = tmp_path / f"{item['identity']}-{kind.replace('_', '-')}"
            assert file.stat().st_mode & 0o077 == 0
    assert team.desk.escrow()["drill"] is not None
    doctor = team.desk.ask("doctor", expect=None)["findings"]
    assert [item for item in doctor if item["level"] == "fail"] == []
    assert [item["message"] for item in doctor if item["subject"] == "vault's side"] == [
        "as infra/vault says, no differences"
    ]


def test_a_namespace_and_its_parent_are_two_servers(team: Team) -> None:
    table = (
        '[target.other]\nkind = "vault"\ndomain = "other"\ncontrolled_by = ["vault-admins"]\n'
        f'address = "{team.stack.endpoint("vault")}"\nmount = "further/kv"\nprefix = ""\n'
    )
    team.add(table)
    plan = team.plan(42)
    assert [item["namespace"] for item in plan["servers"]] == [team.name, None]
    here = {item["object"] for item in plan["changes"] if item["server"] == team.label}
    there = {item["object"] for item in plan["changes"] if item["server"] != team.label}
    assert "sys/mounts/orgkey" in here
    assert "sys/mounts/further/kv" in there
    assert not {item for item in there if "transit" in item or "orgkey/" in item}
    assert "further/kv/data/*" not in str(team.apply()["changes"][0])
    assert team.plan(0)["changes"] == []
    policy = team.root.adapter.get("/v1/sys/policies/acl/orgkey-writer")["data"]["policy"]
    assert 'path "further/kv/data/*"' in policy
    assert "transit" not in policy
    team.root.adapter.delete("/v1/sys/mounts/further/kv")
    team.stack.up()  # the set-up is current: nothing happens, and what the test made of the policies stays


def test_one_server_under_two_addresses_is_refused_before_anything_is_written(team: Team) -> None:
    address = team.stack.endpoint("vault")
    assert "127.0.0.1" in address
    other = address.replace("127.0.0.1", "localhost")
    common = f'controlled_by = ["vault-admins"]\naddress = "{other}"\nnamespace = "{team.name}"\n'
    team.add(f'[holder.second]\nkind = "vault-transit"\n{common}key = "other-key"\n')
    for command in (("plan",), ("apply", "--yes")):
        message, hint = team.desk.run("infra", *command, expect=2).error
        assert address in message
        assert other in message
        assert "one address" in hint
    assert set(team.call("get", "sys/mounts")) == {"cubbyhole/", "identity/", "sys/"}


def test_several_targets_and_keys_of_one_server_share_a_policy(team: Team) -> None:
    address = team.stack.endpoint("vault")
    common = f'controlled_by = ["vault-admins"]\naddress = "{address}"\nnamespace = "{team.name}"\n'
    team.add(f'[target.second]\nkind = "vault"\n{common}mount = "orgkey"\nprefix = "old"\n')
    team.add(f'[holder.second]\nkind = "vault-transit"\n{common}mount = "seal/two"\nkey = "other-key"\n')
    team.apply()
    assert team.plan(0)["changes"] == []
    policy = team.call("get", f"{POLICY}writer")["policy"]
    for path in ("orgkey/data/records/*", "orgkey/data/old/*", "seal/two/encrypt/other-key", "orgkey/config"):
        assert policy.count(f'path "{path}"') == 1
    assert team.call("get", "seal/two/keys/other-key")["derived"]


# -- words, and a yes ----------------------------------------------------------------------------


def test_without_a_terminal_it_wants_a_yes(team: Team) -> None:
    run = team.desk.run("infra", "apply", expect=2)
    assert "--yes" in run.error[1]
    assert "sys/mounts/orgkey is missing" in run.err
    assert team.desk.run("infra", "apply", "--json", expect=2).document["error"]["code"] == 2
    team.plan(42)


@pytest.mark.parametrize(
    ("more", "answer", "code", "left"), [([], b"n", 2, 42), ([], b"y", 0, 0), (["--quiet"], b"n", 2, 42)]
)
def test_at_a_terminal_it_asks(team: Team, more: list[str], answer: bytes, code: int, left: int) -> None:
    words = ["infra", "apply", "--config", str(team.desk.config), "--state-dir", str(team.desk.state), *more]
    ended, shown = converse(
        team.desk.folder, words, [(b"? [y/N]", answer)], env=environment(team.desk.folder)
    )
    assert ended == code, shown
    assert "never: no mount, key, key version" in shown
    assert len(team.plan(left)["changes"]) == (13 if left else 0)


def test_the_ledger_knows_of_it_where_a_key_is_pinned(team: Team) -> None:
    team.plan(42)
    team.apply()
    team.plan(0)
    entries = [item for item in entries_of(team) if item["event"] == "infra"]
    assert [item["details"]["action"] for item in entries] == ["plan", "apply", "plan"]
    assert [item["details"]["code"] for item in entries] == [42, 0, 0]
    assert [len(item["details"]["changes"]) for item in entries] == [13, 13, 0]
    assert set(entries[1]["details"]["states"]) == {"done"}
    assert team.desk.ask("ledger", "verify")["ok"]


def test_the_report_says_how_vaults_side_stood_last(team: Team) -> None:
    first = team.desk.ask("report", expect=None)
    assert first["vault"] is None
    assert any("never compared" in line for line in first["not_covered"])
    team.plan(42)
    planned = team.desk.ask("report", expect=None)["vault"]
    assert planned["servers"] == [team.label]
    assert len(planned["differences"]) == 13
    assert not planned["wider"]
    team.apply()
    report = team.desk.ask("report", expect=None)
    assert (report["vault"]["differences"], report["vault"]["wider"]) == ([], False)
    assert [item["text"] for item in report["changes"] if item["event"] == "infra"] == [
        f"apply: {team.label}: no differences"
    ]
    (evidence,) = report["vault"]["evidence"]
    assert evidence in {item["id"] for item in report["evidence"]}
    team.call("post", f"{ROLE}writer", token_ttl="50m")
    team.plan(42)
    widened = team.desk.ask("report", expect=None)["vault"]
    assert widened["wider"]
    assert widened["differences"] == [f"{ROLE}writer: token_ttl is 3000, should be 1200 at {team.label}"]


def test_without_a_pin_there_is_no_ledger(server: Stack, tmp_path: Path) -> None:
    team = Team(server, tmp_path, pin=False)
    team.plan(42)
    team.apply()
    assert not team.desk.state.exists() or not list(team.desk.state.rglob("*.json"))


# -- who may, and what stands in the way ---------------------------------------------------------


def test_the_planner_plans_and_does_not_apply(made: Team, tmp_path: Path) -> None:
    folder = tmp_path / "planner"
    folder.mkdir()
    role = made.call("get", f"{ROLE}planner/role-id")["role_id"]
    secret = made.call("post", f"{ROLE}planner/secret-id")["secret_id"]
    for name, text in (("role", role), ("secret", secret)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)
    login = f'role_id_file = "{folder / "role"}"\nsecret_id_file = "{folder / "secret"}"'
    config = made.desk.config.read_text()
    try:
        made.desk.edit(f'token_file = "{made.token}"', login)
        assert made.plan(0)["changes"] == []
        made.call("post", f"{ROLE}writer", token_ttl="50m")
        assert len(made.plan(42)["changes"]) == 1
        applied = made.apply(21)
        assert [item["state"] for item in applied["changes"]] == ["failed"]
        assert "refuses the administrator's identity" in applied["changes"][0]["error"]
        assert applied["left"] is None
    finally:
        made.desk.config.write_text(config)
    assert len(made.plan(42)["changes"]) == 1
    made.apply()


def test_refused_halfway_it_says_how_far_it_came_and_goes_on_later(team: Team) -> None:
    """An administrator of engines and policies who has nothing to say about logins."""
    team.call(
        "post",
        "sys/policies/acl/half",
        policy='path "*" {\n  capabilities = ["create", "read", "update", "list", "sudo"]\n}\n'
        'path "sys/auth/*" {\n  capabilities = ["read"]\n}\n',
    )
    client = vault_client(team.stack.endpoint("vault"), team.root.token)
    made = client.adapter.request(
        "post",
        "/v1/auth/token/create",
        json={"policies": ["half"], "ttl": "1h"},
        headers={"X-Vault-Namespace": team.name},
    )
    team.token.write_text(made["auth"]["client_token"])
    applied = team.apply(21)
    states = {item["object"]: item["state"] for item in applied["changes"]}
    assert states["sys/mounts/orgkey"] == states[f"{POLICY}planner"] == "done"
    assert states["sys/auth/approle"] == "failed"
    assert {states[ROLE + name] for name in LOGINS} == {"not-done"}
    assert applied["left"] is None
    assert entries_of(team)[-1]["details"]["code"] == 21
    shown = team.desk.run("infra", "apply", "--yes", expect=21).out
    assert "failed    " in shown
    assert "not-done  " in shown
    team.token.write_text(team.stack.layout.root_token.read_text())
    left = team.plan(42)
    assert [item["object"] for item in left["changes"]] == [
        "sys/auth/approle",
        *(ROLE + name for name in LOGINS),
    ]
    assert {item["state"] for item in team.apply()["changes"]} == {"done"}


def test_a_login_that_may_not_look_ends_with_21(team: Team) -> None:
    team.token.write_text("s.nothing")
    for command in (("plan",), ("apply", "--yes")):
        assert team.desk.run("infra", *command, expect=21).error[0]


def test_a_sealed_and_a_dead_server_end_with_20(breakable_stack: Stack, tmp_path: Path) -> None:
    team = Team(breakable_stack, tmp_path)
    breakable_stack.seal()
    assert "is sealed" in team.desk.run("infra", "plan", expect=20).error[0]
    assert team.desk.run("infra", "apply", "--yes", "--json", expect=20).document["error"]["code"] == 20
    breakable_stack.unseal()
    breakable_stack.stop_member("vault")
    assert "connection refused" in team.desk.run("infra", "plan", expect=20).error[0]
    finding = [
        item for item in team.desk.ask("doctor", expect=20)["findings"] if item["subject"] == "vault's side"
    ]
    assert [(item["level"], item["code"]) for item in finding] == [("fail", 20)]


def test_without_an_administrator_the_ambient_token_is_used(made: Team) -> None:
    config = made.desk.config.read_text()
    try:
        made.desk.edit(f'[identity.administrator.vault]\ntoken_file = "{made.token}"\n', "")
        ambient = environment(made.desk.folder, VAULT_TOKEN=made.token.read_text())
        assert made.desk.ask("infra", "plan", env=ambient)["changes"] == []
        assert "no login for vault" in made.desk.run("infra", "plan", expect=2).error[0]
        (finding,) = (
            item
            for item in made.desk.ask("doctor", expect=None)["findings"]
            if item["subject"] == "vault's side"
        )
        assert finding["level"] == "unseen"
        assert "not looked at" in finding["message"]
    finally:
        made.desk.config.write_text(config)
