"""What one of several raises, foreseen or not, is a verdict about that one: the places that ask several."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pipeline.archive import live_key
from pipeline.config import Config
from pipeline.config.sections import Notify, Ping
from pipeline.core.clock import Deadline, SystemClock
from pipeline.core.errors import Code, OrgkeyError, Unreachable
from pipeline.core.finding import Level
from pipeline.core.retry import Retrier
from pipeline.evidence import anchors
from pipeline.evidence import verify as checking
from pipeline.evidence.ledger import entry as chain
from pipeline.monitoring.notify import channels, job
from pipeline.monitoring.notify.message import JobOutcome
from pipeline.monitoring.notify.ping import Pinger
from pipeline.openpgp.key import parsing
from pipeline.provision import apply
from pipeline.provision.compare import ServerChange
from pipeline.report import build, certificates
from pipeline.storage.check import Check
from pipeline.storage.ledger_mirror import Mirror
from pipeline.workflows.drill import DrillRequest, drill
from tests.component.test_isolation import UNFORESEEN, PanicException, raising
from tests.support.inmemory import ATTACKER, MemoryMirror, World, unlocked
from tests.unit.provision.test_compare import Losing, site

PANIC = PanicException("index out of bounds")
foreseen_or_not = pytest.mark.parametrize(
    "error", [Unreachable("no", hint="look"), *UNFORESEEN], ids=lambda error: type(error).__name__
)


class Takes:
    """A server that takes everything, or raises."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error

    def write(self, *_: object) -> None:
        if self.error is not None:
            raise self.error


@foreseen_or_not
def test_a_server_that_takes_no_change_stops_its_own_alone(error: BaseException) -> None:
    bad, good = replace(site(), session=cast("Losing", Takes(error))), site(namespace="other")
    good = replace(good, session=cast("Losing", Takes()))
    changes = [
        ServerChange(where.label, path, "exists", False, True, path, {})
        for path in ("sys/mounts/a", "sys/mounts/b")
        for where in (bad, good)
    ]
    retrier = Retrier(Deadline(60), attempts=1)
    outcomes = apply.apply([bad, good], changes, retrier)
    assert [outcome.state for outcome in outcomes] == ["failed", "done", "not-done", "done"]
    assert apply.code(outcomes) is Code.UNREACHABLE


@foreseen_or_not
def test_a_way_to_people_that_fails_leaves_the_others(
    error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "_command", raising(error))
    monkeypatch.setattr(channels, "_services", lambda *_: None)
    notify = Notify(command=("/bin/true",), urls_file="/nowhere")
    told = channels.deliver(notify, cast("Any", None))
    assert isinstance(told["notify.command"], OrgkeyError)
    assert told["notify.urls"] is None


def test_an_alarm_that_breaks_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    warned: list[str] = []
    config = SimpleNamespace(notify=Notify(command=("/bin/true",)), ping={"drill": Ping(url_file="/x")})
    alarm = job.RunNotifier(
        cast("Config", config), "drill", "drill", fingerprint=None, root=None, warn=warned.append
    )
    monkeypatch.setattr(Pinger, "end", raising(PANIC))
    monkeypatch.setattr(channels, "deliver", raising(PANIC))
    alarm.end(JobOutcome(Code.UNREACHABLE, "no", "look"))
    assert [line.partition(" ")[0] for line in warned] == ["ping", "notify"]


@pytest.mark.parametrize("error", UNFORESEEN, ids=lambda error: type(error).__name__)
def test_an_entry_of_a_mirror_that_cannot_be_read_says_nothing(
    error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, mirror = chain.parse, MemoryMirror("m")
    monkeypatch.setattr(
        chain, "parse", lambda data, *more: raising(error)() if data == b"bad" else real(data, *more)
    )
    body = chain.write(chain.START, "A" * 40, "escrow", {}, now=SystemClock().now(), run="0" * 16)
    mirror.chains = {"0" * 16: {1: [b"bad", body]}}
    (claim,) = anchors.entries(cast("Mirror", mirror), "A" * 40)
    assert len(claim.digests) == 1


@foreseen_or_not
def test_a_certificate_that_cannot_be_checked_leaves_the_others(
    error: BaseException, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = world.store(world.mint())
    for _ in range(2):
        assert drill(world.context, DrillRequest()).code is Code.OK
    bad = max(Path(world.context.root).glob("certificates/*.json"))
    real = checking.check

    def check(path: Path, *args: Any, **named: Any) -> Any:
        return raising(error)() if path == bad else real(path, *args, **named)

    monkeypatch.setattr(certificates, "check", check)
    found, problems = certificates.issued(world.context, made)
    assert len(found) == 1
    assert problems[0].startswith(f"certificate {bad.name}: ")


@foreseen_or_not
def test_a_look_at_a_target_that_breaks_leaves_the_others(error: BaseException) -> None:
    """However it is written: what it raises at once is isolated like what it raises later."""
    done: list[str] = []

    check = Check("t", "good")

    def before() -> None:
        check.warn("seen before it broke", "look")
        raise error

    findings = check.run(
        [lambda: done.append("reach")], [raising(error), before, lambda: done.append("last")]
    )
    assert done == ["reach", "last"]
    assert [(finding.level, finding.code) for finding in findings] == [
        (Level.FAIL, Code.UNREACHABLE),
        (Level.WARN, Code.OK),
    ]


@foreseen_or_not
def test_without_the_first_look_at_a_target_nothing_further_is_asked(error: BaseException) -> None:
    done: list[str] = []
    (finding,) = Check("t", "good").run([raising(error)], [lambda: done.append("last")])
    assert (finding.level, finding.code, done) == (Level.FAIL, Code.UNREACHABLE, [])


@foreseen_or_not
def test_a_holder_that_does_not_say_what_it_is_closes_its_paths_in_a_report(
    error: BaseException, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = world.store(world.mint())
    first = next(iter(world.holders.values()))
    monkeypatch.setattr(first, "describe", raising(error))
    closed = build._closed(world.context, record)
    assert closed
    assert all("no" in why or "defect" in why or "raised" in why for why in closed.values()), closed


def test_a_node_that_gives_out_something_else_does_not_keep_a_newer_key_away(
    world: World, tmp_path: Path
) -> None:
    for name, content in (
        ("other", unlocked(ATTACKER).public),
        ("broken", b"x"),
        ("good", unlocked().public),
    ):
        (tmp_path / name).write_bytes(content)
    for order in permutations(("other", "broken", "good")):
        world.key = f"live = {[str(tmp_path / name) for name in order]}"
        found = parsing.read_one(live_key.fetch(world.context), "it")
        assert found.fingerprint == world.fingerprint
    world.key = f"live = {[str(tmp_path / 'other')]}"
    assert live_key.fetch(world.context) == unlocked(ATTACKER).public, (
        "what is wrong with it, its reader says"
    )
