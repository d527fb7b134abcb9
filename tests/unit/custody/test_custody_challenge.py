"""The custodian's side of a check-in: a code for a good share, a reason for every other."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import UsageProblem, WrongShare
from pipeline.core.secret import Secret
from pipeline.custody.custodians import challenge
from pipeline.custody.custodians.challenge import Challenge, ChallengedShare, Older
from pipeline.custody.shares import commitments
from tests.support.people import mistyped
from tests.support.plans import Plans
from tests.unit.custody.test_custody_recover import Escrowed

NUMBER = 7


def asked_of(done: Escrowed, index: int = 2) -> ChallengedShare:
    (share,) = (item for item in done.sealed.section.path("people").shares if item.index == index)
    return ChallengedShare(
        "people", share.holder, index, share.salt, share.commitment, NUMBER, share.checks[NUMBER], "sealed"
    )


def challenge_of(done: Escrowed, *older: Escrowed) -> Challenge:
    olds = []
    for item in older:
        asked = asked_of(item)
        olds.append(
            Older("people", asked.holder, 2, asked.salt, asked.commitment, "old", item.binding.record_id)
        )
    return Challenge(
        done.binding.fingerprint,
        "new",
        done.binding.record_id,
        "B" * 40,
        "Bob",
        (asked_of(done),),
        tuple(olds),
    )


def refused(asked: Challenge, words: Secret) -> str:
    with pytest.raises(WrongShare) as caught:
        challenge.answer(asked, words, "the share")
    assert caught.value.hint
    return caught.value.message


@pytest.fixture
def done(plans: Plans) -> Escrowed:
    return Escrowed(plans.with_people())


def test_a_good_share_gives_the_code_whose_hash_is_published(done: Escrowed) -> None:
    asked = challenge_of(done)
    words = Secret(done.words("people", "custodians", 2).text().upper() + "\n")
    found = challenge.answer(asked, words, "the share")
    share = found.asked
    place = commitments.Place(done.binding.record_id, share.path, share.holder, share.index)
    assert (
        commitments.code_hash(found.asked.salt, place, NUMBER, Secret(found.code.lower()))
        == asked.shares[0].code_hash
    )
    others = [commitments.code(place, number, words).text() for number in range(64) if number != NUMBER]
    assert found.code not in others


def test_the_file_comes_back_as_it_was_written(done: Escrowed, plans: Plans) -> None:
    asked = replace(challenge_of(done, Escrowed(plans.with_people())), name="Bäbä ☃")
    data = asked.to_bytes()
    assert data.isascii()
    assert challenge.read(data) == asked


def test_a_mistyped_share_is_damaged(done: Escrowed) -> None:
    words = mistyped(done.words("people", "custodians", 2).text().split(), 3)
    assert refused(challenge_of(done), Secret(" ".join(words))) == (
        "the share is damaged: its checksum does not fit"
    )
    assert "not a SLIP-39 share" in refused(challenge_of(done), Secret("12 34"))


def test_an_older_share_is_named_with_its_epoch(done: Escrowed, plans: Plans) -> None:
    old = Escrowed(plans.with_people())
    told = refused(challenge_of(done, old), old.words("people", "custodians", 2))
    assert "is of the older epoch old (path people, holder custodians, share 2), not of new" in told


@pytest.mark.parametrize(
    ("path", "holder", "index"), [("people", "custodians", 3), ("unattended", "vault", 1)]
)
def test_anybody_elses_share_is_whole_and_not_this_custodians(
    done: Escrowed, path: str, holder: str, index: int
) -> None:
    told = refused(challenge_of(done), done.words(path, holder, index))
    assert "is whole, but not one that Bob has in epoch new" in told


def test_a_challenge_that_was_tampered_with_gets_no_code(done: Escrowed) -> None:
    asked = challenge_of(done)
    words = done.words("people", "custodians", 2)
    (item,) = asked.shares
    for changed in (
        replace(item, number=NUMBER + 1),
        replace(item, code_hash="0" * 64),
        replace(item, salt="0" * 32),
        replace(item, commitment="0" * 64),
        replace(item, index=1),
        replace(item, path="other"),
        replace(item, holder="other"),
    ):
        refused(replace(asked, shares=(changed,)), words)
    refused(replace(asked, record_id="0" * 32), words)


def test_a_share_that_was_given_twice_is_answered_once(done: Escrowed) -> None:
    words = done.words("people", "custodians", 2)
    assert len(challenge.answers(challenge_of(done), [("one", words), ("two", words)])) == 1


@given(st.binary(max_size=300))
def test_bytes_that_are_no_challenge_are_refused(data: bytes) -> None:
    with pytest.raises(UsageProblem, match="not a challenge"):
        challenge.read(data)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
FIELDS = (
    "schema", "fingerprint", "epoch", "record_id", "custodian", "name", "shares", "older",
    "path", "holder", "index", "salt", "commitment", "number", "code_hash", "sealed",
)  # fmt: skip


@given(st.sampled_from(FIELDS), json_values)
def test_a_field_of_another_form_is_refused_or_harmless(field: str, value: Any) -> None:
    share = ChallengedShare("people", "custodians", 2, "0" * 32, "1" * 64, 3, "2" * 64, "sealed")
    old = Older("people", "custodians", 2, "0" * 32, "1" * 64, "old", "0" * 32)
    sound = Challenge("A" * 40, "new", "0" * 32, "B" * 40, "Bob", (share,), (old,))
    document = json.loads(sound.to_bytes())
    (document if field in document else document["shares"][0])[field] = value
    try:
        read = challenge.read(json.dumps(document).encode())
    except UsageProblem:
        return
    assert challenge.read(read.to_bytes()) == read


def test_a_deep_or_huge_file_is_refused() -> None:
    for data in (b"[" * 100_000, b" " * (challenge.LARGEST + 1)):
        with pytest.raises(UsageProblem, match="not a challenge"):
            challenge.read(data)
