"""The one place where commands become jobs: whatever happens to the alarm, the result stands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer

from pipeline import config
from pipeline.cli import jobs
from pipeline.config.sections import Job
from pipeline.core import passphrases
from pipeline.core.errors import Code, Denied
from pipeline.core.signals import Signalled
from pipeline.monitoring.notify import job as alarms
from pipeline.monitoring.notify.message import JobOutcome, NotificationState, judge
from pipeline.monitoring.rules import Rule
from tests.support.configtext import GOOD

CONFIG = config.parse(f'{GOOD}\n[notify]\ncommand = ["true"]\n'.encode(), Path("test.toml"))


@dataclass
class Fake:
    """Stands for the alarm; may raise."""

    ends: list[JobOutcome] = field(default_factory=list)
    begins: int = 0
    raising: BaseException | None = None

    def begin(self) -> None:
        self.begins += 1
        if self.raising:
            raise self.raising

    def end(self, outcome: JobOutcome) -> None:
        self.ends.append(outcome)
        if self.raising:
            raise self.raising


@pytest.fixture
def alarm(monkeypatch: pytest.MonkeyPatch) -> Fake:
    fake = Fake()
    monkeypatch.setattr(alarms, "RunNotifier", lambda *_, **__: fake)
    return fake


def command(body: Callable[[], Code], name: Job = "drill", **options: Any) -> Code:
    @jobs.job(name)
    def run(dry_run: bool = False) -> Code:
        jobs.configured(CONFIG, Path("/nowhere"), None)
        return body()

    return run(**options)


def raises(error: BaseException) -> Callable[[], Code]:
    def body() -> Code:
        raise error

    return body


def test_the_end_is_told_once_with_what_happened(alarm: Fake) -> None:
    assert command(lambda: Code.DEGRADED) is Code.DEGRADED
    with pytest.raises(Denied):
        command(raises(Denied("no", hint="ask")))
    with pytest.raises(ZeroDivisionError):
        command(raises(ZeroDivisionError("secret")))
    assert [(item.code, item.message, item.hint) for item in alarm.ends] == [
        (Code.DEGRADED, Code.DEGRADED.meaning, ""),
        (Code.DENIED, "no", "ask"),
        (Code.INTERNAL, "internal error: ZeroDivisionError", ""),
    ]
    assert alarm.begins == 3


@pytest.mark.parametrize("error", [Signalled(), KeyboardInterrupt(), typer.Exit(2), typer.Abort()])
def test_what_is_no_end_is_not_told(alarm: Fake, error: BaseException) -> None:
    with pytest.raises(type(error)):
        command(raises(error))
    assert (alarm.begins, alarm.ends) == (1, [])


def test_a_dry_run_is_no_job(alarm: Fake) -> None:
    assert command(lambda: Code.OK, dry_run=True) is Code.OK
    assert (alarm.begins, alarm.ends) == (0, [])


@pytest.mark.parametrize(("name", "told"), [("status", False), ("verify", False), ("drill", True)])
def test_a_question_that_a_person_asks_pages_nobody(
    alarm: Fake, monkeypatch: pytest.MonkeyPatch, name: Job, told: bool
) -> None:
    monkeypatch.setattr(passphrases, "interactive", lambda: True)
    assert command(lambda: Code.STALE, name) is Code.STALE
    assert (alarm.begins, len(alarm.ends)) == ((1, 1) if told else (0, 0))
    monkeypatch.setattr(passphrases, "interactive", lambda: False)
    command(lambda: Code.STALE, name)
    assert alarm.begins == (2 if told else 1)


@pytest.mark.parametrize("error", [RuntimeError("token"), Denied("x", hint="y"), Signalled(), MemoryError()])
def test_a_defect_of_the_alarm_is_a_warning(
    alarm: Fake, error: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    alarm.raising = error
    assert command(lambda: Code.OK) is Code.OK
    told = capsys.readouterr().err
    assert told.count("orgkey: warning: ") == 2
    assert "token" not in told


def test_rules_are_handed_over_and_overdue_ones_told_apart(alarm: Fake) -> None:
    def body() -> Code:
        jobs.judged(
            [
                Rule("copies", True, "fine"),
                Rule("copy", False, "a copy is gone"),
                Rule("max_copy_drill_age_days", False, "a is late", 9.0, 8.0, "a"),
            ]
        )
        return Code.STALE

    command(body)
    (told,) = alarm.ends
    assert told.broken == ("a copy is gone", "a is late")
    assert told.overdue == {"max_copy_drill_age_days a": "a is late"}


def test_what_else_failed_is_told_beside_what_is_overdue(alarm: Fake) -> None:
    def body() -> Code:
        jobs.judged([Rule("max_drill_age_days", False, "a is late", 9.0, 8.0)])
        jobs.ended(Code.STALE, problems=("the custody plan is another",))
        return Code.STALE

    command(body, "watch")
    (told,) = alarm.ends
    assert (told.message, told.broken) == ("the custody plan is another", ("a is late",))
    now, day = datetime.now(UTC), timedelta(days=1)
    event, *_ = judge(NotificationState(), told, now, day, ("failure", "overdue"))
    assert event == "failure"


def test_a_service_tells_each_round(alarm: Fake) -> None:
    def body() -> Code:
        for code in (Code.OK, Code.UNREACHABLE):
            jobs.ended(code, "round")
            jobs.begin()
        jobs.ended(Code.OK)
        return Code.OK

    command(body)
    assert [item.code for item in alarm.ends] == [Code.OK, Code.UNREACHABLE, Code.OK]
    assert alarm.begins == 3
