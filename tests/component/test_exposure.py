"""What servers say changes who can reconstruct the key."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.archive.run import KeyScope
from pipeline.config.identities import IdentityConfig, IdentityName, VaultIdentity
from pipeline.config.places import S3TargetConfig
from pipeline.core.errors import Code
from pipeline.posture import analysis as exposure
from pipeline.posture import text
from tests.support.inmemory import ATTACKER, World, slot_of, unlocked, unreachable

ADDRESS = "https://vault.example.com"


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.store(world.mint())
    return world


def parties(found: exposure.Exposure) -> list[list[str]]:
    return found.now.reconstruct.listed() or []


def told(context: KeyScope) -> exposure.Exposure:
    return exposure.expose(context)


def test_a_vault_that_is_unsealed_by_hand_adds_nobody(world: World) -> None:
    world.seals = {ADDRESS: "shamir"}
    found = told(world.context)
    assert ["a-admins", "aws-admins", "vault-admins"] in parties(found)
    assert all("vault-admins" in item for item in parties(found))
    assert (found.facts, found.unknown, found.code) == ((), (), Code.OK)


def test_a_vault_that_aws_unseals_is_open_to_aws(world: World) -> None:
    world.seals = {ADDRESS: "awskms"}
    found = told(world.context)
    assert ["a-admins", "aws-admins"] in parties(found), "one party holds both shares now"
    assert any("is unsealed by awskms: aws-admins can open its storage" in fact for fact in found.facts)


def test_who_unseals_it_is_taken_from_the_configuration_where_it_says_so(world: World) -> None:
    world.seals = {ADDRESS: "awskms"}
    known = world.context
    holder = known.config.holder["vault"].model_copy(update={"unsealed_by": ("security",)})
    config = known.config.model_copy(update={"holder": {**known.config.holder, "vault": holder}})
    found = told(replace(known, config=config))
    assert ["a-admins", "aws-admins", "security"] in parties(found)
    assert ["a-admins", "aws-admins"] not in parties(found)


def test_another_kind_of_auto_unseal_is_a_party_of_its_own(world: World) -> None:
    world.seals = {ADDRESS: "transit"}
    assert [
        "a-admins",
        "aws-admins",
        f"whoever holds the transit seal of {ADDRESS}",
    ] in parties(told(world.context))


@pytest.mark.parametrize(
    ("other", "clusters", "one"),
    [
        ("https://VAULT.example.com:443", ("", ""), True),
        ("https://node-2.example.com", ("7f55c461", "7f55c461"), True),
        ("https://node-2.example.com", ("7f55c461", "0d11a2e4"), False),
        ("https://node-2.example.com", ("", ""), False),
        ("https://[::1", ("", ""), False),
    ],
)
def test_two_addresses_of_one_server_are_one_party(
    world: World, other: str, clusters: tuple[str, str], one: bool
) -> None:
    world.seals = {ADDRESS: "shamir", other: "shamir"}
    world.clusters = dict(zip((ADDRESS, other), clusters, strict=True))
    known = world.context
    second = known.config.holder["vault"].model_copy(
        update={"address": other, "controlled_by": ("aws-admins",)}
    )
    config = known.config.model_copy(update={"holder": {**known.config.holder, "aws": second}})
    alone = ["a-admins", f"whoever runs {ADDRESS} and {other}"]
    assert (alone in parties(told(replace(known, config=config)))) == one


@pytest.mark.parametrize(("other", "one"), [("https://S3.example.com:443", True), (None, False)])
def test_two_buckets_of_one_server_are_one_party(world: World, other: str | None, one: bool) -> None:
    known, facts = world.context, {"kind": "s3", "bucket": "a", "endpoint_url": "https://s3.example.com"}
    buckets = {
        name: S3TargetConfig.model_validate({**facts, "bucket": name, "controlled_by": [f"{name}-admins"]})
        for name in "ab"
    }
    buckets["b"] = buckets["b"].model_copy(update={"endpoint_url": other})
    found = told(
        replace(known, config=known.config.model_copy(update={"target": {**known.config.target, **buckets}}))
    )
    assert any("target a and target b, which have no party in common" in it for it in found.facts) == one


@pytest.mark.parametrize("who", ["driller", "writer"])
def test_who_vouches_for_the_driller_opens_vaults_share(world: World, who: IdentityName) -> None:
    """Also of a login that the writer lends the driller."""
    known = world.context

    def by(**settings: Any) -> exposure.Exposure:
        login = {who: IdentityConfig(vault=VaultIdentity(**settings))}
        return told(replace(known, config=known.config.model_copy(update={"identity": login})))

    found = by(method="aws", role="orgkey")
    assert ["a-admins", "aws-admins"] in parties(found), (
        "AWS vouches for its roles, and has a share of its own"
    )
    assert (
        f"aws-admins can log in as the driller at {ADDRESS} (aws), and open the share of vault" in found.facts
    )
    for settings in ({"method": "aws", "role": "r"}, {"method": "jwt", "role": "r", "jwt_file": "/t"}):
        found = by(**settings, vouched_by=["ci"])
        assert ["a-admins", "aws-admins"] not in parties(found)
        assert ["a-admins", "aws-admins", "ci"] in parties(found)
    assert by(token_file="/t").facts == by(method="aws", role="r", vouched_by=[]).facts == ()


def test_what_cannot_be_asked_is_unknown(world: World) -> None:
    world.seals = {ADDRESS: unreachable("Vault")}
    world.targets["b"].failures["find"] = unreachable("b")
    found = told(world.context)
    assert any(text.startswith(f"how {ADDRESS} is unsealed") for text in found.unknown)
    assert any(text.startswith("target b:") for text in found.unknown)
    assert found.code is Code.DEGRADED


def test_what_is_kept_of_a_former_key_makes_no_loss_of_the_present_one_less(tmp_path: Path) -> None:
    former = unlocked(ATTACKER).fingerprint
    world = World(tmp_path, key=f'former = ["{former}"]')
    before = world.store(world.mint(key=ATTACKER), "c")
    assert told(world.context).stored is None, "nothing is kept of the present key"
    world.targets["c"].places.pop(slot_of(before))
    world.store(world.mint(), "a")
    alone = told(world.context).now.fatal_losses.singles()
    assert "target a" in alone
    world.store(world.mint(key=ATTACKER), "b", "c")
    both = told(world.context)
    assert both.now.fatal_losses.singles() == alone
    assert ["target b", "target c"] in [
        [name for name in item if name.startswith("target ")] for item in both.now.fatal_losses.listed() or []
    ]
    assert any("of the key, or of a former one, impossible" in line for line in text.lines(both))


def test_a_holder_that_cannot_be_asked_hides_nobody_who_could_use_it(world: World) -> None:
    before = parties(told(world.context))
    world.holders["vault"].failures["describe"] = unreachable("vault")
    found = told(world.context)
    assert [item for item in before if item not in parties(found)] == []
    assert any(text.startswith("holder vault: ") for text in found.unknown)
    assert (found.all_read, found.code) == (True, Code.DEGRADED), "who could use it beside them is not known"


def test_a_holder_that_the_configuration_has_no_more_is_controlled_by_whoever_has_it(world: World) -> None:
    world.holders["vault"].where = "somewhere else"
    found = told(world.context)
    assert all("vault-admins" not in item for item in parties(found))
    assert any("whoever controls" in name for item in parties(found) for name in item)


def test_without_any_record_the_configuration_is_computed(tmp_path: Path) -> None:
    found = told(World(tmp_path).context)
    assert found.stored is None
    assert ["a-admins", "aws-admins", "vault-admins"] in parties(found)
