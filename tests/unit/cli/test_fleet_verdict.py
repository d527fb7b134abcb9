"""The word that a fleet's run has for each member."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.fleet_members import FleetMember
from pipeline.cli.fleet_run import MemberResult
from pipeline.core.errors import Code


def verdict(code: Code, **document: Any) -> str:
    return MemberResult(FleetMember("berlin", Path("berlin.toml")), code, document, "", 1.0).verdict


@pytest.mark.parametrize("code", list(Code))
def test_a_key_is_lost_only_where_nothing_is_stored(code: Code) -> None:
    """A share that was refused, a proof that failed: other copies and other paths may restore it."""
    assert verdict(code, epoch="20260131T080000Z-0a1b2c3d") != "cannot be restored"
    assert (verdict(code, epoch=None) == "cannot be restored") == (code is Code.STALE)
