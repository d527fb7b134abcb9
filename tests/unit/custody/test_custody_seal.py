from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.concurrency import overlap
from pipeline.core.errors import Denied, IntegrityProblem, Unreachable, UsageProblem, WrongShare
from pipeline.core.secret import Secret
from pipeline.custody.holders.interface import Binding, SealedShare
from pipeline.custody.shares import passphrase, witness
from pipeline.custody.shares.manifest_section import CustodySection, member_name
from pipeline.custody.shares.recover import recover
from pipeline.custody.shares.seal import SealedCustody, seal

if TYPE_CHECKING:
    from tests.support.plans import Plan, Plans

NAMES = ("alpha", "beta", "gamma")


def sealed_by(plan: Plan, raw: Secret) -> SealedCustody:
    return seal(raw, plan.paths, plan.everybody, plan.everybody, plan.binding)


def again(plan: Plan, sealed: SealedCustody, path: str, extra: Sequence[Secret] = ()) -> Secret:
    return recover(sealed.section, sealed.members, path, plan.everybody, plan.binding, extra)


@st.composite
def shapes(draw: st.DrawFn) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
    sizes = {name: draw(st.sampled_from([1, 1, 2, 3, 5])) for name in NAMES}
    needs: dict[str, dict[str, int]] = {}
    for path in draw(st.sets(st.sampled_from(["one", "two", "three"]), min_size=2)):
        chosen = draw(st.sets(st.sampled_from(NAMES), min_size=1))
        needs[path] = {
            name: 1 if sizes[name] == 1 else draw(st.integers(2, sizes[name])) for name in sorted(chosen)
        }
    return sizes, needs


@settings(max_examples=20, deadline=None)
@given(shape=shapes())
def test_every_path_of_every_plan_gives_the_passphrase_back(
    plans: Plans, shape: tuple[dict[str, int], dict[str, dict[str, int]]]
) -> None:
    plan = plans.of(*shape)
    raw = passphrase.draw()
    sealed = sealed_by(plan, raw)
    section = CustodySection.from_json(json.loads(json.dumps(sealed.section.to_json())))
    assert section == sealed.section
    assert {share.member for path in section.paths for share in path.shares} == set(sealed.members)
    assert len({path.identifier for path in section.paths}) == len(section.paths)
    assert section.witness == witness.public_pem(raw, plan.binding.record_id)
    for path in plan.needs:
        assert again(plan, sealed, path) == raw


def test_members_are_named_as_the_record_promises(plans: Plans) -> None:
    plan = plans.with_people()
    sealed = sealed_by(plan, passphrase.draw())
    assert sorted(sealed.members) == [
        *(f"custody/people/custodians-{number}.mem" for number in range(1, 6)),
        "custody/unattended/aws.mem",
        "custody/unattended/vault.mem",
    ]


@pytest.mark.parametrize(
    ("size", "name"), [(1, "custody/p/h.x"), (2, "custody/p/h-1.x"), (3, "custody/p/h-1.x")]
)
def test_a_member_of_a_group_has_a_number(size: int, name: str) -> None:
    assert member_name("p", "h", 1, size, "x") == name


def test_only_people_have_check_codes(plans: Plans) -> None:
    people, unattended = sealed_by(plans.with_people(), passphrase.draw()).section.paths
    assert [len(share.checks) for share in people.shares] == [64] * 5
    assert [len(share.checks) for share in unattended.shares] == [0, 0]


def test_machines_are_opened_again_by_the_openers_and_people_are_left_alone(plans: Plans) -> None:
    plan = plans.with_people()
    sealed_by(plan, passphrase.draw())
    assert [call for call in plan.holders["vault"].calls if call.startswith("open")] == ["open 1"]
    assert not [call for call in plan.holders["custodians"].calls if call.startswith("open")]


def test_a_share_that_does_not_open_again_stops_everything(plans: Plans) -> None:
    plan = plans.two_machines()
    plan.holders["aws"].failure = Denied("holder aws: no kms:Decrypt", hint="")
    with pytest.raises(Denied, match="aws"):
        sealed_by(plan, passphrase.draw())


def test_nothing_is_printed_before_all_else_is_sealed_and_opens(plans: Plans) -> None:
    plan = plans.with_people()
    plan.holders["custodians"].kind = "paper"
    plan.holders["vault"].failure = Denied("holder vault: no decrypt", hint="")
    with pytest.raises(Denied, match="vault"):
        sealed_by(plan, passphrase.draw())
    assert not [call for call in plan.holders["custodians"].calls if call.startswith("seal")]
    plan.holders["vault"].failure = None
    sealed_by(plan, passphrase.draw())
    assert [call for call in plan.holders["custodians"].calls if call.startswith("seal")]


def test_a_holder_that_opens_another_share_stops_everything(plans: Plans) -> None:
    plan, stranger = plans.two_machines(), plans.two_machines()
    foreign = stranger.holders["aws"]
    plan.holders["aws"].open = lambda sealed, binding: Secret("academic acid")  # type: ignore[method-assign]  # sabotage
    with pytest.raises(WrongShare, match=r"holder aws .*unattended"):
        sealed_by(plan, passphrase.draw())
    with pytest.raises(WrongShare):
        seal(
            passphrase.draw(),
            plan.paths,
            stranger.everybody,
            plan.everybody | {"vault": foreign},
            plan.binding,
        )


def test_a_holder_that_loses_a_share_is_noticed(plans: Plans) -> None:
    plan = plans.with_people()
    honest = plan.holders["custodians"].seal

    def lossy(shares: Sequence[Secret], binding: Binding) -> list[SealedShare]:
        return honest(shares, binding)[:-1]

    plan.holders["custodians"].seal = lossy  # type: ignore[method-assign]  # sabotage
    with pytest.raises(IntegrityProblem, match="4 of 5"):
        sealed_by(plan, passphrase.draw())


def test_an_opener_must_be_there(plans: Plans) -> None:
    plan = plans.two_machines()
    openers = {"vault": plan.holders["vault"]}
    with pytest.raises(UsageProblem, match="aws"):
        seal(passphrase.draw(), plan.paths, plan.everybody, openers, plan.binding)


def test_a_plan_without_paths_is_refused(plans: Plans) -> None:
    plan = plans.two_machines()
    for wrong in ((), plan.paths * 2):
        with pytest.raises(UsageProblem):
            seal(passphrase.draw(), wrong, plan.everybody, plan.everybody, plan.binding)


def test_holders_are_asked_at_the_same_time() -> None:
    together = threading.Barrier(2, timeout=20)
    assert overlap([lambda: together.wait() >= 0, lambda: together.wait() >= 0]) == [True, True]


def test_of_several_failures_the_first_of_the_table_is_told() -> None:
    def fail(error: Exception) -> None:
        raise error

    unreachable, denied = Unreachable("u", hint=""), Denied("d", hint="")
    with pytest.raises(Denied):
        overlap([lambda: fail(unreachable), lambda: fail(denied), lambda: None])
    with pytest.raises(Unreachable, match="a defect of the program"):
        overlap([lambda: fail(ZeroDivisionError()), lambda: None])
    assert overlap([]) == []
