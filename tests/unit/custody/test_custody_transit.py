"""What is said of a Transit key."""

from __future__ import annotations

import pytest

from pipeline.custody.holders.transit import judge

SOUND = {
    "derived": True,
    "supports_encryption": True,
    "supports_decryption": True,
    "exportable": False,
    "imported_key": False,
    "latest_version": 3,
}


def test_a_sound_key_has_no_faults() -> None:
    assert judge(SOUND).faults == ()


@pytest.mark.parametrize(
    ("field", "told"),
    [("imported_key", "imported from outside"), ("exportable", "exportable"), ("soft_deleted", "deleted")],
)
def test_a_key_that_others_may_have_holds_no_share(field: str, told: str) -> None:
    (fault,) = judge({**SOUND, field: True}).faults
    assert told in fault
