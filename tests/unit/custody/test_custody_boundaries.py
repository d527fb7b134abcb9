"""Custody's decisions at their limits: each of these fails when the condition is turned or left out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.core.errors import IntegrityProblem, UsageProblem, WrongShare
from pipeline.core.secret import Secret
from pipeline.custody.custodians import challenge
from pipeline.custody.shares import passphrase, slip39
from pipeline.custody.shares.commitments import CODES
from pipeline.custody.shares.paths import Path
from pipeline.custody.shares.seal import seal
from pipeline.custody.shares.slip39 import Split
from tests.unit.custody.test_custody_challenge import challenge_of
from tests.unit.custody.test_custody_recover import Escrowed, _held

if TYPE_CHECKING:
    from tests.support.plans import Plans


def test_a_split_that_does_not_give_the_passphrase_back_is_never_written(
    plans: Plans, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every share is sealed and opens as it was sealed; only together they are another passphrase."""
    real = slip39.split

    def another(raw: Secret, path: Path, taken: set[int]) -> Split:
        return real(passphrase.draw(), path, taken)

    plan = plans.with_people()
    raw = passphrase.draw()
    assert seal(raw, plan.paths, plan.everybody, plan.everybody, plan.binding).members
    monkeypatch.setattr(slip39, "split", another)
    with pytest.raises(IntegrityProblem, match="does not give the escrow passphrase back"):
        seal(raw, plan.paths, plan.everybody, plan.everybody, plan.binding)


@pytest.mark.parametrize("index", range(5))
def test_every_share_of_a_group_takes_part_in_the_proof(
    plans: Plans, monkeypatch: pytest.MonkeyPatch, index: int
) -> None:
    """One custodian's share is of another split under the same identifier, whosever it is."""
    real = slip39.split

    def one_foreign(raw: Secret, path: Path, taken: set[int]) -> Split:
        made = real(raw, path, taken)
        if path.name != "people":
            return made
        others = set(range(slip39.IDENTIFIERS)) - {made.identifier}
        foreign = real(passphrase.draw(), path, others).shares["custodians"]
        mine = made.shares["custodians"]
        return Split(made.identifier, {"custodians": (*mine[:index], foreign[index], *mine[index + 1 :])})

    plan = plans.with_people()
    monkeypatch.setattr(slip39, "split", one_foreign)
    with pytest.raises(WrongShare, match="do not fit together"):
        seal(passphrase.draw(), plan.paths, plan.everybody, plan.everybody, plan.binding)


def test_a_share_that_people_brought_is_not_opened_by_the_machine_again(plans: Plans) -> None:
    done = Escrowed(plans.with_people())
    people = done.plan.holders["custodians"]
    brought = [_held(done, index) for index in (1, 3)]
    people.calls.clear()
    assert done.recover("people", brought) == done.raw
    assert [call for call in people.calls if call.startswith("open")] == ["open 2"]


def test_shares_that_people_brought_are_enough_for_their_holder(plans: Plans) -> None:
    done = Escrowed(plans.with_people())
    people = done.plan.holders["custodians"]
    brought = [_held(done, index) for index in (2, 4, 5)]
    people.calls.clear()
    assert done.recover("people", brought) == done.raw
    assert [call for call in people.calls if call.startswith("open")] == []


def put(*names: str | int, value: object) -> Callable[[dict[str, Any]], None]:
    """Change one value of a document."""

    def change(document: dict[str, Any]) -> None:
        inner: Any = document
        for name in names[:-1]:
            inner = inner[name]
        inner[names[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "taken"),
    [
        (put("shares", 0, "number", value=CODES - 1), True),
        (put("shares", 0, "number", value=0), True),
        (put("shares", 0, "number", value=CODES), False),
        (put("shares", 0, "number", value=-1), False),
        (put("shares", 0, "index", value=16), True),
        (put("shares", 0, "index", value=1), True),
        (put("shares", 0, "index", value=17), False),
        (put("shares", 0, "index", value=0), False),
        (put("shares", 0, "index", value=True), False),
        (put("older", 0, "index", value=16), True),
        (put("older", 0, "index", value=17), False),
        (put("older", 0, "index", value=0), False),
        (put("name", value="n" * 300), True),
        (put("name", value="n" * 301), False),
        (put("name", value=""), False),
        (put("shares", value=[]), False),
    ],
)
def test_a_challenge_is_read_within_its_limits_alone(
    plans: Plans, change: Callable[[dict[str, Any]], None], taken: bool
) -> None:
    done = Escrowed(plans.with_people())
    document = json.loads(challenge_of(done, Escrowed(plans.with_people())).to_bytes())
    change(document)
    data = json.dumps(document).encode()
    if taken:
        assert challenge.read(data).name
    else:
        with pytest.raises(UsageProblem):
            challenge.read(data)


@pytest.mark.parametrize(("shares", "padded", "taken"), [(64, 0, True), (65, 0, False), (1, 1, False)])
def test_a_challenge_has_a_largest_size(plans: Plans, shares: int, padded: int, taken: bool) -> None:
    done = Escrowed(plans.with_people())
    asked = challenge_of(done, done)
    data = replace(asked, shares=asked.shares * shares).to_bytes().ljust(challenge.LARGEST + padded)
    if taken:
        assert len(challenge.read(data).shares) == shares
    else:
        with pytest.raises(UsageProblem):
            challenge.read(data)
