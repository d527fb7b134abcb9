"""What a server answers, read as what it has to be; one server under two addresses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from pipeline.cli.infra_plan import lines
from pipeline.config.holders import TransitHolderConfig
from pipeline.config.places import VaultPlace, VaultTargetConfig
from pipeline.core.errors import Unreachable, UsageProblem
from pipeline.provision import plan
from pipeline.provision.compare import Comparison
from pipeline.provision.desired import Site, wanted
from pipeline.provision.fields import Role, read_as
from pipeline.provision.files import Files

WRITER = "auth/approle/role/orgkey-writer"
KEY = "transit/keys/orgkey-escrow"
SOUND: dict[str, Any] = {
    "sys/mounts": {"orgkey/": {"type": "kv", "options": {"version": "2"}}, "transit/": {"type": "transit"}},
    "sys/auth": {"approle/": {"type": "approle"}},
    "sys/seal-status": {"version": "2.4.0", "cluster_id": "one"},
    "sys/audit": {"file/": {}},
    "orgkey/config": {"max_versions": 100, "delete_version_after": "0s"},
    KEY: {"type": "aes256-gcm96", "derived": True},
    WRITER: {
        "token_ttl": 1200,
        "token_max_ttl": "1h",
        "token_policies": ["orgkey-writer"],
        "token_type": "default",
    },
}


class Server:
    """Answers from a table, and takes nothing."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def read(self, path: str, what: str) -> Any:
        self.asked.append(path)
        return self.answers.get(path)

    def write(self, path: str, body: Any, what: str) -> None:
        raise AssertionError(path)


def site(answers: Mapping[str, Any], address: str = "https://vault.example.com:8200", **more: Any) -> Site:
    place = VaultPlace(address=address, **{k: v for k, v in more.items() if k == "namespace"})
    target = VaultTargetConfig(kind="vault", controlled_by=("a",), address=address)
    given = {"kind": "vault-transit", "controlled_by": ("a",), "address": address}
    holder = TransitHolderConfig(**{**given, **{k: v for k, v in more.items() if k != "namespace"}})
    return Site(place, {"vault": target}, {"vault": holder}, Server(answers))


def look(answers: Mapping[str, Any]) -> Comparison:
    here = site(answers)
    return Comparison(here, wanted(Files(), None, here))


def test_sound_answers_are_read() -> None:
    assert look(SOUND).status.cluster_id == "one"
    role = read_as(Role, SOUND[WRITER], "look")
    assert (role.token_ttl, role.token_max_ttl, role.token_period) == (1200, 3600, None)
    assert role.token_type == "default"


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("sys/mounts", ["orgkey/"]),
        ("sys/mounts", {"orgkey/": "kv"}),
        ("sys/mounts", {"orgkey/": {"type": "kv", "options": "version=2"}}),
        ("sys/mounts", {"orgkey/": {"type": ["kv"]}}),
        ("sys/auth", {"approle/": {"type": 5}}),
        ("sys/seal-status", {"version": 2}),
        ("sys/audit", ["file/"]),
        ("sys/policies/acl/orgkey-writer", {"policy": ["path"]}),
        ("orgkey/config", {"max_versions": "abc"}),
        ("orgkey/config", {"max_versions": [1]}),
        ("orgkey/config", {"delete_version_after": {}}),
        ("orgkey/config", {"delete_version_after": "-soon"}),
        (WRITER, {"token_ttl": "-1s"}),
        (KEY, {"type": "aes256-gcm96", "derived": "true"}),
        (KEY, {"derived": True, "imported_key": "no"}),
        (WRITER, {"token_ttl": "soon"}),
        (WRITER, {"token_ttl": [1200]}),
        (WRITER, {"token_num_uses": True}),
        (WRITER, {"token_bound_cidrs": 5}),
        (WRITER, {"token_bound_cidrs": [5]}),
        (WRITER, {"token_policies": "orgkey-writer"}),
        (WRITER, {"token_type": 1}),
    ],
)
def test_an_odd_answer_is_the_servers_failure(path: str, answer: Any) -> None:
    with pytest.raises(Unreachable, match="the server's answer"):
        look({**SOUND, path: answer})


@pytest.mark.parametrize(
    ("said", "seconds"), [(90, 90), ("90", 90), ("20m", 1200), ("768h0m0s", 2764800), ("1ms", 1), ("0s", 0)]
)
def test_lengths_of_time_may_be_numbers_or_words(said: Any, seconds: int) -> None:
    assert read_as(Role, {"token_ttl": said}, "look").token_ttl == seconds


@pytest.mark.parametrize("said", ["-1s", "-1", -1, "0s", 0, None])
def test_a_mount_without_any_expiry_is_left_alone(said: Any) -> None:
    have = look({**SOUND, "orgkey/config": {"max_versions": 100, "delete_version_after": said}})
    assert not [change for change in have.changes if change.object == "orgkey/config"]


def test_addresses_have_one_spelling() -> None:
    said = ["2001:DB8::1/128", "2001:0db8:0::/32", "10.1.2.3/32"]
    role = read_as(Role, {"token_bound_cidrs": said}, "look")
    assert role.token_bound_cidrs == ["10.1.2.3", "2001:db8::/32", "2001:db8::1"]


def test_one_server_has_one_address() -> None:
    two = [site(SOUND, "http://127.0.0.1:8200"), site(SOUND, "http://localhost:8200")]
    with pytest.raises(
        UsageProblem, match=r"http://127\.0\.0\.1:8200 and http://localhost:8200 are one server"
    ):
        plan.make(Files(), None, two)


@pytest.mark.parametrize(
    ("cluster", "namespace"),
    [("two", None), ("one", "team"), ("", None)],
    ids=["other", "namespace", "unsaid"],
)
def test_other_clusters_and_namespaces_are_other_servers(cluster: str, namespace: str | None) -> None:
    status = {"version": "2.4.0", "cluster_id": cluster}
    other = site({**SOUND, "sys/seal-status": status}, "http://b:8200", namespace=namespace)
    assert len(plan.make(Files(), None, [site(SOUND), other]).servers) == 2


class Sealed(Server):
    """A server that cannot be asked."""

    def read(self, path: str, what: str) -> Any:
        raise Unreachable(f"{what}: vault is sealed", hint="unseal it", again=False)


class Odd(Server):
    """A server whose answers nobody foresaw."""

    def read(self, path: str, what: str) -> Any:
        raise RuntimeError


@pytest.mark.parametrize(("kind", "said"), [(Sealed, "vault is sealed"), (Odd, "defect")])
def test_a_server_that_cannot_be_asked_does_not_end_the_look_at_the_others(
    kind: type[Server], said: str
) -> None:
    bad = replace(site(SOUND, "http://bad:8200"), session=kind({}))
    good = site(SOUND, "http://good:8200")
    for sites in ([bad, good], [good, bad]):
        made = plan.make(Files(), None, sites)
        assert [server.label for server in made.servers] == ["http://good:8200"]
        assert {change.server for change in made.changes} == {"http://good:8200"}
        (fault,) = made.faults
        assert (fault.server, fault.code) == ("http://bad:8200", 20)
        assert said in fault.message
        assert made.code == 20
        assert "http://bad:8200" in lines(made, whole=False)
    with pytest.raises(Unreachable):
        plan.make(Files(), None, [bad])


@pytest.mark.parametrize("mount", ["orgkey", "/orgkey/", "orgkey/transit"])
def test_one_mount_is_not_two_engines(mount: str) -> None:
    here = site(SOUND, mount=mount)
    with pytest.raises(UsageProblem, match="takes one engine there"):
        plan.make(Files(), None, [here])
    assert isinstance(here.session, Server)
    assert here.session.asked == []
