"""What runs unattended, when, with whose logins, and what is tried again."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Final

from pipeline.config.sections import Policy
from pipeline.core.errors import Code

# Codes after which the same command, unchanged and later, cannot succeed: a person has to look.
FINAL: Final = tuple(sorted(int(code) for code in Code if code is not Code.OK and not code.retry))

_DEADLINE: Final = int(Policy.model_fields["deadline_seconds"].default)
_BACKUP_SECONDS: Final = int(Policy.model_fields["backup_seconds"].default)
# The deadline ends a run's network calls. As much again is left for what is computed here (proofs, pages),
# and a minute for telling others; who raises policy.deadline_seconds raises this, too.
RUN_SECONDS: Final = 2 * _DEADLINE + 60
STOP_SECONDS: Final = 60  # after SIGTERM: calls in flight may end, agents are ended


@dataclass(frozen=True, slots=True)
class Job:
    """One job.

    Attributes:
        name: Its name, and the end of the unit's name.
        about: For people, a sentence's end.
        words: What follows `orgkey`, without ``--config``.
        logins: The folders of credentials that it gets, and no others.
        calendar: When, as systemd's ``OnCalendar=`` has it; empty for a service that stays.
        cron: The same as five fields of cron.
        spread_seconds: The start is put off by up to so much, so that hosts do not start together.
        wait_seconds: Between two tries.
        tries: Starts at most, the first included.
        run_seconds: After so much a try is ended.
        ping: Whose ping of the configuration it is; the name's where it is empty.
    """

    name: str
    about: str
    words: tuple[str, ...]
    logins: tuple[str, ...]
    calendar: str = ""
    cron: str = ""
    spread_seconds: int = 0
    wait_seconds: int = 600
    tries: int = 4
    run_seconds: int = RUN_SECONDS
    ping: str = ""

    @property
    def command(self) -> tuple[str, ...]:
        """The words before the first option."""
        return tuple(itertools.takewhile(lambda word: not word.startswith("--"), self.words))

    @property
    def options(self) -> tuple[str, ...]:
        """The words from the first option on."""
        return self.words[len(self.command) :]

    @property
    def stays(self) -> bool:
        """Whether it is a service that does not end by itself."""
        return not self.calendar

    @property
    def all_tries_seconds(self) -> int:
        """What all tries can take together, in seconds."""
        return self.tries * (self.run_seconds + self.wait_seconds)


WATCH: Final = Job(
    name="watch",
    about="escrow what arrives in the inbox, compare the live key, judge the gate",
    words=("watch",),
    logins=("writer", "driller", "auditor", "export", "alarms"),
    wait_seconds=60,
)
VERIFY: Final = Job(
    name="verify",
    about="read every copy and check that it is authentic",
    words=("verify",),
    logins=("driller", "alarms"),
    calendar="*-*-* 03:00:00",
    cron="17 3 * * *",
    spread_seconds=3600,
)
DRILL: Final = Job(
    name="drill",
    about="restore from the stored copies and prove that the key works",
    words=("drill",),
    logins=("driller", "alarms"),
    calendar="Sun *-*-* 04:00:00",
    cron="29 4 * * 0",
    spread_seconds=3600,
)
REPORT: Final = Job(
    name="report",
    about="write the report for the auditor, with the evidence",
    words=("report", "--bundle"),
    logins=("driller", "auditor", "alarms"),
    calendar="*-*-01 05:00:00",
    cron="41 5 1 * *",
    spread_seconds=3600,
)
STATUS: Final = Job(
    name="status",
    about="judge the gate, and write the metrics",
    words=("status", "--quiet", "--metrics"),
    logins=("driller", "auditor", "alarms"),
    calendar="hourly",
    cron="7 * * * *",
    spread_seconds=300,
    wait_seconds=300,
    tries=2,
)
INFRA: Final = Job(
    name="infra",
    about="compare Vault's side with infra/vault",
    words=("infra", "plan", "--quiet"),
    logins=("planner", "alarms"),
    calendar="*-*-* 02:00:00",
    cron="53 2 * * *",
    spread_seconds=3600,
)
BACKUPS: Final = Job(
    name="backups",
    about="read the newest backup to its end",
    words=("backups", "verify", "--newest", "1"),
    logins=("driller", "alarms"),
    calendar="*-*-* 06:00:00",
    cron="11 6 * * *",
    spread_seconds=3600,
    tries=2,
    run_seconds=_BACKUP_SECONDS + RUN_SECONDS,
)
BACKUPS_PART: Final = replace(
    BACKUPS,
    name="backups-part",
    about="read an eighth of all backups to their end, the one that waits longest",
    words=("backups", "verify", "--part", "next/8"),
    calendar="Sat *-*-* 07:00:00",
    cron="47 7 * * 6",
    ping="backups",
)
JOBS: Final = (WATCH, VERIFY, DRILL, REPORT, STATUS, INFRA, BACKUPS, BACKUPS_PART)
TIMED: Final = tuple(job for job in JOBS if not job.stays)
