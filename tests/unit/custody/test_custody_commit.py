from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.errors import UsageProblem, WrongShare
from pipeline.core.secret import Secret
from pipeline.custody.shares import commitments, passphrase, slip39
from pipeline.custody.shares.commitments import Place
from pipeline.custody.shares.paths import Path, PathNeed

SALT = "00112233445566778899aabbccddeeff"
PLACE = Place("f" * 32, "unattended", "vault", 1)
WORDS = slip39.split(Secret(bytes(range(32))), Path("p", (PathNeed("vault", 1, 1),)), set()).shares["vault"][
    0
]

names = st.from_regex(r"[a-z0-9][a-z0-9-]{0,10}", fullmatch=True)
places = st.builds(Place, st.from_regex(r"[0-9a-f]{32}", fullmatch=True), names, names, st.integers(1, 16))


def test_the_formula_never_changes() -> None:
    # Made with sha256sum and a plain HMAC: records that exist cannot be changed.
    assert (
        commitments.commitment(SALT, PLACE, Secret("Academic  acid\n"))
        == "cb929ad2e5f6c8f57ec54a262a5524653e19355f1ad8bdab9e5e5eea317e0f07"
    )
    assert commitments.code(PLACE, 7, Secret("academic acid")).text() == "9EBA-EX3K-98GH-9W81"


@settings(max_examples=200, deadline=None)
@given(places, places)
def test_places_never_collide(one: Place, two: Place) -> None:
    same = commitments.commitment(SALT, one, WORDS) == commitments.commitment(SALT, two, WORDS)
    assert same == (one == two)


def test_every_part_of_the_place_counts() -> None:
    value = commitments.commitment(SALT, PLACE, WORDS)
    assert commitments.verify(value, SALT, PLACE, Secret(WORDS.text().upper()))
    for changed in (
        replace(PLACE, record_id="e" * 32),
        replace(PLACE, path="other"),
        replace(PLACE, holder="aws"),
        replace(PLACE, index=2),
    ):
        assert not commitments.verify(value, SALT, changed, WORDS)
    assert not commitments.verify(value, "1" * 32, PLACE, WORDS)
    with pytest.raises(WrongShare):
        commitments.verify(value, SALT, PLACE, Secret("12 34"))


def test_a_newline_cannot_shift_the_fields() -> None:
    with pytest.raises(UsageProblem):
        commitments.commitment(SALT, Place("f" * 32, "a\nb", "c", 1), WORDS)


def test_check_codes_are_distinct_and_found_by_their_hash() -> None:
    hashes = commitments.code_hashes(SALT, PLACE, WORDS)
    assert len(set(hashes)) == commitments.CODES
    for number in (0, 17, 63):
        code = commitments.code(PLACE, number, WORDS)
        assert commitments.code_hash(SALT, PLACE, number, code) == hashes[number]
        assert hashes[number] != commitments.code_hash(SALT, PLACE, (number + 1) % 64, code)
    (stranger,) = slip39.split(passphrase.draw(), Path("p", (PathNeed("v", 1, 1),)), set()).shares["v"]
    other = commitments.code(PLACE, 0, stranger)
    assert commitments.code_hash(SALT, PLACE, 0, other) != hashes[0]


def test_a_code_may_be_typed_as_people_type() -> None:
    code = commitments.code(PLACE, 3, WORDS)
    assert len(code.text()) == 19
    typed = code.text().lower().replace("-", " ").replace("0", "o").replace("1", "l")
    assert commitments.code_hash(SALT, PLACE, 3, Secret(typed)) == commitments.code_hash(SALT, PLACE, 3, code)


def test_codes_are_taken_apart_however_they_are_typed() -> None:
    codes = [commitments.code(PLACE, number, WORDS).text() for number in (3, 4)]
    first, second = codes
    for typed in (
        f"{first} {second}",
        f"{first.replace('-', ' ')}, {second.replace('-', '')}",
        "\u200e" + first.replace("-", "\u2011") + "\n" + second.replace("-", "\u2013").lower(),
    ):
        assert commitments.typed_codes(typed) == codes
    assert commitments.typed_codes("") == []
    assert commitments.typed_codes("hello") == ["HE11-0"]


@pytest.mark.parametrize("text", ["", "ABCD", "U" * 16, "0" * 17, "€" * 16])
def test_what_is_no_code_is_called_so(text: str) -> None:
    with pytest.raises(UsageProblem):
        commitments.code_hash(SALT, PLACE, 0, Secret(text))


@pytest.mark.parametrize("number", [-1, 64])
def test_there_are_64_codes(number: int) -> None:
    with pytest.raises(UsageProblem):
        commitments.code(PLACE, number, WORDS)


def test_the_rest_of_a_code_reveals_nothing_of_the_share() -> None:
    # The code of a number does not depend on path, holder or salt: those only salt the hash.
    assert commitments.code(PLACE, 0, WORDS) == commitments.code(replace(PLACE, holder="x"), 0, WORDS)
    assert commitments.code(PLACE, 0, WORDS) != commitments.code(replace(PLACE, record_id="0" * 32), 0, WORDS)
