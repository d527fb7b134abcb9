from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pipeline.core.errors import (
    Denied,
    IntegrityProblem,
    NotEnoughShares,
    Unreachable,
    UsageProblem,
    WrongShare,
)
from pipeline.core.secret import Secret
from pipeline.custody.holders.interface import Binding
from pipeline.custody.shares import commitments, passphrase, slip39
from pipeline.custody.shares.commitments import Place
from pipeline.custody.shares.paths import Path, PathNeed
from pipeline.custody.shares.recover import recover
from pipeline.custody.shares.seal import SealedCustody, seal

if TYPE_CHECKING:
    from tests.support.plans import Plan, Plans


class Escrowed:
    """A plan that was sealed, with the words as the holders open them."""

    def __init__(self, plan: Plan, binding: Binding | None = None) -> None:
        self.plan = plan
        self.binding = binding or plan.binding
        self.raw = passphrase.draw()
        self.sealed: SealedCustody = seal(self.raw, plan.paths, plan.everybody, plan.everybody, self.binding)

    def words(self, path: str, holder: str, index: int = 1) -> Secret:
        entry = self.sealed.section.path(path)
        (share,) = (item for item in entry.shares_of(holder) if item.index == index)
        from pipeline.custody.holders.interface import SealedShare

        data = self.sealed.members[share.member]
        return self.plan.holders[holder].open(SealedShare(index, "mem", data, ""), self.binding)

    def recover(
        self, path: str, extra: Sequence[Secret] = (), members: dict[str, bytes] | None = None
    ) -> Secret:
        found = dict(self.sealed.members) if members is None else members
        return recover(self.sealed.section, found, path, self.plan.everybody, self.binding, extra)


def test_a_missing_holder_is_named(plans: Plans) -> None:
    done = Escrowed(plans.two_machines())
    openers = {"vault": done.plan.holders["vault"]}
    with pytest.raises(NotEnoughShares, match=r"unattended.*holder aws"):
        recover(done.sealed.section, done.sealed.members, "unattended", openers, done.binding)
    with pytest.raises(NotEnoughShares, match=r"holder vault.*; holder aws"):
        recover(done.sealed.section, done.sealed.members, "unattended", {}, done.binding)


def test_missing_custodians_are_counted(plans: Plans) -> None:
    done = Escrowed(plans.with_people())
    done.plan.holders["custodians"].here = {2, 4}
    with pytest.raises(NotEnoughShares, match="2 of the 3 shares needed of holder custodians"):
        done.recover("people")
    assert done.recover("people", [_held(done, 5)]) == done.raw


def _held(done: Escrowed, index: int) -> Secret:
    """A custodian's words, brought on paper."""
    people = done.plan.holders["custodians"]
    before, people.here = people.here, {index}
    try:
        return done.words("people", "custodians", index)
    finally:
        people.here = before


def test_shares_that_people_bring_are_enough_without_any_holder(plans: Plans) -> None:
    done = Escrowed(plans.two_machines())
    brought = [Secret(done.words("unattended", holder).text().upper() + "\n") for holder in ("aws", "vault")]
    found = recover(done.sealed.section, done.sealed.members, "unattended", {}, done.binding, brought)
    assert found == done.raw


def test_a_bad_custodian_is_passed_over_while_others_suffice(plans: Plans) -> None:
    done = Escrowed(plans.with_people())
    members = dict(done.sealed.members)
    members["custody/people/custodians-1.mem"] = b"\x00" * 80
    assert done.recover("people", members=members) == done.raw
    done.plan.holders["custodians"].here = {1, 2, 3}
    with pytest.raises(WrongShare, match="path people, holder custodians, share 1"):
        done.recover("people", members=members)


def test_a_bad_custodian_is_not_why_where_too_few_others_are_there(plans: Plans) -> None:
    done = Escrowed(plans.with_people())
    members = dict(done.sealed.members)
    members["custody/people/custodians-1.mem"] = b"\x00" * 80
    done.plan.holders["custodians"].here = {1, 2}
    with pytest.raises(NotEnoughShares) as caught:
        done.recover("people", members=members)
    assert caught.value.message == (
        "custody path people: 1 of the 3 shares needed of holder custodians are there"
    )


def test_a_machine_whose_share_is_missing_is_told_so(plans: Plans) -> None:
    done = Escrowed(plans.two_machines())
    with pytest.raises(NotEnoughShares) as caught:
        recover(done.sealed.section, done.sealed.members, "unattended", {}, done.binding)
    told = "; ".join(f"holder {name}: its share is missing" for name in ("vault", "aws"))
    assert caught.value.message == f"custody path unattended: {told}"


@pytest.mark.parametrize("error", [Unreachable("vault is sealed", hint=""), Denied("no", hint="")])
def test_a_holder_that_does_not_serve_is_told_as_such(plans: Plans, error: Unreachable | Denied) -> None:
    done = Escrowed(plans.two_machines())
    done.plan.holders["vault"].failure = error
    with pytest.raises(type(error), match=error.message):
        done.recover("unattended")


def test_a_foreign_share_of_a_machine_is_caught_by_its_commitment(plans: Plans) -> None:
    done = Escrowed(plans.two_machines())
    # A well-formed 1-of-1 share under the same identifier: SLIP-39 itself would take it.
    path = Path("unattended", (PathNeed("vault", 1, 1), PathNeed("aws", 1, 1)))
    taken = set(range(slip39.IDENTIFIERS)) - {done.sealed.section.paths[0].identifier}
    foreign = slip39.split(passphrase.draw(), path, taken).shares["vault"]
    mixed = slip39.combine([*foreign, done.words("unattended", "aws")]) if _joins(foreign, done) else None
    assert mixed != done.raw
    members = dict(done.sealed.members)
    (forged,) = done.plan.holders["vault"].seal(foreign, done.binding)
    members["custody/unattended/vault.mem"] = forged.data
    with pytest.raises(WrongShare, match="path unattended, holder vault, share 1"):
        done.recover("unattended", members=members)


def _joins(foreign: Sequence[Secret], done: Escrowed) -> bool:
    try:
        slip39.combine([*foreign, done.words("unattended", "aws")])
    except WrongShare:
        return False
    return True


def test_a_foreign_share_alone_on_its_path_would_give_garbage(plans: Plans) -> None:
    done = Escrowed(plans.of({"vault": 1}, {"unattended": {"vault": 1}}))
    path = Path("unattended", (PathNeed("vault", 1, 1),))
    foreign = slip39.split(passphrase.draw(), path, set()).shares["vault"]
    assert slip39.combine(foreign) != done.raw  # no error: this is what commitments are for
    (forged,) = done.plan.holders["vault"].seal(foreign, done.binding)
    with pytest.raises(WrongShare, match="does not match its commitment"):
        done.recover("unattended", members={"custody/unattended/vault.mem": forged.data})


def test_shares_swapped_between_epochs_paths_and_holders_are_named(plans: Plans) -> None:
    plan = plans.of(
        {"vault": 1, "aws": 1}, {"first": {"vault": 1, "aws": 1}, "second": {"vault": 1, "aws": 1}}
    )
    old = Escrowed(plan, Binding("A" * 40, "0" * 32))
    new = Escrowed(plan, Binding("A" * 40, "1" * 32))
    vault = "custody/first/vault.mem"
    # Another epoch's: bound to another record.
    members = {**new.sealed.members, vault: old.sealed.members[vault]}
    with pytest.raises(WrongShare, match="path first, holder vault, share 1"):
        new.recover("first", members=members)
    # Another path's: bound to the same record, opens, but is another share.
    members = {**new.sealed.members, vault: new.sealed.members["custody/second/vault.mem"]}
    with pytest.raises(WrongShare, match=r"path first, holder vault, share 1.*commitment"):
        new.recover("first", members=members)
    # Another holder's, brought by hand as the right one is: found by its commitment, wherever it belongs.
    assert new.recover("first", [new.words("first", "aws"), new.words("first", "vault")]) == new.raw
    with pytest.raises(WrongShare, match="number 2 belongs to path second, holder aws, share 1"):
        new.recover("first", [new.words("first", "aws"), new.words("second", "aws")])
    with pytest.raises(WrongShare, match="number 1 is whole, but does not belong to this record"):
        new.recover("first", [old.words("first", "aws")])


def test_words_swapped_between_members_of_a_group_are_named(plans: Plans) -> None:
    done = Escrowed(plans.with_people())
    people = done.plan.holders["custodians"]
    people.here = {1, 2, 3}
    words = [done.words("people", "custodians", index) for index in (1, 2, 3)]
    swapped = people.seal([words[1], words[0], words[2], words[2], words[2]], done.binding)
    members = dict(done.sealed.members)
    for share in swapped[:2]:
        members[f"custody/people/custodians-{share.index}.mem"] = share.data
    with pytest.raises(WrongShare, match="holder custodians, share 1"):
        done.recover("people", members=members)


def test_every_single_flipped_word_is_caught(plans: Plans) -> None:
    from shamir_mnemonic.wordlist import WORDLIST

    done = Escrowed(plans.two_machines())
    words = done.words("unattended", "vault").text().split()
    (entry,) = done.sealed.section.paths
    (share,) = entry.shares_of("vault")
    place = Place(done.binding.record_id, "unattended", "vault", 1)
    said: set[str] = set()
    for position, word in enumerate(words):
        other = WORDLIST[(WORDLIST.index(word) + 512) % len(WORDLIST)]
        damaged = Secret(" ".join([*words[:position], other, *words[position + 1 :]]))
        assert not commitments.verify(share.commitment, share.salt, place, damaged)
        with pytest.raises(WrongShare) as caught:
            recover(done.sealed.section, done.sealed.members, "unattended", {}, done.binding, [damaged])
        said.add(caught.value.message + caught.value.hint)
    assert len(said) == 1, "what is said depends on no word of the share"


def test_a_brought_text_that_is_no_share_is_named(plans: Plans) -> None:
    done = Escrowed(plans.two_machines())
    with pytest.raises(WrongShare, match="number 1: this is not a SLIP-39 share"):
        done.recover("unattended", [Secret(b"\xff\x00")])


def test_an_unknown_path_lists_the_known_ones(plans: Plans) -> None:
    done = Escrowed(plans.with_people())
    with pytest.raises(UsageProblem) as caught:
        done.recover("nobody")
    assert "people, unattended" in caught.value.hint


def test_a_missing_member_is_an_integrity_problem(plans: Plans) -> None:
    done = Escrowed(plans.two_machines())
    with pytest.raises(IntegrityProblem, match=r"custody/unattended/aws\.mem"):
        done.recover(
            "unattended",
            members={"custody/unattended/vault.mem": b""}
            | {name: data for name, data in done.sealed.members.items() if "vault" in name},
        )


def test_the_witness_has_the_last_word(plans: Plans) -> None:
    one, two = Escrowed(plans.two_machines()), Escrowed(plans.two_machines())
    section = replace(one.sealed.section, witness=two.sealed.section.witness)
    with pytest.raises(IntegrityProblem, match="another passphrase"):
        recover(section, one.sealed.members, "unattended", one.plan.everybody, one.binding)
