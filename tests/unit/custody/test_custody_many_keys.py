"""The two files of a check-in for many keys, from whomever they come."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import UsageProblem
from pipeline.custody.custodians import many_keys
from pipeline.custody.custodians.challenge import Challenge, ChallengedShare

CODE = "7ZZX-2K4M-0Q9T-VB1C"
SHARE = ChallengedShare("people", "custodians", 2, "0" * 32, "1" * 64, 3, "2" * 64, "sealed")
SOUND = Challenge("A" * 40, "new", "0" * 32, "B" * 40, "Bob", (SHARE,))
ANSWER: dict[str, Any] = {"fingerprint": "A" * 40, "epoch": "new", "codes": [CODE], "problems": []}


def answer_of(**changes: Any) -> bytes:
    keys = {"berlin": ANSWER | changes}
    document = {"schema": many_keys.ANSWER, "custodian": "B" * 40, "exit_code": 0, "keys": keys}
    return json.dumps(document).encode()


def test_both_files_come_back_as_they_were_written() -> None:
    asked = {"berlin": SOUND, "Größe ☃": replace(SOUND, fingerprint="C" * 40)}
    data = many_keys.together(asked)
    assert data.isascii()
    assert many_keys.apart(data) == asked
    assert many_keys.read_answer(answer_of()) == {"berlin": many_keys.KeyAnswer("A" * 40, "new", (CODE,), ())}


def test_a_challenge_for_one_key_is_none_for_many() -> None:
    assert many_keys.apart(SOUND.to_bytes()) is None


@pytest.mark.parametrize("keys", [{}, [], None, {"berlin": {}}, {"berlin": "x"}])
def test_a_malformed_challenge_is_refused(keys: Any) -> None:
    with pytest.raises(UsageProblem, match="not a challenge"):
        many_keys.apart(json.dumps({"schema": many_keys.SCHEMA, "keys": keys}).encode())


def test_challenges_of_two_custodians_are_not_one_file() -> None:
    both = {"berlin": SOUND, "paris": replace(SOUND, custodian="D" * 40)}
    with pytest.raises(UsageProblem, match="not a challenge"):
        many_keys.apart(many_keys.together(both))


@pytest.mark.parametrize(
    "changes",
    [
        {"codes": ["--config=/tmp/other.toml"]},
        {"codes": ["--new"]},
        {"codes": [f"{CODE}\n"]},
        {"codes": [CODE, 7]},
        {"codes": [CODE] * 65},
        {"codes": CODE},
        {"fingerprint": "--config"},
        {"fingerprint": "A" * 40 + "\n"},
        {"epoch": "new\x1b[2J"},
        {"problems": None},
        {"more": 1},
    ],
)
def test_an_answer_of_another_form_is_refused(changes: dict[str, Any]) -> None:
    """What it says becomes words of a command line, so that only codes may stand where codes stand."""
    with pytest.raises(UsageProblem, match="not the answer"):
        many_keys.read_answer(answer_of(**changes))


@given(st.binary(max_size=300))
def test_bytes_that_are_neither_are_refused(data: bytes) -> None:
    with pytest.raises(UsageProblem):
        many_keys.read_answer(data)
    with pytest.raises(UsageProblem):
        assert many_keys.apart(data) is not None or many_keys.read_answer(data)


@pytest.mark.parametrize("data", [b"[" * 100_000, b" " * (many_keys.LARGEST + 1)])
def test_a_deep_or_huge_file_is_refused(data: bytes) -> None:
    for read in (many_keys.apart, many_keys.read_answer):
        with pytest.raises(UsageProblem):
            read(data)
