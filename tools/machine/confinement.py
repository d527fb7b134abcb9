"""What the units may do, seen from outside; and that the README's drop-ins do what it says."""

from __future__ import annotations

import re

from tests.e2e.leaks import Searcher
from tests.support import openpgp_writer
from tools.machine import guide
from tools.machine.estate import Estate
from tools.machine.jobs import drop_in, passes, remove, service
from tools.machine.nspawn import Machine
from tools.machine.transcript import Unexpected
from tools.schedule.jobs import DRILL, TIMED


def seen(machine: Machine) -> None:
    """A running unit's rights."""
    transcript = machine.transcript
    transcript.chapter("What the units may do")
    readme = guide.SCHEDULE.read_text()
    stated = re.search(r"`systemd-analyze security` gives (\S+) of 10", readme)
    assert stated
    for unit in ("orgkey@pgp1.service", *(service(job.name) for job in TIMED)):
        told = machine.ask(f"systemd-analyze security --no-pager {unit}").stdout
        level = re.search(r"Overall exposure level for \S+: ([\d.]+)", told)
        transcript.check(
            level and level[1] == stated[1], f"{unit} is exposed by {stated[1]} of 10", told[-300:]
        )
    told = machine.type(
        "grep -E '^(Uid|CapPrm|CapBnd|NoNewPrivs|Seccomp):'"
        " /proc/$(systemctl show -P MainPID orgkey@pgp1)/status"
    )
    held = dict(re.findall(r"^(\w+):\s+(\S+)", told, re.MULTILINE))
    transcript.check(held.pop("Uid") != "0", "watch does not run as root")
    without = {"CapPrm": "0" * 16, "CapBnd": "0" * 16, "NoNewPrivs": "1", "Seccomp": "2"}
    transcript.check(
        held == without, "it has no right, can get none, and its system calls are filtered", told
    )
    told = machine.type("grep -E '^Vm(Lck|RSS)' /proc/$(systemctl show -P MainPID orgkey@pgp1)/status")
    if "VmLck:\t       0 kB" not in told:
        transcript.check(True, "its memory is locked")
    else:
        transcript.done(
            "NOT SEEN: that its memory is locked; this host lets nobody raise a limit (CAP_SYS_RESOURCE)"
        )
    told = machine.type(
        "findmnt --noheadings --task $(systemctl show -P MainPID orgkey@pgp1) -o TARGET,FSTYPE,OPTIONS"
    )
    mounts = {line.split()[0].lstrip("├─└│ "): line.split()[-1].split(",") for line in told.splitlines()}
    writable = {
        place
        for place in ("/", "/etc", "/var/lib/orgkey/pgp1", "/srv/orgkey/pgp1/inbox")
        if "rw" in mounts.get(place, ())
    }
    transcript.check(
        writable == {"/var/lib/orgkey/pgp1", "/srv/orgkey/pgp1/inbox"},
        "it writes to its state and its inbox",
        told,
    )
    machine.type("ls -l /run/credentials/orgkey@pgp1.service")
    inside = "nsenter --mount --target $(systemctl show -P MainPID orgkey@pgp1)"
    told = machine.type(f"{inside} runuser -u orgkey -- ls /run/credentials")
    transcript.check(
        told.split() == ["orgkey@pgp1.service"],
        "it sees its own credentials, and not the other server's",
        told,
    )
    machine.type("runuser -u nobody -- ls /run/credentials/orgkey@pgp1.service", code=2)
    machine.type("runuser -u orgkey -- cat /etc/orgkey/credentials/pgp1/writer/aws", code=1)


def drop_ins(machine: Machine, estate: Estate) -> None:
    """The two that the README shows."""
    transcript, server = machine.transcript, estate.servers["pgp1"]
    text = guide.section(guide.SCHEDULE, "systemd")
    transcript.chapter("Credentials encrypted to the host, by the README's drop-in")
    encrypt = re.search(r"`(systemd-creds encrypt\s+--name=driller_aws aws\s+\S+)`", text)
    assert encrypt
    machine.type("install -d -m 700 /etc/orgkey/encrypted /etc/orgkey/encrypted/pgp1")
    machine.type("install -d -m 700 /etc/orgkey/encrypted/pgp1/driller /etc/orgkey/encrypted/pgp1/alarms")
    for folder in ("driller", "alarms"):
        kept = f"/etc/orgkey/credentials/pgp1/{folder}"
        for name in machine.ask(f"ls {kept}").stdout.split():
            line = " ".join(encrypt[1].split()).replace("driller_aws aws", f"{folder}_{name} {name}")
            machine.type(line.replace("driller/aws", f"{folder}/{name}"), folder=kept)
    drop_in(
        machine, "orgkey-drill@.service", "credentials", guide.block(text, "ini", "LoadCredentialEncrypted")
    )
    machine.type("mv /etc/orgkey/credentials/pgp1/driller /root/moved")
    passes(machine, server, DRILL)
    machine.type("mv /root/moved /etc/orgkey/credentials/pgp1/driller")
    remove(machine, "orgkey-drill@.service", "credentials")

    transcript.chapter("Starts by hand count as tries")
    unit = service("drill")
    refused = "too often"
    for _ in range(DRILL.tries + 1):
        if refused in machine.type(f"systemctl start {unit}", code=None):
            break
    told = machine.show(unit, "Result")
    transcript.check(told == {"Result": "start-limit-hit"}, f"not more than {DRILL.tries} in a while", told)
    (line,) = (line for line in guide.typed(text) if line.startswith("systemctl reset-failed"))
    machine.type(line)
    passes(machine, server, DRILL)
    machine.type(line)

    transcript.chapter("The network narrowed, by the README's drop-in")
    narrowed = guide.block(text, "ini", "IPAddressAllow")
    drop_in(machine, "orgkey-drill@.service", "network", narrowed)
    passes(machine, server, DRILL)
    drop_in(machine, "orgkey-drill@.service", "network", narrowed.replace("localhost ", ""))
    machine.type(f"systemctl start {unit}", code=None)
    told = machine.show(unit, "ExecMainStatus")
    transcript.check(
        told == {"ExecMainStatus": "20"}, "without localhost among them, it reaches nothing", told
    )
    remove(machine, "orgkey-drill@.service", "network")
    machine.type(f"systemctl stop {unit}; systemctl reset-failed {unit}")


def no_secret_was_told(machine: Machine, estate: Estate) -> None:
    """The journal of everything that has happened."""
    transcript = machine.transcript
    transcript.chapter("No secret was told")
    secrets = {
        f"{name}/{what}": data.strip()
        for name, server in estate.servers.items()
        for what, data in server.host.credentials().items()
        if not what.startswith("alarms")
    }
    aws = {what: data for what, data in secrets.items() if what.endswith("aws")}
    keys = {what: re.search(rb"secret_access_key *= *(\S+)", data) for what, data in aws.items()}
    if not all(keys.values()):
        raise Unexpected(f"no key in {keys}")
    secrets |= {what: found[1] for what, found in keys.items() if found}
    secrets["passphrase"] = openpgp_writer.PASSPHRASE
    journal = machine.journal().encode()
    leaks = Searcher(secrets).search(journal, "the journal")
    transcript.check(
        not leaks, f"none of {len(secrets)} secrets is in the journal's {len(journal)} bytes", leaks
    )
