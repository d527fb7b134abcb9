"""The .deb where systemd runs: its jobs are set up, it is installed again, removed, and brought back."""

from __future__ import annotations

from tools.machine import by_hand, confinement, guide, jobs
from tools.machine.estate import Estate
from tools.machine.nspawn import Machine
from tools.schedule.jobs import DRILL, TIMED

APT = "DEBIAN_FRONTEND=noninteractive apt-get -q -o Dpkg::Use-Pty=0"
FILE = "/dist/orgkey-escrow_*.deb"
UNITS = guide.ROOT / "infra" / "schedule" / "systemd"
WATCH = "orgkey@pgp1.service"
TIMERS = " ".join(f"orgkey-{job.name}@pgp1.timer" for job in TIMED)
AT_WORK = "systemctl list-units --no-legend --no-pager --state=active,activating,reloading,failed 'orgkey*'"


def run(machine: Machine, estate: Estate) -> None:
    """A host that has the program as a package."""
    transcript, server = machine.transcript, estate.servers["pgp1"]
    transcript.chapter("The .deb is installed by apt")
    machine.type(f"{APT} install --yes {FILE}")
    machine.type("orgkey --version; id orgkey; ls -ld /etc/orgkey /etc/orgkey/credentials")
    told = machine.type("systemctl list-unit-files --no-legend --no-pager 'orgkey*'")
    found = {words[0]: words[1] for words in map(str.split, told.splitlines())}
    wanted = {path.name for path in UNITS.iterdir() if path.suffix != ".sysusers"}
    transcript.check(set(found) == wanted, f"systemd knows the {len(wanted)} units of infra/schedule", told)
    transcript.check(set(found.values()) <= {"disabled", "static"}, "none of them is enabled", told)

    by_hand.set_up(machine, estate, packaged=True)
    by_hand.enable(machine, estate)
    jobs.each(machine, estate)

    transcript.chapter("It is installed again, as apt does it for another version")
    before, begun = _process(machine), len(server.heard())
    machine.type(f"{APT} install --yes --reinstall {FILE}")
    transcript.check(_process(machine) not in (before, 0), "watch is at work, in another process")
    told = machine.type(f"systemctl is-active {TIMERS}")
    transcript.check(set(told.split()) == {"active"}, f"all of the {len(TIMED)} timers go on", told)
    transcript.until("watch says that the gate is good", lambda: "/watch" in server.heard()[begun:], 120)

    transcript.chapter("It is removed while all of that is enabled")
    machine.type(f"{APT} remove --yes orgkey-escrow")
    told = machine.type(AT_WORK)
    transcript.check(not told, "no unit is at work, and none has failed", told)
    told = machine.type("find /proc -maxdepth 1 -user orgkey; find /etc/systemd -name 'orgkey*'")
    transcript.check(not told, "there is no process of its user, and no unit is enabled", told)
    machine.type("ls /opt/orgkey", code=2)
    told = machine.type("ls /etc/orgkey /etc/orgkey/credentials/pgp1 /var/lib/orgkey/pgp1")
    transcript.check(
        "pgp1.toml" in told and "driller" in told and server.host.fingerprint in told,
        "configuration, credentials and state are there",
        told,
    )

    transcript.chapter("It is installed once more, and enabled: its jobs go on where they were")
    begun = len(server.heard())
    machine.type(f"{APT} install --yes {FILE}")
    transcript.check(not machine.type(AT_WORK), "nothing starts by itself")
    machine.type(f"systemctl enable --now {WATCH} {TIMERS}")
    transcript.until("watch says that the gate is good", lambda: "/watch" in server.heard()[begun:], 120)
    jobs.passes(machine, server, DRILL)
    confinement.no_secret_was_told(machine, estate)


def _process(machine: Machine) -> int:
    return int(machine.show(WATCH, "MainPID")["MainPID"])
