"""Units and timers for systemd, 250 or later: older ones cannot load a folder of credentials."""

from __future__ import annotations

from typing import Final

from pipeline.core.errors import Code
from tools.schedule.jobs import FINAL, JOBS, STOP_SECONDS, TIMED, Job

ORGKEY: Final = "/opt/orgkey/bin/orgkey"
CONFIG: Final = "/etc/orgkey/%i.toml"
INBOX: Final = "/srv/orgkey/%i/inbox"
HEAD: Final = "# Written by `python -m tools.make_schedule`. Change what it says with a drop-in.\n"

_HARDENING: Final = """\
# Memory: no core dumps; locked, so that no secret reaches swap.
LimitCORE=0
LimitMEMLOCK=infinity
UMask=0077
# The file system: all read-only but the state. /dev/shm stays, GnuPG's homes lie there for a moment; and
# no RemoveIPC=, which removes those of a run by hand when the user's last unit ends.
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
PrivateMounts=yes
ProtectProc=invisible
ProcSubset=pid
# Privileges: none.
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
PrivateUsers=yes
RestrictSUIDSGID=yes
RestrictNamespaces=yes
RestrictRealtime=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
KeyringMode=private
PrivateIPC=yes
# The kernel: nothing to change.
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
# The network: TCP to the servers, and GnuPG's local sockets. IPAddressAllow= in a drop-in narrows it.
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
"""


def unit_name(job: Job) -> str:
    """The template's name without its ending, for example ``orgkey-drill@``."""
    return "orgkey@" if job.stays else f"orgkey-{job.name}@"


def files() -> dict[str, str]:
    """All files, by their name in ``infra/schedule/systemd``."""
    made = {f"{unit_name(job)}.service": _service(job) for job in JOBS}
    made |= {f"{unit_name(job)}.timer": _timer(job) for job in TIMED}
    made["orgkey.sysusers"] = (
        HEAD.replace(" Change what it says with a drop-in.", "")
        + 'u orgkey - "Org Key escrow" /var/lib/orgkey -\n'
    )
    return made


def command(job: Job) -> str:
    """The value of ``ExecStart=``."""
    call = f"{ORGKEY} {' '.join(job.command)} --config {CONFIG}"
    options = " ".join(job.options)
    if job.name == "status":
        return f"{call} {options} ${{RUNTIME_DIRECTORY}}/orgkey.prom"
    if job.name == "report":
        # Every report is a new file: `orgkey` overwrites none. Doubled: $ and % are systemd's own.
        name = "${STATE_DIRECTORY}/report-$$(date -u +%%Y%%m%%dT%%H%%M%%SZ).zip"
        return f"/bin/sh -c 'exec {call} {options} \"{name}\"'"
    return f"{call} {options}".rstrip()


def _service(job: Job) -> str:
    return (
        HEAD
        + f"""[Unit]
Description=Org Key of %i: {job.about}
Wants=network-online.target
After=network-online.target
"""
        + _limit(job)
        + f"""
[Service]
Type={"exec" if job.stays else "oneshot"}
User=orgkey
Group=orgkey
ExecStart={command(job)}
{_places(job)}
# What this job needs, and nothing else: root's files, each readable as
# $CREDENTIALS_DIRECTORY/FOLDER_FILE.
{_credentials(job)}
{_restart(job)}
TimeoutStopSec={STOP_SECONDS}
KillMode=mixed

{_HARDENING}"""
        + ("\n[Install]\nWantedBy=multi-user.target\n" if job.stays else "")
    )


def _limit(job: Job) -> str:
    if job.stays:
        return "StartLimitIntervalSec=0\n"
    return (
        f"# {job.tries} tries, then the next turn of the timer.\n"
        f"StartLimitIntervalSec={job.all_tries_seconds}\nStartLimitBurst={job.tries}\n"
    )


def _places(job: Job) -> str:
    lines = ["StateDirectory=orgkey/%i", "StateDirectoryMode=0700"]
    if job.name == "watch":
        lines.append(f"ReadWritePaths=-{INBOX}")
    if job.name == "status":
        lines += [
            "# For node-exporter, and kept between two runs.",
            "RuntimeDirectory=orgkey/%i",
            "RuntimeDirectoryMode=0755",
            "RuntimeDirectoryPreserve=yes",
        ]
    return "\n".join(lines)


def _credentials(job: Job) -> str:
    return "\n".join(f"LoadCredential={name}:/etc/orgkey/credentials/%i/{name}" for name in job.logins)


def _restart(job: Job) -> str:
    lines = [
        "# Tried again: what may succeed later (docs/exit-codes.md, the column retry?). Never the rest.",
        # A service that somebody's signal ended comes back; `systemctl stop` still stops it.
        f"Restart={'always' if job.stays else 'on-failure'}",
        f"RestartSec={job.wait_seconds}",
        f"RestartPreventExitStatus={' '.join(map(str, FINAL))}",
    ]
    if job.stays:
        lines.append(f"SuccessExitStatus={int(Code.INTERRUPTED)}")
    else:
        lines.append(f"TimeoutStartSec={job.run_seconds}")
    return "\n".join(lines)


def _timer(job: Job) -> str:
    return (
        HEAD
        + f"""[Unit]
Description=Org Key of %i, by the clock: {job.about}

[Timer]
OnCalendar={job.calendar}
RandomizedDelaySec={job.spread_seconds}
# A run that was missed while the host was off is made up for.
Persistent=yes

[Install]
WantedBy=timers.target
"""
    )
