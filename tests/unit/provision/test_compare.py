"""Differences that a real server of the stack cannot show: audit devices, addresses, odd answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline import config
from pipeline.cli.infra_apply import credentials
from pipeline.cli.infra_plan import lines
from pipeline.config.holders import TransitHolderConfig
from pipeline.config.places import VaultPlace, VaultTargetConfig
from pipeline.core.clock import Deadline, SystemClock
from pipeline.core.errors import Unreachable, UsageProblem
from pipeline.core.retry import Retrier
from pipeline.provision import apply
from pipeline.provision.compare import Comparison, ServerChange
from pipeline.provision.desired import RoleLogin, Site, Wanted, wanted
from pipeline.provision.files import Files
from pipeline.provision.plan import ComparedServer, ServersPlan

WRITER = "auth/approle/role/orgkey-writer"
KEY, POLICY = "transit/keys/orgkey-escrow", "sys/policies/acl/"
Answers = dict[str, Any]


ESTATE = """
[target.vault]
kind = "vault"
controlled_by = ["a"]
address = "https://vault.example.com:8200"
[holder.vault]
kind = "vault-transit"
controlled_by = ["a"]
address = "https://vault.example.com:8200"
[path.p]
needs = ["vault"]
[policy]
copies = 1
"""


class Nobody:
    """A server that is not asked."""

    def read(self, path: str, what: str) -> Any:
        raise AssertionError(path)

    def write(self, path: str, body: Any, what: str) -> None:
        raise AssertionError(path)


def site(**changes: Any) -> Site:
    place = VaultPlace(address="https://vault.example.com:8200", **changes)
    target = VaultTargetConfig(kind="vault", controlled_by=("a",), address=place.address)
    holder = TransitHolderConfig(kind="vault-transit", controlled_by=("a",), address=place.address)
    return Site(place, {"vault": target}, {"vault": holder}, Nobody())


@pytest.fixture
def want() -> Wanted:
    return wanted(Files(), None, site())


@pytest.fixture
def same(want: Wanted) -> Answers:
    """What a server answers that has exactly what it should."""
    return {
        "sys/seal-status": {"version": "2.4.0"},
        "sys/mounts": {
            "orgkey/": {"type": "kv", "options": {"version": "2"}},
            "transit/": {"type": "transit"},
        },
        "sys/auth": {"approle/": {"type": "approle"}},
        "sys/audit": {"file/": {}},
        "orgkey/config": dict(want.kv_fields),
        KEY: dict(want.key_fields),
        **{POLICY + name: {"policy": text} for name, text in want.policies.items()},
        **{path: dict(fields) for path, fields in want.roles.items()},
    }


class Answering(Nobody):
    """A server that answers, and takes nothing."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers

    def read(self, path: str, what: str) -> Any:
        return self.answers.get(path)


def compared(want: Wanted, have: Answers) -> Comparison:
    return Comparison(replace(site(), session=Answering(have)), want)


def changes(want: Wanted, have: Answers) -> list[ServerChange]:
    found = compared(want, have)
    assert found.faults == []
    return found.changes


def test_the_same_is_no_difference(want: Wanted, same: Answers) -> None:
    assert changes(want, same) == []


def test_openbao_takes_audit_devices_by_hand_only(want: Wanted, same: Answers) -> None:
    built_in = {"cubbyhole/": {"type": "cubbyhole", "running_plugin_version": "v2.7.2+builtin.bao"}}
    (change,) = changes(want, same | {"sys/audit": {}, "sys/mounts": same["sys/mounts"] | built_in})
    assert change.call == ""
    assert change.by_hand.startswith("do by hand: ")
    assert 'audit "file" "orgkey" {' in change.by_hand
    assert 'file_path = "/var/log/vault/audit.log"' in change.by_hand
    (outcome,) = apply.apply([], [change], None)  # type: ignore[arg-type]
    assert outcome.state == "by-hand"
    # It is told, and does not keep the plan pending for ever: no run of ours can make it.
    assert apply.code([outcome]) == 0
    assert ServersPlan((), (change,), ()).code == 0
    assert ServersPlan((), (change,), ()).by_hand == (change,)
    told = lines(
        ServersPlan((ComparedServer(site().label, "", None, "2.7.2", True, ()),), (change,), ()), whole=False
    )
    assert told[-1] == "no changes, 1 thing to do by hand"
    assert 'audit "file" "orgkey" {' in "\n".join(told)


def test_what_was_made_is_told_as_made_and_a_new_policy_in_short(want: Wanted, same: Answers) -> None:
    name = next(iter(want.policies))
    (change,) = changes(want, {path: answer for path, answer in same.items() if path != POLICY + name})
    assert change.summary == f"sys/policies/acl/{name} is missing"
    assert change.made == f"made sys/policies/acl/{name}"
    plan = ServersPlan((ComparedServer(site().label, "", None, "2.7.2", True, ()),), (change,), ())
    assert plan.code == 42
    short, whole = lines(plan, whole=False), lines(plan, whole=True)
    assert "-v shows them" in short[2]
    assert len(short) < 6 < len(whole)


@pytest.mark.parametrize(
    ("driller", "folder"), [("/srv/one/driller-id", "/srv/one"), ("/srv/two/id", "/etc/orgkey/credentials")]
)
def test_a_login_that_is_not_named_is_put_into_no_other_ones_folder(driller: str, folder: str) -> None:
    files = {"writer": "/srv/one/writer-id", "driller": driller, "planner": None}
    logins = tuple(
        RoleLogin(name, f"auth/approle/role/orgkey-{name}", file, file and f"{file}-secret")  # type: ignore[arg-type]
        for name, file in files.items()
    )
    plan = ServersPlan((ComparedServer("x", "https://x", None, "2.7.2", True, logins),), (), ())
    made = {item.identity: item.folder for item in credentials(plan, Path("/etc/orgkey"))}
    assert made == {"writer": "/srv/one", "driller": str(Path(driller).parent), "planner": folder}


@pytest.mark.parametrize("version", ["1.20.0", "2.0.4"])
def test_vault_takes_them_from_its_api(version: str, want: Wanted, same: Answers) -> None:
    built_in = {"cubbyhole/": {"type": "cubbyhole", "running_plugin_version": f"v{version}+builtin.vault"}}
    said = {"sys/seal-status": {"version": version}, "sys/mounts": same["sys/mounts"] | built_in}
    (change,) = changes(want, same | {"sys/audit": {}} | said)
    assert (change.call, change.by_hand) == ("sys/audit/orgkey", "")
    assert change.body["type"] == "file"


def test_a_namespace_has_no_audit_devices_of_its_own() -> None:
    assert wanted(Files(), None, site(namespace="team")).audit is None


def role(same: Answers, **fields: Any) -> Answers:
    return same | {WRITER: same[WRITER] | fields}


def bound(want: Wanted, *addresses: str) -> Wanted:
    fields = {**want.roles[WRITER], "token_bound_cidrs": list(addresses)}
    return replace(want, roles={**want.roles, WRITER: fields})


@pytest.mark.parametrize(
    ("wanted_addresses", "has", "wider"),
    [
        (["10.0.0.0/8"], ["10.1.0.0/16"], False),
        (["10.0.0.0/8"], ["10.1.2.3"], False),
        (["10.1.0.0/16"], ["10.0.0.0/8"], True),
        (["10.1.0.0/16"], [], True),
        (["10.1.0.0/16"], ["10.1.0.0/16", "192.0.2.1"], True),
        (["10.1.0.0/16"], ["2001:db8::/32"], True),
        (["10.1.0.0/16"], ["what is this"], True),
        ([], ["10.1.0.0/16"], False),
    ],
)
def test_addresses_that_bind_less_are_surplus(
    want: Wanted, same: Answers, wanted_addresses: list[str], has: list[str], wider: bool
) -> None:
    (change,) = changes(bound(want, *wanted_addresses), role(same, token_bound_cidrs=has))
    assert (change.field, change.widens) == ("token_bound_cidrs", wider)


def test_the_order_and_the_length_of_one_address_are_no_difference(want: Wanted, same: Answers) -> None:
    has = role(same, token_bound_cidrs=["192.0.2.1", "10.0.0.0/8"])
    assert changes(bound(want, "10.0.0.0/8", "192.0.2.1"), has) == []


@pytest.mark.parametrize(
    ("field", "has", "wider"),
    [
        ("token_ttl", 600, False),
        ("token_ttl", 7200, True),
        ("token_ttl", 0, True),
        ("token_period", 60, True),
        ("token_num_uses", 5, False),
        ("secret_id_ttl", 600, False),
        ("secret_id_num_uses", 1, False),
        ("token_no_default_policy", False, True),
        ("bind_secret_id", False, True),
        ("token_policies", [], False),
        ("token_policies", ["root"], True),
    ],
)
def test_a_looser_role_gives_more_and_a_tighter_one_does_not(
    want: Wanted, same: Answers, field: str, has: Any, wider: bool
) -> None:
    (change,) = changes(want, role(same, **{field: has}))
    assert (change.field, change.have, change.widens) == (field, has, wider)


def test_what_a_server_leaves_out_counts_as_nothing(want: Wanted, same: Answers) -> None:
    have = role(same, token_bound_cidrs=None, secret_id_bound_cidrs=None, token_num_uses=None)
    assert changes(want, have) == []


def test_a_policy_that_cannot_be_judged_is_a_surplus(want: Wanted, same: Answers) -> None:
    odd = {"policy": '{"path": {"*": {"policy": "sudo"}}}'}
    (change,) = changes(want, same | {POLICY + "orgkey-writer": odd})
    assert change.surplus == ("what cannot be judged",)


def test_more_versions_than_asked_for_are_left_alone(want: Wanted, same: Answers) -> None:
    assert changes(want, same | {"orgkey/config": {"max_versions": 5000}}) == []


def test_a_deleted_key_is_a_fault(want: Wanted, same: Answers) -> None:
    found = compared(want, same | {KEY: same[KEY] | {"soft_deleted": True}})
    assert found.changes == []
    assert "marked as deleted" in found.faults[0].message


def test_who_logs_in_another_way_gets_no_approle_beside_it() -> None:
    text = f'{ESTATE}\n[identity.writer.vault]\nmethod = "kubernetes"\nrole = "orgkey-writer"\n'
    made = wanted(Files(), config.parse(text.encode(), Path("test")), site())
    assert {login.identity for login in made.logins} == {"driller", "auditor", "planner"}
    assert "auth/approle/role/orgkey-writer" not in made.roles
    assert "orgkey-writer" in made.policies


def test_each_login_of_the_configuration_says_where_its_role_is() -> None:
    text = f"""{ESTATE}
[identity.writer.vault]
role_id_file = "/w/role"
secret_id_file = "/w/secret"
mount = "machines"
[identity.administrator.vault]
token_file = "/a/token"
"""
    made = wanted(Files(), config.parse(text.encode(), Path("test")), site())
    assert {login.identity: login.role for login in made.logins} == {
        "writer": "auth/machines/role/orgkey-writer",
        "driller": "auth/approle/role/orgkey-driller",
        "auditor": "auth/approle/role/orgkey-auditor",
        "planner": "auth/approle/role/orgkey-planner",
    }
    assert made.auth == ("machines", "approle")
    assert made.logins[0].secret_id_file == "/w/secret"
    for mount in ("machines", "approle"):
        assert f'path "auth/{mount}/role/orgkey-writer"' in made.policies["orgkey-planner"]


def test_an_imported_key_is_a_fault(want: Wanted, same: Answers) -> None:
    found = compared(want, same | {KEY: same[KEY] | {"imported_key": True}})
    assert found.changes == []
    assert "it was imported" in found.faults[0].message


@pytest.mark.parametrize(("has", "wider"), [("batch", True), ("default-batch", True), ("default", False)])
def test_tokens_that_cannot_be_revoked_are_a_surplus(
    want: Wanted, same: Answers, has: str, wider: bool
) -> None:
    (change,) = changes(want, role(same, token_type=has))
    assert (change.field, change.want, change.widens) == ("token_type", "service", wider)
    assert change.body == {"token_type": "service"}


def test_line_ends_alone_are_a_difference_that_is_named(want: Wanted, same: Answers) -> None:
    dos = {"policy": want.policies["orgkey-writer"].replace("\n", "\r\n")}
    (change,) = changes(want, same | {POLICY + "orgkey-writer": dos})
    assert change.diff == "only line ends differ"


# -- applying ------------------------------------------------------------------------------------


class Losing:
    """A server that takes a mount, loses the answer, and then says that the path is in use."""

    def __init__(self, has: dict[str, Any], *, losing: bool = True) -> None:
        self.has = has
        self.losing = losing
        self.asked: list[str] = []

    def read(self, path: str, what: str) -> Any:
        self.asked.append(f"read {path}")
        return self.has

    def write(self, path: str, body: Any, what: str) -> None:
        self.asked.append(f"write {path}")
        if self.losing:
            self.losing = False
            raise Unreachable(f"{what}: the connection broke", hint="try again")
        raise UsageProblem(f"{what}: path is already in use at {path}/ (status 400)", hint="look")


class NoWait(SystemClock):
    """A clock that does not wait."""

    def sleep(self, seconds: float) -> None:
        return


def applied(server: Losing, path: str, kind: str) -> apply.AppliedChange:
    here = replace(site(), session=server)
    change = ServerChange(here.label, path, "exists", False, True, path, {"type": kind})
    (outcome,) = apply.apply([here], [change], Retrier(Deadline(60), clock=NoWait()))
    return outcome


@pytest.mark.parametrize(
    ("path", "kind"),
    [("sys/mounts/orgkey", "kv"), ("sys/auth/approle", "approle"), ("sys/audit/orgkey", "file")],
)
def test_a_lost_answer_to_a_request_that_made_something_is_no_failure(path: str, kind: str) -> None:
    table, _, name = path.rpartition("/")
    server = Losing({f"{name}/": {"type": kind}})
    assert applied(server, path, kind).state == "done"
    assert server.asked == [f"write {path}", f"write {path}", f"read {table}"]
    for has in ({f"{name}/": {"type": "other"}}, {}):
        refused = applied(Losing(has), path, kind)
        assert refused.state == "failed"
        assert refused.error is not None
        assert refused.error.code == 2


def test_what_the_first_attempt_is_refused_is_a_failure() -> None:
    server = Losing({"orgkey/": {"type": "kv"}}, losing=False)
    assert applied(server, "sys/mounts/orgkey", "kv").state == "failed"
    assert server.asked == ["write sys/mounts/orgkey"]


def test_other_requests_are_not_looked_after() -> None:
    server = Losing({})
    assert applied(server, "orgkey/config", "kv").state == "failed"
    assert server.asked == ["write orgkey/config", "write orgkey/config"]
