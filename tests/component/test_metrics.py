"""The metrics of several servers on one host, as node-exporter and Prometheus read them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pipeline.cli import fleet_text
from pipeline.core.clock import stamp
from pipeline.core.errors import Code
from pipeline.monitoring import prometheus as metrics
from pipeline.monitoring.status import status
from pipeline.record.verify import Record
from tests.support import exposition
from tests.support.inmemory import ATTACKER, World, unlocked

NOW = datetime(2026, 1, 31, tzinfo=UTC)


@pytest.fixture
def proven(world: World) -> Record:
    made = world.store(world.mint())
    world.context.journal.begin(made.epoch, None).mark_proven(
        {"record_sha256": made.sha256.hex, "at": stamp(world.clock.now())}
    )
    return made


def test_two_servers_are_both_seen_and_the_broken_one_is_red(world: World, proven: Record) -> None:
    good = metrics.of_status(status(world.context), NOW, "berlin")
    other = world.context.of(unlocked(ATTACKER).fingerprint)
    broken = metrics.of_status(status(other), NOW, "paris")
    series: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for page in (good, broken):
        for family in text_string_to_metric_families(page.decode()):
            for sample in family.samples:
                # Of two equal series the collector keeps the first.
                series.setdefault((sample.name, tuple(sorted(sample.labels.items()))), sample.value)
    gates = {
        dict(labels)["name"]: value for (name, labels), value in series.items() if name == "orgkey_gate_ok"
    }
    assert gates == {"berlin": 1, "paris": 0}
    assert len(series) == len(exposition.parse(good.decode())) + len(exposition.parse(broken.decode()))
    assert {dict(labels)["fingerprint"] for _, labels in series} == {world.fingerprint, other.fingerprint}


def test_a_status_that_could_not_be_judged_says_whose_it_was(
    world: World, proven: Record, tmp_path: Path
) -> None:
    place = tmp_path / "orgkey.prom"
    place.write_bytes(metrics.of_status(status(world.context), NOW, "berlin"))
    whose = metrics.before(place)
    assert whose == metrics.KeyLabels(world.fingerprint, "berlin")
    found = exposition.parse(metrics.of_failure(Code.USAGE, NOW, whose).decode())
    assert (found["orgkey_status_ok", ()], found["orgkey_exit_code", ()]) == (0, 2)


@pytest.mark.parametrize("data", [b"", b"orgkey_status_ok 1\n", b"\xff", b"nonsense{", b'a{b="c} 1'])
def test_a_file_of_something_else_is_nobodys(tmp_path: Path, data: bytes) -> None:
    place = tmp_path / "orgkey.prom"
    place.write_bytes(data)
    assert metrics.before(place) == metrics.before(tmp_path / "nothing") == metrics.KeyLabels()


def test_a_name_may_hold_no_odd_signs_and_any_label_is_escaped() -> None:
    page = metrics.of_failure(Code.OK, NOW, metrics.KeyLabels("F", 'a"\\\n}'))
    (family, *_) = text_string_to_metric_families(page.decode())
    assert family.samples[0].labels["name"] == 'a"\\\n}'


def test_two_configurations_of_one_key_and_what_was_never_judged_are_all_in_one_file(tmp_path: Path) -> None:
    key = metrics.KeyLabels("F" * 40)
    place = tmp_path / "fleet.prom"
    names = ["one", 'two "\\\n\u2028', "three"]
    with fleet_text.metrics_of(place, names) as more:
        for name, code in zip(names, (Code.OK, Code.STALE), strict=False):
            Path(more(name)[1]).write_bytes(metrics.of_failure(code, NOW, key))
    found = {
        sample.labels["config"]: (sample.value, sample.labels["fingerprint"], sample.labels["name"])
        for family in text_string_to_metric_families(place.read_text())
        for sample in family.samples
        if sample.name == "orgkey_exit_code"
    }
    assert found == {names[0]: (0, "F" * 40, ""), names[1]: (40, "F" * 40, ""), "three": (1, "", "three")}
