from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import UsageProblem
from pipeline.storage.interface import Slot
from pipeline.storage.names import checked, is_epoch

GOOD = Slot("0123456789ABCDEF" * 2 + "01234567", "20260131T080000Z-0a1b2c3d")
SAFE = set(string.ascii_letters + string.digits + "-")


def test_a_good_slot_is_returned() -> None:
    assert checked(GOOD) is GOOD


@given(st.text(alphabet=st.sampled_from("0123456789TZ-abcdef/.\n\x00A"), max_size=30))
def test_only_harmless_names_pass(name: str) -> None:
    if is_epoch(name):
        assert set(name) <= SAFE
        assert len(name) == 25
    else:
        with pytest.raises(UsageProblem):
            checked(Slot(GOOD.fingerprint, name))


@given(st.text(max_size=45))
def test_only_fingerprints_pass(name: str) -> None:
    if len(name) == 40 and set(name) <= set("0123456789ABCDEF"):
        checked(Slot(name, GOOD.epoch))
    else:
        with pytest.raises(UsageProblem):
            checked(Slot(name, GOOD.epoch))
