"""Notify of the beginning and the end of one run of a job. What fails here is a warning, never a result."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

from pipeline.config import Config
from pipeline.config.sections import Job
from pipeline.core import files, log
from pipeline.core.clock import Clock, SystemClock, stamp
from pipeline.core.errors import Code, LocalFilesProblem, OrgkeyError
from pipeline.core.isolation import isolated
from pipeline.monitoring.notify import channels
from pipeline.monitoring.notify.message import (
    NO_FAILURE,
    Event,
    JobOutcome,
    Message,
    NotificationState,
    judge,
)
from pipeline.monitoring.notify.ping import Pinger


class RunNotifier:
    """Notifies of the beginning and the end of one run of a job.

    Args:
        config: Whom to notify.
        job: The job.
        command: The command's words.
        fingerprint: The key; ``None`` when it is not known.
        root: The key's state directory; ``None`` when it is not known, and nothing is remembered.
        warn: Called with what does not work.
        clock: Where time comes from.
    """

    def __init__(
        self,
        config: Config,
        job: Job,
        command: str,
        *,
        fingerprint: str | None,
        root: Path | None,
        warn: Callable[[str], None],
        clock: Clock | None = None,
    ) -> None:
        self._config = config
        self._command = command
        self._fingerprint = fingerprint
        self._file = root / "jobs" / f"{job}.json" if root else None
        self._warn = warn
        self._clock = clock or SystemClock()
        ping = config.ping.get(job)
        self._pinger = Pinger(ping, job, log.run_id(), warn) if ping else None

    def begin(self) -> None:
        """Say that the run begins."""
        if self._pinger:
            self._pinger.start()

    def end(self, outcome: JobOutcome) -> None:
        """Say how the run ended.

        Args:
            outcome: How.
        """
        if outcome.code is Code.INTERRUPTED:
            return  # the next run resumes; if there is none, the service misses it
        ways = {"ping": self._ping} if self._pinger else {}
        if self._config.notify:
            ways["notify"] = self._notify
        for name, way in ways.items():
            error = isolated(partial(way, outcome), name)
            if error is not None:
                self._warn(f"{error.message}; {error.hint}")

    def message(self, event: Event, outcome: JobOutcome) -> Message:
        """The message of a run's end.

        Args:
            event: What happened.
            outcome: How the run ended.
        """
        return Message(
            event=event,
            command=self._command,
            code=int(outcome.code),
            name=outcome.code.label,
            message=log.clean(outcome.message),
            hint=log.clean(outcome.hint),
            host=socket.gethostname(),
            fingerprint=self._fingerprint,
            run=log.run_id(),
            at=stamp(self._clock.now()),
            broken=tuple(map(log.clean, outcome.broken)),
        )

    def _ping(self, outcome: JobOutcome) -> None:
        assert self._pinger is not None
        text = f"orgkey {self._command}: exit code {int(outcome.code)}, {outcome.code.meaning}"
        # Only what this program says: a service that counts the hours need not know the gate's details.
        text += f"\n{log.clean(outcome.message)}\nrun {log.run_id()}"
        self._pinger.end(0 if outcome.code in NO_FAILURE else int(outcome.code), text)

    def _notify(self, outcome: JobOutcome) -> None:
        notify = self._config.notify
        assert notify is not None
        before, repeat = self._remember(), timedelta(hours=notify.repeat_hours)
        event, sent, after = judge(before, outcome, self._clock.now(), repeat, notify.on)
        if event is not None:
            results = channels.deliver(notify, self.message(event, outcome))
            for error in filter(None, results.values()):
                self._warn(f"nobody was notified by it: {error.message}; {error.hint}")
            if not all(results.values()):
                after = sent
        if after != before:
            self._keep(after)

    def _remember(self) -> NotificationState:
        try:
            return (NotificationState.load(self._file) if self._file else None) or NotificationState()
        except (LocalFilesProblem, ValueError) as error:
            self._warn(f"cannot use {self._file} ({type(error).__name__}); what was sent before is forgotten")
            return NotificationState()

    def _keep(self, memory: NotificationState) -> None:
        if self._file is None:
            return
        try:
            files.private_directory(self._file.parent.parent)
            memory.keep(self._file)
        except OrgkeyError as error:
            self._warn(f"{error.message}; the same may be sent again")
