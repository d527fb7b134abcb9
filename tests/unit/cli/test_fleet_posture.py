"""Who can reconstruct how many keys, out of the postures of all."""

from __future__ import annotations

from typing import Any

from pipeline.cli.documents.fleet import PartyItem


def posture(sets: list[list[str]] | None, *lines: list[tuple[int, list[str]]]) -> dict[str, Any]:
    groups = [[{"count": count, "of": of} for count, of in line] for line in lines]
    return {
        "reconstruct": sets,
        "groups": {"reconstruct": groups},
        "names": {"person 1": "Ann", "person 2": "Bob"},
    }


def test_keys_with_more_sets_than_are_listed_are_not_left_out() -> None:
    known = {
        "berlin": posture([["person 1", "ops"], ["holder vault"]]),
        "oslo": posture([["ops", "person 1"]]),
        "paris": posture(
            None, [(2, ["person 2", "person 1", "person 3"]), (1, ["ops"])], [(1, ["target s3"])]
        ),
    }
    assert [(item.parties, item.keys) for item in PartyItem.of_keys(known, "reconstruct")] == [
        (("Ann", "ops"), ("berlin", "oslo")),
        (("2 of Ann, Bob, person 3", "ops"), ("paris",)),
    ]
