"""The benchmark itself: a run that fails gives no figure, runs alternate, and a missed limit is seen."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench import __main__ as command
from tests.bench.measure import CannotMeasure, Sample, Series, alternate, run
from tests.bench.subjects import PEER, clean_environment
from tests.bench.verdict import Comparison, document, table

ENV = {"PATH": "/usr/bin:/bin"}


def sample(seconds: float, peak_kib: int = 1024) -> Sample:
    return Sample(seconds, seconds / 2, peak_kib, b"", b"")


def series(name: str, *seconds: float) -> Series:
    return Series(name, tuple(sample(one) for one in seconds))


def compare(ours: float, peer: float, limit: float) -> Comparison:
    return Comparison("one / two", series("one", ours, ours, 9.0), series("two", peer, peer, 0.1), limit)


def test_a_run_is_timed_and_its_memory_taken(tmp_path: Path) -> None:
    code = "import sys, time; held = b'x' * 64_000_000; time.sleep(0.2)"
    code += "; print('done'); print('said', file=sys.stderr)"
    taken = run([sys.executable, "-c", code], ENV, cwd=tmp_path)
    assert 0.2 < taken.seconds < 30
    assert taken.peak_kib > 60_000
    assert (taken.stdout, taken.stderr) == (b"done\n", b"said\n")


def test_a_failed_run_is_no_figure(tmp_path: Path) -> None:
    with pytest.raises(CannotMeasure, match=r"ended with 3 (?s:.*)out of luck"):
        run(["/bin/sh", "-c", "echo out of luck >&2; exit 3"], ENV, cwd=tmp_path)


def test_a_run_that_hangs_is_killed(tmp_path: Path) -> None:
    with pytest.raises(CannotMeasure, match="ended with -9"):
        run(["/bin/sleep", "60"], ENV, cwd=tmp_path, timeout=0.3)


def test_runs_alternate_and_the_warm_up_does_not_count() -> None:
    order: list[str] = []

    def subject(name: str, first: float) -> Sample:
        order.append(name)
        return sample(first if order.count(name) == 1 else 1.0)

    ours, peer = alternate(
        ("ours", lambda: subject("ours", 99.0)), ("peer", lambda: subject("peer", 99.0)), 3, lambda _: None
    )
    assert order == ["ours", "peer"] * 4
    assert [one.seconds for one in ours.samples] == [1.0] * 3
    assert [one.seconds for one in peer.samples] == [1.0] * 3


def test_the_ratio_is_that_of_the_medians() -> None:
    found = Comparison("drift", series("one", 1.0, 3.0, 8.0), series("two", 10.0, 6.0, 16.0), 0.6)
    assert found.ratio == pytest.approx(3 / 10)
    assert found.by_pairs == pytest.approx(0.5)
    assert compare(3.0, 5.0, 0.6).ratio == pytest.approx(0.6)


@pytest.mark.parametrize(("ours", "ok", "word"), [(2.9, True, "ok"), (3.1, False, "MISSED")])
def test_a_missed_limit_shows_everywhere(ours: float, ok: bool, word: str) -> None:
    found = [compare(1.0, 5.0, 0.6), compare(ours, 5.0, 0.6)]
    assert document(found)["ok"] is ok
    assert f" {word} " in table(found)[2]
    json.dumps(document(found))


@pytest.mark.parametrize(("ours", "status"), [(1.0, 0), (9.0, 1)])
def test_the_exit_status_says_it(
    ours: float, status: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = [compare(ours, 5.0, 0.6)]
    monkeypatch.setattr(command, "measure", lambda *_: found)
    out = tmp_path / "figures.json"
    monkeypatch.setattr(sys, "argv", ["bench", "--json", str(out)])
    assert command.main() == status
    assert json.loads(out.read_text())["comparisons"][0]["ratio"] == pytest.approx(ours / 5, abs=1e-3)


def test_what_cannot_be_measured_is_told_apart(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> list[Comparison]:
        raise CannotMeasure("the escrow did less than it should")

    monkeypatch.setattr(command, "measure", fail)
    monkeypatch.setattr(sys, "argv", ["bench"])
    assert command.main() == 2
    assert "less than it should" in capsys.readouterr().err


def test_nothing_ambient_reaches_the_subjects(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (
        "VAULT_ADDR",
        "AWS_PROFILE",
        "ORGKEY_CONFIG",
        "GNUPGHOME",
        "HTTPS_PROXY",
        "PYTHONPROFILEIMPORTTIME",
    ):
        monkeypatch.setenv(name, "somebody's own")
    assert "somebody's own" not in clean_environment(tmp_path).values()


def test_the_peer_script_is_sound() -> None:
    subprocess.run(["/bin/sh", "-n", str(PEER)], check=True, timeout=10)
    text = PEER.read_text()
    # What makes the comparison fair is what administrators do, and nothing that only costs time.
    assert "sleep" not in text
    for part in ("--s2k-count 65011712", "-cas=0", "--if-none-match '*'", "--checksum-algorithm SHA256"):
        assert part in text
