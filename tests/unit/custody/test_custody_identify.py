"""Whose share somebody brought, and why it is not the one that is wanted."""

from __future__ import annotations

import pytest

from pipeline.core.errors import WrongShare
from pipeline.core.secret import Secret
from pipeline.custody.shares import identify, slip39
from pipeline.custody.shares.identify import KnownRecord
from tests.support.people import mistyped
from tests.support.plans import Plans
from tests.unit.custody.test_custody_recover import Escrowed


def known(done: Escrowed, epoch: str) -> KnownRecord:
    return KnownRecord(epoch, done.sealed.section, done.binding)


def refused(words: Secret, wanted: KnownRecord, path: str, *others: KnownRecord) -> str:
    with pytest.raises(WrongShare) as caught:
        identify.require(words, wanted, path, others, what="the share of Bob")
    assert caught.value.hint
    return caught.value.message


def test_every_share_is_found_where_it_belongs(plans: Plans) -> None:
    done = Escrowed(plans.with_people())
    here = known(done, "now")
    for entry in done.sealed.section.paths:
        for share in entry.shares:
            words = done.words(entry.name, share.holder, share.index)
            found = identify.require(Secret(words.text().upper() + "\r\n"), here, entry.name, what="it")
            assert (found.path.name, found.share) == (entry.name, share)
            assert str(found.place) == f"path {entry.name}, holder {share.holder}, share {share.index}"


def test_a_share_of_another_path_is_named_with_its_place(plans: Plans) -> None:
    done = Escrowed(plans.with_people())
    words = done.words("unattended", "vault")
    assert "belongs to path unattended, holder vault, share 1, not to path people" in refused(
        words, known(done, "now"), "people"
    )


def test_a_share_of_a_known_older_epoch_is_named_with_it(plans: Plans) -> None:
    old, new = Escrowed(plans.with_people()), Escrowed(plans.with_people())
    told = refused(old.words("people", "custodians", 2), known(new, "new"), "people", known(old, "old"))
    assert "is of another epoch, old (path people, holder custodians, share 2), not of new" in told


def test_a_whole_share_that_nobody_knows_is_not_called_damaged(plans: Plans) -> None:
    old, new = Escrowed(plans.with_people()), Escrowed(plans.with_people())
    told = refused(old.words("people", "custodians", 2), known(new, "new"), "people")
    assert "is whole, but does not belong to new" in told


@pytest.mark.parametrize(
    ("damaged", "reason"),
    [
        (lambda words: mistyped(words, 0), "its checksum does not fit"),
        # The library quotes the first words, and this one is like one of its own.
        (lambda words: ["length", *mistyped(words, 1)[1:]], "its checksum does not fit"),
        (lambda words: words[:-1], "words are missing"),
        (lambda words: ["nonsense", *words[1:]], "a word is not in the list: word 1 of 33"),
    ],
)
def test_a_mistyped_share_is_called_damaged(plans: Plans, damaged: object, reason: str) -> None:
    done = Escrowed(plans.with_people())
    words = done.words("people", "custodians").text().split()
    assert callable(damaged)
    text = Secret(" ".join(damaged(words)))
    assert slip39.damage(text) == reason
    assert refused(text, known(done, "now"), "people") == f"the share of Bob is damaged: {reason}"


def test_what_is_no_share_is_said_to_be_none(plans: Plans) -> None:
    done = Escrowed(plans.with_people())
    assert "this is not a SLIP-39 share" in refused(Secret(b"\xff\x00 12"), known(done, "now"), "people")
