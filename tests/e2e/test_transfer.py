"""Progress of a large reading: rate and remaining time, and no more lines than a log can bear."""

from __future__ import annotations

import pytest

from pipeline.cli.output import Output
from pipeline.cli.transfer import Transfer
from pipeline.core.text import amount


def test_a_line_has_the_share_the_rate_and_the_time_that_is_left() -> None:
    found = Transfer(Output(), [5 << 30, 5 << 30], done=5 << 30, finished=1)
    assert found.line(5.0) == "backups: 1 of 2, 50 %, 5.0 GiB at 1.0 GiB/s, 5 s left"
    assert found.line(500.0).endswith(" 8 min left")
    assert Transfer(Output(), [None], done=1 << 20).line(1.0) == "backups: 0 of 1, 1.0 MiB at 1.0 MiB/s"
    assert Transfer(Output(), [5]).line(0.0) == "backups: 0 of 1, 0 B at 0 B/s"


def test_amounts_for_people() -> None:
    assert [amount(count) for count in (0, 1023, 1024, 1 << 30, 5 << 40)] == [
        "0 B", "1023 B", "1.0 KiB", "1.0 GiB", "5.0 TiB",
    ]  # fmt: skip


def test_a_log_gets_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("pipeline.cli.transfer.time.monotonic", lambda: now)
    shown = Transfer(Output(), [100], _started=0.0, _shown=0.0)
    for second in range(1, 41):
        now = float(second)
        shown.add(2)
    shown.next()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("backups: 0 of 1, 30 %, ")
    quiet = Transfer(Output(quiet=True), [100], _started=0.0, _shown=-100.0)
    quiet.add(50)
    assert capsys.readouterr().err == ""
