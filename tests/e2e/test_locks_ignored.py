"""A bucket behind a server that takes the headers of Object Lock, and does nothing about them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.storage.s3.trial import LOCK
from tests.support import relays
from tests.support.commandline import Desk

if TYPE_CHECKING:
    from tests.conftest import Place


SAID = "not locked as configured: GOVERNANCE until "


def test_a_lock_that_is_ignored_is_told_by_each_query_and_never_taken_for_one(
    place: Place, tmp_path: Path
) -> None:
    direct = place.stack.endpoint("s3")
    desk = Desk(place, tmp_path, more='\n[ledger]\nmirrors = ["s3"]\n')
    with relays.unlocking(direct) as url:
        desk.edit(f'endpoint_url = "{direct}"', f'endpoint_url = "{url}"')
        assert any("--try-writing" in item["hint"] for item in desk.ask("doctor")["findings"])
        refused = desk.ask("doctor", "--try-writing", expect=2)
        (said,) = (item["message"] for item in refused["findings"] if item["level"] == "fail")
        assert said.startswith(f"the server lacks {LOCK}: GOVERNANCE until ")
        assert [key.split("/")[-2] for key in desk.stored_in_s3()] == ["trial"]
        assert desk.stored_in_vault() == []
        for _ in range(2):  # the second one finds what the first one wrote
            told = desk.escrow("--no-drill", expect=23)
            assert [copy["verified"] for copy in told["copies"]] == [True, False]
        for limit in ("", "min_retention_days = 0.5\n"):
            desk.edit("[policy]\n", f"[policy]\n{limit}")
            status = desk.ask("status", expect=40)
            assert [rule["ok"] for rule in status["gate"]["rules"] if rule["name"] == "lock"] == [False]
            assert any(rule.startswith(f"s3: {SAID}") for rule in status["gate"]["broken"])
            assert status["copies"][1]["ok"]
        (shown,) = (line for line in desk.run("status").out.splitlines() if line.startswith("s3 "))
        assert shown.endswith("NONE")
        verified = desk.run("verify", expect=40)
        assert "NOT LOCKED: GOVERNANCE until " in verified.out
        synced = desk.ask("ledger", "sync", expect=23)
        assert [item["confirmed"] for item in synced["mirrors"]] == [0]
        assert "the server says no retention" in synced["mirrors"][0]["problem"]
        assert synced["mirrors"][0]["waiting"] == synced["head"]["sequence"] > 1
    desk.edit(f'endpoint_url = "{url}"', f'endpoint_url = "{direct}"')
    assert not any(SAID in rule for rule in desk.ask("status", expect=40)["gate"]["broken"])
    assert [item["waiting"] for item in desk.ask("ledger", "sync")["mirrors"]] == [0]
