"""A crontab for hosts without systemd."""

from __future__ import annotations

from typing import Final

from tools.schedule.jobs import JOBS, Job

INSTANCE: Final = "pgp1"
EVERY_MINUTES: Final = 5

_HEAD: Final = f"""\
# Written by `python -m tools.make_schedule`. The crontab of the user orgkey, for one PGP Encryption
# Server: copy it, replace {INSTANCE} and the address, and install it with `crontab -u orgkey FILE`.
#
# The user reads and writes folders of its own, which root makes first; /etc/orgkey is root's, with the mode
# 0750 and the group orgkey:
#   install -d -m 700 -o orgkey -g orgkey /var/lib/orgkey /var/lib/orgkey/{INSTANCE}
#   install -d -m 700 -o orgkey -g orgkey /etc/orgkey/cron-credentials /etc/orgkey/cron-credentials/{INSTANCE}
#
# cron tries nothing again: the next turn does. Two runs at once do no harm: the later one ends with 50.
# Warnings and errors come by mail; results go to the state directory and where the configuration says.
SHELL=/bin/sh
PATH=/opt/orgkey/bin:/usr/bin:/bin
MAILTO=orgkey-operators@example.com
CREDENTIALS_DIRECTORY=/etc/orgkey/cron-credentials/{INSTANCE}
STATE_DIRECTORY=/var/lib/orgkey/{INSTANCE}
"""


def files() -> dict[str, str]:
    """All files, by their name in ``infra/schedule/cron``."""
    return {"orgkey.cron": _HEAD + "".join(_lines(job) for job in JOBS)}


def _lines(job: Job) -> str:
    when = job.cron or f"*/{EVERY_MINUTES} * * * *"
    return f"\n# {job.about[0].upper()}{job.about[1:]}.\n{when} {_command(job)}\n"


def _command(job: Job) -> str:
    words = [*job.command, f"--config /etc/orgkey/{INSTANCE}.toml", "--quiet"]
    words += [word for word in job.options if word not in words]
    if job.stays:
        words.append("--once")
    if job.name == "status":
        words.append('"$STATE_DIRECTORY/orgkey.prom"')
    if job.name == "report":
        # A bare % would end the command: cron takes it for a new line.
        words.append(r'"$STATE_DIRECTORY/report-$(date -u +\%Y\%m\%dT\%H\%M\%SZ).zip"')
    return f"umask 077; orgkey {' '.join(words)} >/dev/null"
