from __future__ import annotations

from itertools import chain, combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import config
from pipeline.core.errors import UsageProblem
from pipeline.custody.shares import paths
from pipeline.posture import model as posture
from pipeline.posture.model import Model, Requirement, Thing


def settings_with(**changes: Any) -> config.Config:
    document: dict[str, Any] = {
        "target": {
            "vault": {"kind": "vault", "address": "https://v", "controlled_by": ["vault-admins"]},
            "s3": {"kind": "s3", "bucket": "b", "controlled_by": ["aws-admins"]},
        },
        "holder": {
            "vault": {"kind": "vault-transit", "address": "https://v", "controlled_by": ["vault-admins"]},
            "aws": {"kind": "aws-kms", "key_id": "k", "controlled_by": ["aws-admins"]},
        },
        "path": {"unattended": {"needs": ["vault", "aws"]}},
    }
    document.update(changes)
    return config.Config.model_validate(document)


ONE_CLOUD = {
    "aws": {"kind": "aws-kms", "key_id": "k", "controlled_by": ["aws-admins"]},
    "vault": {"kind": "vault-transit", "address": "https://v", "controlled_by": ["ops", "aws-admins"]},
}


def test_two_clouds_need_both_parties() -> None:
    plan = settings_with()
    found = posture.Posture((posture.from_config(plan),)).reconstruct
    assert found.listed() == [["aws-admins", "vault-admins"]]
    assert posture.single_parties(plan) == []
    posture.require_no_single_party(plan)


def test_one_cloud_works_only_when_accepted() -> None:
    plan = settings_with(holder=ONE_CLOUD)
    assert posture.single_parties(plan) == ["aws-admins"]
    with pytest.raises(UsageProblem) as caught:
        posture.require_no_single_party(plan)
    assert "aws-admins" in caught.value.message
    assert "accept_single_party" in caught.value.hint
    posture.require_no_single_party(settings_with(holder=ONE_CLOUD, policy={"accept_single_party": True}))


def test_a_second_path_can_undo_the_first() -> None:
    plan = settings_with(path={"both": {"needs": ["vault", "aws"]}, "quick": {"needs": ["vault"]}})
    assert posture.single_parties(plan) == ["vault-admins"]


def test_shares_without_a_copy_are_no_key() -> None:
    plan = settings_with(
        target={
            "disk": {"kind": "directory", "path": "/d", "controlled_by": ["storage"]},
            "tape": {"kind": "directory", "path": "/t", "controlled_by": ["storage"]},
        },
        holder=ONE_CLOUD,
    )
    assert posture.Posture((posture.from_config(plan),)).reconstruct.listed() == [["aws-admins", "storage"]]


def test_a_lost_holder_of_the_only_path_is_fatal() -> None:
    losses = posture.Posture((posture.from_config(settings_with()),)).fatal_losses.listed() or []
    assert ["holder vault"] in losses
    assert ["holder aws"] in losses
    assert ["party vault-admins"] in losses
    assert ["target s3", "target vault"] in losses
    assert ["target s3"] not in losses


def test_a_group_needs_its_threshold_and_survives_some_losses() -> None:
    people = tuple(Thing(f"custodian {name}", frozenset({name})) for name in "abc")
    model = Model(paths=((Requirement(2, people),),), copies=(Thing("target t", frozenset("z")),))
    assert posture.Posture((model,)).reconstruct.listed() == [
        ["a", "b", "z"],
        ["a", "c", "z"],
        ["b", "c", "z"],
    ]
    losses = posture.Posture((model,)).fatal_losses.listed() or []
    assert ["custodian a", "custodian b"] in losses
    assert ["custodian a"] not in losses
    assert ["target t"] in losses


def test_a_shared_failure_domain_is_one_loss() -> None:
    plan = settings_with(
        target={
            "vault": {
                "kind": "vault",
                "address": "https://v",
                "domain": "fra",
                "controlled_by": ["vault-admins"],
            },
            "s3": {"kind": "s3", "bucket": "b", "domain": "fra", "controlled_by": ["aws-admins"]},
        },
        policy={"copies": 1},
    )
    losses = posture.Posture((posture.from_config(plan),)).fatal_losses.listed() or []
    assert ["domain fra"] in losses


things = st.builds(
    Thing,
    st.sampled_from(["holder a", "holder b", "holder c", "holder d"]),
    st.frozensets(st.sampled_from("pqrs"), min_size=1, max_size=2),
    st.sampled_from(["", "x"]),
)


people = st.sampled_from("ABCD").map(lambda name: Thing(name, frozenset({name})))
"""Persons; a party of other things may be one of them, too."""
of_persons = st.builds(Thing, st.just("target t"), st.frozensets(st.sampled_from("pA"), min_size=1))


@st.composite
def models(draw: st.DrawFn) -> Model:
    def requirement() -> Requirement:
        shares = tuple(
            draw(
                st.lists(things | people, min_size=1, max_size=3)
                | st.lists(people, min_size=2, max_size=4, unique=True)
            )
        )
        return Requirement(draw(st.integers(1, len(shares))), shares)

    alternatives = tuple(
        tuple(requirement() for _ in range(draw(st.integers(1, 2)))) for _ in range(draw(st.integers(1, 2)))
    )
    return Model(alternatives, tuple(draw(st.lists(things | of_persons, min_size=1, max_size=2))))


def _subsets(names: set[str]) -> list[frozenset[str]]:
    ordered = sorted(names)
    return [
        frozenset(item)
        for item in chain.from_iterable(combinations(ordered, n) for n in range(len(names) + 1))
    ]


@settings(max_examples=60, deadline=None)
@given(models())
def test_reconstruction_agrees_with_trying_every_set(model: Model) -> None:
    def works(parties: frozenset[str]) -> bool:
        held = any(
            all(
                sum(bool(share.parties & parties) for share in need.shares) >= need.threshold for need in path
            )
            for path in model.paths
        )
        return held and any(copy.parties & parties for copy in model.copies)

    found = posture.Posture((model,)).reconstruct.sets()
    for parties in _subsets(set("pqrsABCD")):
        assert works(parties) == any(item <= parties for item in found)
    assert not any(one < other for one in found for other in found)


@settings(max_examples=40, deadline=None)
@given(models())
def test_fatal_losses_agree_with_trying_every_set(model: Model) -> None:
    every = [*model.copies, *(share for path in model.paths for need in path for share in need.shares)]
    names = {name for thing in every for name in thing.lost_with()}

    def lost(thing: Thing, losses: frozenset[str]) -> bool:
        return bool(thing.lost_with() & losses)

    def restores(losses: frozenset[str]) -> bool:
        return any(not lost(copy, losses) for copy in model.copies) and any(
            all(sum(not lost(share, losses) for share in need.shares) >= need.threshold for need in path)
            for path in model.paths
        )

    found = posture.Posture((model,)).fatal_losses.sets()
    for losses in _subsets(names):
        assert restores(losses) != any(item <= losses for item in found)


def test_sixteen_people_on_two_paths_are_one_group() -> None:
    group = tuple(posture.custodian(f"{n:040X}") for n in range(16))
    vault = Thing("holder vault", frozenset({"vault-admins"}), "vault")
    model = Model(
        paths=((Requirement(8, group),), (Requirement(1, (vault,)), Requirement(6, group))),
        copies=(Thing("target t", frozenset("z")),),
    )
    found = posture.Posture((model,))
    assert len(found.reconstruct.needs) == 2
    assert found.reconstruct.count() == 12_870 + 8_008
    assert len(found.reconstruct.sets()) == found.reconstruct.count()
    told = [[(count, len(names)) for count, names in line] for line in found.fatal_losses.lines()]
    # The copy; nine people and the vault; or eleven people. Domain, party and holder are one loss.
    assert sorted(told) == [[(1, 2)], [(1, 3), (9, 16)], [(11, 16)]]


def test_records_with_different_people_are_alternatives() -> None:
    def model(*names: str) -> Model:
        return Model(
            ((Requirement(2, tuple(Thing(name, frozenset({name})) for name in names)),),),
            (Thing("target t", frozenset("z")),),
        )

    both = posture.Posture((model("a", "b", "c"), model("b", "c", "d")))
    assert both.reconstruct.listed() == [
        ["a", "b", "z"], ["a", "c", "z"], ["b", "c", "z"], ["b", "d", "z"], ["c", "d", "z"],
    ]  # fmt: skip
    assert both.fatal_losses.listed() == [
        ["party z"], ["target t"], ["b", "c"], ["a", "b", "d"], ["a", "c", "d"],
    ]  # fmt: skip


def test_more_combinations_than_anybody_reads_are_refused() -> None:
    crowd = tuple(Thing(f"holder {n}", frozenset({f"p{n}-{m}" for m in range(12)})) for n in range(5))
    model = Model((tuple(Requirement(1, (thing,)) for thing in crowd),), (crowd[0],))
    with pytest.raises(UsageProblem, match="more than 1000 combinations"):
        posture.Posture((model,)).reconstruct.sets()


def test_a_member_with_several_tokens_is_one_party_and_one_loss() -> None:
    alice, bob, card = "A" * 40, "B" * 40, "C" * 40
    members = [{"fingerprint": alice, "also": [card]}, bob]
    people = {"kind": "openpgp", "members": members, "certificates": "/etc/x"}
    path = {"people": {"needs": [{"holder": "people", "threshold": 2}]}}
    found = posture.Posture((posture.from_config(settings_with(holder={"people": people}, path=path)),))
    both = {f"custodian {alice}", f"custodian {bob}"}
    assert {party & both == both for party in found.reconstruct.sets()} == {True}
    assert set(found.fatal_losses.singles()) == both
    assert card not in str([*found.reconstruct.sets(), *found.fatal_losses.sets()])


def test_config_paths_take_sizes_from_the_holders() -> None:
    plan = settings_with()

    class Sized:
        size = 1

    found = paths.from_config(plan, {"vault": Sized(), "aws": Sized()})  # type: ignore[dict-item]  # only size is read
    assert found == (paths.Path("unattended", (paths.PathNeed("vault", 1, 1), paths.PathNeed("aws", 1, 1))),)
    Sized.size = 3
    with pytest.raises(UsageProblem, match="1 of 3"):
        paths.from_config(plan, {"vault": Sized(), "aws": Sized()})  # type: ignore[dict-item]  # as above
