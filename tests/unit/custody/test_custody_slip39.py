from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.errors import NotEnoughShares, UsageProblem, WrongPassphrase, WrongShare
from pipeline.core.secret import Secret
from pipeline.custody.shares import passphrase, slip39
from pipeline.custody.shares.paths import Path, PathNeed

MACHINES = Path("unattended", (PathNeed("vault", 1, 1), PathNeed("aws", 1, 1)))
MIXED = Path("mixed", (PathNeed("vault", 1, 1), PathNeed("people", 3, 5)))


@st.composite
def paths(draw: st.DrawFn) -> Path:
    needs = []
    for number in range(draw(st.integers(1, 3))):
        size = draw(st.sampled_from([1, 1, 2, 3, 5, 16]))
        threshold = 1 if size == 1 else draw(st.integers(2, size))
        needs.append(PathNeed(f"holder-{number}", threshold, size))
    return Path("p", tuple(needs))


@settings(max_examples=25, deadline=None)
@given(paths(), st.binary(min_size=32, max_size=32), st.randoms(use_true_random=False))
def test_any_sufficient_choice_of_shares_gives_the_secret_back(path: Path, raw: bytes, rng: object) -> None:
    split = slip39.split(Secret(raw), path, set())
    chosen: list[Secret] = []
    for need in path.needs:
        chosen += rng.sample(split.shares[need.holder], need.threshold)  # type: ignore[attr-defined]  # Random
    rng.shuffle(chosen)  # type: ignore[attr-defined]  # as above
    assert slip39.combine(chosen).reveal() == raw
    with pytest.raises(NotEnoughShares):
        slip39.combine(chosen[1:])


def test_the_split_is_the_one_that_the_format_promises() -> None:
    from shamir_mnemonic.share import Share

    split = slip39.split(passphrase.draw(), MIXED, set())
    for group, need in enumerate(MIXED.needs):
        for index, words in enumerate(split.shares[need.holder]):
            share = Share.from_mnemonic(words.text())
            assert (share.identifier, share.extendable, share.iteration_exponent) == (
                split.identifier,
                True,
                0,
            )
            assert (share.group_index, share.group_threshold, share.group_count) == (group, 2, 2)
            assert (share.index, share.member_threshold) == (index, need.threshold)
            assert len(words.text().split(" ")) == slip39.WORDS


def test_one_share_too_many_or_twice_is_fine() -> None:
    raw = passphrase.draw()
    split = slip39.split(raw, MIXED, set())
    everything = [words for group in split.shares.values() for words in group]
    assert slip39.combine(everything + everything) == raw


def test_identifiers_that_are_taken_are_left_alone() -> None:
    free = 12345
    taken = set(range(slip39.IDENTIFIERS)) - {free}
    assert slip39.split(passphrase.draw(), MACHINES, taken).identifier == free


@pytest.mark.parametrize(("threshold", "size"), [(1, 2), (3, 2), (2, 17), (0, 1)])
def test_what_slip39_cannot_express_is_refused(threshold: int, size: int) -> None:
    with pytest.raises(UsageProblem, match="people"):
        slip39.split(passphrase.draw(), Path("p", (PathNeed("people", threshold, size),)), set())


@pytest.mark.parametrize(
    ("holders", "size", "taken"),
    [(0, 32, False), (1, 31, False), (1, 33, False), (16, 32, True), (17, 32, False)],
)
def test_a_path_has_up_to_16_holders_and_a_passphrase_32_bytes(holders: int, size: int, taken: bool) -> None:
    path = Path("wide", tuple(PathNeed(f"h-{number}", 1, 1) for number in range(holders)))
    if taken:
        assert len(slip39.split(Secret(bytes(size)), path, set()).shares) == holders
    else:
        with pytest.raises(UsageProblem, match="path wide cannot be split"):
            slip39.split(Secret(bytes(size)), path, set())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["academic"] * 33, None),
        (["academic", "x"], "word 2"),
        (["x", "academic", "y", "z"], "words 1, 3 and 4"),
        (["x", *["academic"] * 31], "word 1"),
        (["x", *["academic"] * 32], "word 1 of 33"),
        (["x", "y", *["academic"] * 32], "words 1 and 2 of 34"),
    ],
)
def test_words_that_are_not_in_the_list_are_told_by_their_places(words: list[str], told: str | None) -> None:
    assert slip39.unknown(words) == (told and f"a word is not in the list: {told}")


def test_every_single_flipped_word_is_noticed() -> None:
    from shamir_mnemonic.wordlist import WORDLIST

    split = slip39.split(passphrase.draw(), MACHINES, set())
    (good,), (other,) = split.shares["vault"], split.shares["aws"]
    words = good.text().split()
    said: set[str] = set()
    for position, word in enumerate(words):
        flipped = WORDLIST[(WORDLIST.index(word) + 1) % len(WORDLIST)]
        damaged = " ".join([*words[:position], flipped, *words[position + 1 :]])
        with pytest.raises(WrongShare) as caught:
            slip39.combine([Secret(damaged), other])
        said.add(caught.value.message + caught.value.hint)
    assert len(said) == 1, "what is said depends on no word of the share"


def test_shares_of_two_splits_do_not_mix() -> None:
    raw = passphrase.draw()
    one = slip39.split(raw, MACHINES, set())
    two = slip39.split(raw, MACHINES, {one.identifier})
    with pytest.raises(WrongShare, match="belong to different splits"):
        slip39.combine([*one.shares["vault"], *two.shares["aws"]])


def test_shares_of_one_split_alone_fit_together() -> None:
    """Under the same identifier: of another threshold, or another secret; and a secret of another length."""
    from shamir_mnemonic import shamir

    pairs, triples = (Path("p", (PathNeed("people", count, 3),)) for count in (2, 3))
    one = slip39.split(passphrase.draw(), pairs, set())
    others = set(range(slip39.IDENTIFIERS)) - {one.identifier}
    mine = one.shares["people"]
    for path in (triples, pairs):
        foreign = slip39.split(passphrase.draw(), path, others).shares["people"]
        with pytest.raises(WrongShare, match="the shares do not fit together"):
            slip39.combine([mine[0], foreign[1]])
    ((short,),) = shamir.generate_mnemonics(1, [(1, 1)], bytes(16), extendable=True, iteration_exponent=0)
    with pytest.raises(WrongShare, match="not those of an escrow passphrase"):
        slip39.combine([Secret(short)])


def test_missing_shares_are_counted_by_holders() -> None:
    split = slip39.split(passphrase.draw(), MIXED, set())
    with pytest.raises(NotEnoughShares, match="shares of 1 of 2 holders are there"):
        slip39.combine([*split.shares["vault"], *split.shares["people"][:2]])


@pytest.mark.parametrize("text", ["", "  ", "abc 123", "zwölf", "\x00", "academic\x1bacid"])
def test_what_is_no_share_is_called_so(text: str) -> None:
    with pytest.raises(WrongShare):
        slip39.normalise(Secret(text))
    with pytest.raises(WrongShare):
        slip39.combine([Secret(text)])


def test_no_share_at_all_is_not_enough() -> None:
    with pytest.raises(NotEnoughShares):
        slip39.combine([])


def test_words_may_be_written_by_hand() -> None:
    raw = passphrase.draw()
    split = slip39.split(raw, MACHINES, set())
    by_hand = Secret("\ufeff" + split.shares["vault"][0].text().upper().replace(" ", "\r\n ") + "\n")
    assert slip39.normalise(by_hand) == split.shares["vault"][0]
    assert slip39.combine([by_hand, *split.shares["aws"]]) == raw


def test_a_passphrase_is_written_as_64_digits() -> None:
    raw = passphrase.draw()
    written = passphrase.written(raw)
    assert len(written) == 64
    assert written.text() == written.text().lower()
    assert bytes.fromhex(written.text()) == raw.reveal()
    assert passphrase.draw() != raw


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_another_number_of_bytes_is_no_escrow_passphrase(size: int) -> None:
    with pytest.raises(WrongPassphrase):
        passphrase.written(Secret(bytes(size)))
