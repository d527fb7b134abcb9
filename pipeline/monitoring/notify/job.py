"""One run of one job, and whom its end is told to. An alarm that fails is a warning, never a result."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

from pipeline.config import Config, Job
from pipeline.core import files, log
from pipeline.core.clock import Clock, SystemClock, stamp
from pipeline.core.errors import Code, OrgkeyError
from pipeline.core.isolation import isolated
from pipeline.monitoring.notify import channels
from pipeline.monitoring.notify.message import NO_FAILURE, Event, Memory, Message, Outcome, judge, remembered
from pipeline.monitoring.notify.ping import Pinger


class Alarm:
    """Tells how one run of a job begins and ends.

    Args:
        config: Whom to tell.
        job: The job.
        command: The command's words.
        fingerprint: The key; ``None`` when it is not known.
        root: The key's state directory; ``None`` when it is not known, and nothing is remembered.
        warn: Told what does not work.
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

    def end(self, outcome: Outcome) -> None:
        """Say how the run ended.

        Args:
            outcome: How.
        """
        if outcome.code is Code.INTERRUPTED:
            return  # the next run resumes; if there is none, the service misses it
        ways: dict[str, Callable[[Outcome], None]] = {}
        if self._pinger:
            ways["ping"] = partial(self._ping, self._pinger)
        if self._config.notify:
            ways["notify"] = self._notify
        for name, way in ways.items():
            error = isolated(partial(way, outcome), name)
            if error is not None:
                self._warn(f"{error.message}; {error.hint}")

    def message(self, event: Event, outcome: Outcome) -> Message:
        """What is told.

        Args:
            event: As what.
            outcome: How the run ended.
        """
        return Message(
            event,
            self._command,
            int(outcome.code),
            outcome.code.label,
            log.clean(outcome.message),
            log.clean(outcome.hint),
            socket.gethostname(),
            self._fingerprint,
            log.run_id(),
            stamp(self._clock.now()),
            tuple(map(log.clean, outcome.broken)),
        )

    def _ping(self, pinger: Pinger, outcome: Outcome) -> None:
        pinger.end(0 if outcome.code in NO_FAILURE else int(outcome.code), self._short(outcome))

    def _short(self, outcome: Outcome) -> str:
        told = f"orgkey {self._command}: exit code {int(outcome.code)}, {outcome.code.meaning}"
        # Only what this program says: a service that counts the hours need not know the gate's details.
        return f"{told}\n{log.clean(outcome.message)}\nrun {log.run_id()}"

    def _notify(self, outcome: Outcome) -> None:
        notify = self._config.notify
        assert notify is not None
        before = self._remember()
        repeat = timedelta(hours=notify.repeat_hours)
        event, told, untold = judge(before, outcome, self._clock.now(), repeat, notify.on)
        after = untold
        if event is not None:
            results = channels.deliver(notify, self.message(event, outcome))
            for error in filter(None, results.values()):
                self._warn(f"nobody was notified by it: {error.message}; {error.hint}")
            if not all(results.values()):
                after = told
        if after != before:
            self._keep(after)

    def _remember(self) -> Memory:
        try:
            return remembered(self._file.read_bytes()) if self._file else Memory()
        except FileNotFoundError:
            return Memory()
        except (OSError, ValueError) as error:
            self._warn(f"cannot use {self._file} ({type(error).__name__}); what was told before is forgotten")
            return Memory()

    def _keep(self, memory: Memory) -> None:
        if self._file is None:
            return
        try:
            files.private_directory(self._file.parent.parent)
            files.private_directory(self._file.parent)
            files.replace(self._file, memory.render())
        except OrgkeyError as error:
            self._warn(f"{error.message}; the same may be told again")
