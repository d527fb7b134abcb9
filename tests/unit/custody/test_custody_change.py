"""Two custody plans compared: every difference is told, by person where it is people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.custody import plan_change
from pipeline.custody.plan_change import PlanChange
from pipeline.custody.shares import paths
from pipeline.custody.shares.manifest_section import CustodySection, PathEntry, ShareEntry, member_name
from pipeline.custody.shares.paths import HolderDescription, Path, PathNeed

PEOPLE = tuple(f"{number:040X}" for number in range(1, 8))
VAULT = HolderDescription("vault-transit", {"address": "https://vault.example.com", "key_version": 3})
AWS = HolderDescription("aws-kms", {"key_arn": "arn:aws:kms:eu-west-1:1:key/a", "endpoint_url": None})


def group(members: Sequence[str], **more: str) -> HolderDescription:
    told: dict[str, str | int | bool | list[str] | None] = {
        "members": list(members),
        "encrypted_to": [f"{who}-sub" for who in members],
        "names": [f"Person {who[-1]}" for who in members],
    }
    return HolderDescription("openpgp", {**told, **more})


def section(plan: Sequence[Path], holders: Mapping[str, HolderDescription]) -> CustodySection:
    """What a manifest of that plan says, as far as the plan goes."""
    entries = [
        PathEntry(
            path.name,
            number,
            path.needs,
            tuple(
                ShareEntry(
                    need.holder,
                    index,
                    "label",
                    member_name(path.name, need.holder, index, need.size, "asc"),
                    "0" * 32,
                    "0" * 64,
                    (),
                )
                for need in path.needs
                for index in range(1, need.size + 1)
            ),
        )
        for number, path in enumerate(plan)
    ]
    return CustodySection(dict(holders), tuple(entries), "")


MACHINES = Path("unattended", (PathNeed("aws", 1, 1), PathNeed("vault", 1, 1)))
TRIO = Path("custodians", (PathNeed("custodians", 2, 3),))
HOLDERS = {"aws": AWS, "custodians": group(PEOPLE[:3]), "vault": VAULT}


def compared(plan: Sequence[Path], holders: Mapping[str, HolderDescription]) -> PlanChange:
    return plan_change.compare_plans(section([TRIO, MACHINES], HOLDERS), plan, holders)


def test_the_same_plan_has_no_difference() -> None:
    same = compared([TRIO, MACHINES], HOLDERS)
    assert (same.lines, same.machines) == ((), False)
    assert same.before == same.after == PEOPLE[:3]


def test_versions_names_subkeys_and_the_order_of_members_are_no_difference() -> None:
    moved = replace(VAULT, coordinates={**VAULT.coordinates, "key_version": 4})
    people = group(PEOPLE[2::-1], names="elsewhere")
    assert compared([TRIO, MACHINES], HOLDERS | {"vault": moved, "custodians": people}).lines == ()
    one, other = (replace(AWS, coordinates={"regions": regions}) for regions in (["a", "b"], ["b", "a"]))
    plan = [TRIO, MACHINES]
    found = plan_change.compare_plans(section(plan, HOLDERS | {"aws": one}), plan, HOLDERS | {"aws": other})
    assert found.lines == ()


def test_who_leaves_and_who_joins_is_named() -> None:
    new = compared([TRIO, MACHINES], HOLDERS | {"custodians": group((*PEOPLE[1:3], PEOPLE[4]))})
    assert new.removed == {PEOPLE[0]}
    assert new.added == {PEOPLE[4]}
    assert new.lines == (
        f"holder custodians: without {PEOPLE[0]} (Person 1)",
        f"holder custodians: with {PEOPLE[4]} (Person 5)",
    )
    assert not new.machines


def test_who_has_no_name_is_told_by_fingerprint() -> None:
    stored = section([TRIO], {"custodians": HolderDescription("openpgp", {"members": list(PEOPLE[:3])})})
    told: dict[str, str | int | bool | list[str] | None] = {
        "members": list(PEOPLE[3:6]),
        "names": ["Dora", ""],
    }
    new = plan_change.compare_plans(stored, [TRIO], {"custodians": HolderDescription("openpgp", told)})
    assert new.lines == (
        *(f"holder custodians: without {who}" for who in PEOPLE[:3]),
        f"holder custodians: with {PEOPLE[3]} (Dora)",
        *(f"holder custodians: with {who}" for who in PEOPLE[4:6]),
    )
    assert (new.before, new.after) == (PEOPLE[:3], PEOPLE[3:6])


@pytest.mark.parametrize(
    ("plan", "holders", "line"),
    [
        ([MACHINES], {}, "path custodians is gone"),
        (
            [TRIO, MACHINES, Path("vault-alone", (PathNeed("vault", 1, 1),))],
            {},
            "path vault-alone is new: it needs vault",
        ),
        (
            [Path("custodians", (PathNeed("custodians", 3, 3),)), MACHINES],
            {},
            "path custodians: 2 of 3 custodians becomes 3 of 3 custodians",
        ),
        (
            [TRIO, Path("unattended", (PathNeed("vault", 1, 1),))],
            {},
            "path unattended: aws and vault becomes vault",
        ),
        (
            [TRIO, MACHINES],
            {"vault": HolderDescription("vault-transit", {"address": "https://evil.example.com"})},
            "holder vault: address https://vault.example.com becomes https://evil.example.com",
        ),
        (
            [TRIO, MACHINES],
            {"vault": replace(AWS)},
            "holder vault: kind vault-transit becomes aws-kms",
        ),
        (
            [TRIO, MACHINES],
            {"custodians": group(PEOPLE[:3], pinned_subkeys="x")},
            "holder custodians: pinned_subkeys None becomes x",
        ),
    ],
)
def test_any_other_difference_is_told(
    plan: list[Path], holders: dict[str, HolderDescription], line: str
) -> None:
    new = compared(plan, HOLDERS | holders)
    assert line in new.lines
    assert new.machines


def test_keepers_of_paper_are_people_too() -> None:
    safe = {"safe": HolderDescription("paper", {"kept_by": ["berlin", "paris"]})}
    plan = [TRIO, MACHINES, Path("paper", (PathNeed("safe", 2, 2),))]
    new = compared(plan, HOLDERS | safe)
    assert new.added == {"berlin", "paris"}
    assert new.machines, "a new path is more than new people"


@st.composite
def plans(draw: st.DrawFn) -> tuple[list[Path], dict[str, HolderDescription]]:
    members = draw(st.lists(st.sampled_from(PEOPLE), min_size=2, max_size=6, unique=True))
    threshold = draw(st.integers(2, len(members)))
    address = draw(st.sampled_from(["https://a.example.com", "https://b.example.com"]))
    version = draw(st.integers(1, 3))
    holders = {
        "aws": AWS,
        "vault": HolderDescription("vault-transit", {"address": address, "key_version": version}),
        "custodians": group(members),
    }
    chosen = draw(
        st.lists(
            st.sampled_from(
                [
                    MACHINES,
                    Path("custodians", (PathNeed("custodians", threshold, len(members)),)),
                    Path("mixed", (PathNeed("custodians", 2, len(members)), PathNeed("vault", 1, 1))),
                ]
            ),
            min_size=1,
            unique_by=lambda path: path.name,
        )
    )
    needed = {need.holder for path in chosen for need in path.needs}
    return sorted(chosen, key=lambda path: path.name), {name: holders[name] for name in sorted(needed)}


@given(plans(), plans())
def test_there_is_a_difference_exactly_where_the_plans_digests_differ(
    old: tuple[list[Path], dict[str, HolderDescription]], new: tuple[list[Path], dict[str, HolderDescription]]
) -> None:
    stored = section(*old)
    found = plan_change.compare_plans(stored, *new)
    assert bool(found.lines) == (stored.plan_digest() != paths.plan_digest(*new))


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("aws", {"endpoint_url": "https://kms.example.com"}),
        ("aws", {"proxy": "http://proxy.example.com:3128"}),
        ("vault", {"ca_file": "/etc/other.pem"}),
        ("vault", {"proxy": "none"}),
    ],
)
def test_where_a_share_is_sent_is_part_of_the_plan(
    name: str, more: dict[str, str | int | bool | None]
) -> None:
    told = {
        key: HolderDescription(item.kind, {**item.coordinates, "ca_file": None, "proxy": None})
        for key, item in HOLDERS.items()
    }
    moved = told | {name: HolderDescription(told[name].kind, {**told[name].coordinates, **more})}
    plan = [MACHINES, TRIO]
    found = plan_change.compare_plans(section(plan, told), plan, moved)
    ((key, value),) = more.items()
    assert found.lines == (f"holder {name}: {key} None becomes {value}",)
    assert found.machines
    assert not plan_change.compare_plans(section(plan, told), plan, told).lines


def test_of_a_record_that_does_not_tell_the_way_nothing_is_said_of_it() -> None:
    """Records of version 0.1 under an unchanged configuration; what they do tell still counts."""
    plan = [MACHINES, TRIO]
    today = HOLDERS | {
        "vault": HolderDescription(
            "vault-transit", {**VAULT.coordinates, "ca_file": "/ca.pem", "proxy": "none"}
        )
    }
    assert not plan_change.compare_plans(section(plan, HOLDERS), plan, today).lines
    moved = today | {
        "aws": HolderDescription("aws-kms", {**AWS.coordinates, "endpoint_url": "https://x.example"})
    }
    assert plan_change.compare_plans(section(plan, HOLDERS), plan, moved).lines
