"""The jobs, run by their units: each to its end, by the clock, and for two servers at once."""

from __future__ import annotations

from tools.machine import by_hand, guide
from tools.machine.estate import Estate, Server
from tools.machine.nspawn import Machine
from tools.schedule.jobs import TIMED, Job


def service(job: str, server: str = "pgp1") -> str:
    """The unit of a job."""
    return f"orgkey-{job}@{server}.service"


def passes(machine: Machine, server: Server, job: Job) -> None:
    """Start a job's unit, wait for its end, and look at what it left.

    Args:
        machine: Where.
        server: Whose.
        job: Which one.
    """
    transcript, unit, ping = machine.transcript, service(job.name, server.name), job.ping or job.name
    before = len(server.heard())
    machine.type(f"systemctl start {unit}")
    told = machine.show(unit, "Result", "ExecMainStatus", "NRestarts")
    transcript.check(
        told == {"Result": "success", "ExecMainStatus": "0", "NRestarts": "0"}, f"{unit} ended with 0", told
    )
    heard = [path for path in server.heard()[before:] if path.startswith(f"/{ping}")]
    transcript.check(heard == [f"/{ping}/start", f"/{ping}"], "its start and its end were heard", heard)
    # Of this run: a unit's journal has all of them.
    journal = machine.ask(
        f"journalctl -o cat _SYSTEMD_INVOCATION_ID=$(systemctl show -P InvocationID {unit})"
    ).stdout
    transcript.check(" warning: " not in journal, "it warned of nothing", journal)


def each(machine: Machine, estate: Estate) -> None:
    """Every job once."""
    transcript, server = machine.transcript, estate.servers["pgp1"]
    transcript.chapter("Each job, started by its unit")
    machine.type(f"systemctl reset-failed {' '.join(service(job.name) for job in TIMED)}")
    for job in TIMED:
        passes(machine, server, job)
    machine.type(f"journalctl --no-pager -o cat -u {service('drill')}")
    transcript.check("gnupg" in machine.journal(service("drill")), "GnuPG took part in the drill's proofs")
    machine.type("ls -l /var/lib/orgkey/pgp1")
    told = machine.type("runuser -u nobody -- grep ^orgkey_gate_ok /run/orgkey/pgp1/orgkey.prom")
    transcript.check(
        told.rstrip().endswith(" 1.0"), "another user, as node-exporter is, reads a good gate", told
    )


def by_the_clock(machine: Machine, estate: Estate) -> None:
    """A run that was missed while the host was off."""
    transcript, server = machine.transcript, estate.servers["pgp1"]
    transcript.chapter("The host was off when a job's time came: its timer makes up for it")
    timer = "orgkey-verify@pgp1.timer"
    machine.type(f"systemctl stop {timer}")
    machine.type(f"touch -d '2 days ago' /var/lib/systemd/timers/stamp-{timer}")
    drop_in(machine, "orgkey-verify@.timer", "at-once", "[Timer]\nRandomizedDelaySec=0\n")
    before = len(server.heard())
    machine.type(f"systemctl start {timer}")
    transcript.until("verify has run", lambda: server.heard()[before:].count("/verify"))
    remove(machine, "orgkey-verify@.timer", "at-once")


def two_servers(machine: Machine, estate: Estate) -> None:
    """A second PGP Encryption Server on the same host."""
    transcript, second = machine.transcript, estate.servers["pgp2"]
    transcript.chapter("A second PGP Encryption Server on the same host")
    lines = guide.typed(guide.section(guide.SCHEDULE, "Credentials"))
    lines += [
        line
        for line in guide.typed(guide.section(guide.SCHEDULE, "systemd"))
        if line.startswith("install") and "pgp1" in line and "keypair" not in line
    ]
    for line in lines:
        machine.type(line.replace("pgp1", "pgp2"), folder=f"{by_hand.CHECKOUT}/infra/schedule")
    by_hand.fill(machine, second)
    machine.type("install -m 600 -o orgkey /root/pgp2/keypair.asc /srv/orgkey/pgp2/inbox/")
    machine.type("systemctl enable --now orgkey@pgp2.service")
    by_hand.await_escrow(machine, second)
    machine.type(f"systemctl start {service('backups', second.name)}")
    by_hand.await_gate(machine, second)
    before = {name: len(server.heard()) for name, server in estate.servers.items()}
    machine.type(f"systemctl start {service('drill', 'pgp1')} {service('drill', 'pgp2')}")
    for name, server in estate.servers.items():
        heard = [path for path in server.heard()[before[name] :] if path.startswith("/drill")]
        transcript.check(
            heard == ["/drill/start", "/drill"], f"the drill of {name} was heard at its own address", heard
        )
    told = machine.type("ls /var/lib/orgkey/pgp1 /var/lib/orgkey/pgp2")
    for server in estate.servers.values():
        transcript.check(
            told.count(server.host.fingerprint) == 1, f"the state of {server.name} lies in its own folder"
        )


def drop_in(machine: Machine, template: str, name: str, text: str) -> None:
    """Add a drop-in to a template's units."""
    place = f"/etc/systemd/system/{template}.d/{name}.conf"
    machine.put(place, text.encode())
    machine.transcript.typed("machine#", f"cat > {place}; systemctl daemon-reload")
    machine.transcript.answered(text)
    machine.ask("systemctl daemon-reload")


def remove(machine: Machine, template: str, name: str) -> None:
    """Take it away again."""
    machine.type(f"rm /etc/systemd/system/{template}.d/{name}.conf; systemctl daemon-reload")
