"""Setting a host up: line by line what the how-to and the README of infra/schedule say."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from pipeline.core.errors import Code
from tools.machine import guide
from tools.machine.estate import Estate, Server
from tools.machine.nspawn import Machine

CHECKOUT = "/root/orgkey-escrow"
# What of a checkout is installed or copied from.
TAKEN = (
    "pipeline", "infra", "docs", "pyproject.toml", "README.md", "LICENSE", "sbom.cdx.json",
    "requirements-build.lock", "requirements-production.lock",
)  # fmt: skip
# The machine reaches no index of packages.
OFFLINE = b"[global]\nno-index = true\nfind-links = /packages\ndisable-pip-version-check = true\n"


def copy_checkout(there: Path) -> None:
    """Lay this checkout somewhere, as far as anything is installed from it.

    Args:
        there: A folder that does not exist yet.
    """
    there.mkdir(parents=True)
    for name in TAKEN:
        source = guide.ROOT / name
        if source.is_dir():
            shutil.copytree(source, there / name, ignore=shutil.ignore_patterns("__pycache__"), symlinks=True)
        else:
            shutil.copy(source, there)


def install(machine: Machine) -> None:
    """The program, as docs/how-to.md says."""
    machine.transcript.chapter("The program is installed as docs/how-to.md says")
    copy_checkout(machine.root / CHECKOUT.removeprefix("/"))
    machine.put("/etc/pip.conf", OFFLINE)
    machine.type("systemctl --version | head -1; systemctl is-system-running; cat /etc/debian_version")
    for line in guide.typed(guide.section(guide.HOW_TO, "Run it unattended"))[:4]:
        machine.type(f"{line} --quiet" if "pip install" in line else line, folder=CHECKOUT)
    machine.type("/opt/orgkey/bin/orgkey --version")


def set_up(machine: Machine, estate: Estate, *, packaged: bool = False) -> None:
    """Users, units, folders, credentials and configuration, line by line; then the doctor.

    Args:
        machine: Where.
        estate: Whose.
        packaged: Whether a package was installed.
    """
    machine.transcript.chapter("A host is set up as infra/schedule/README.md says")
    server = estate.servers["pgp1"]
    text = guide.section(guide.SCHEDULE, "systemd")
    lines, folder, units = guide.typed(text), f"{CHECKOUT}/infra/schedule", "/etc/systemd/system"
    doctor = next(number for number, line in enumerate(lines) if line.startswith("systemd-run"))
    begin = 0
    if packaged:
        stated = re.search(r"begin with the fifth line,\s+in\s+`(\S+)`", text)
        assert stated
        begin, folder, units = 4, stated[1], "/usr/lib/systemd/system"
    for line in lines[begin:doctor]:
        machine.type(line, folder=folder)
    for line in guide.typed(guide.section(guide.SCHEDULE, "Credentials")):
        machine.type(line)
    fill(machine, server)
    told = machine.type(f"systemd-analyze verify --man=no {units}/orgkey*")
    machine.transcript.check(not told, "systemd-analyze has no word about the units", told)
    told = machine.type(lines[doctor])
    machine.transcript.check("FAIL" not in told, "the doctor, asked as a unit, finds nothing wrong", told)


def fill(machine: Machine, server: Server) -> None:
    """Put the site's own into the configuration and the credentials."""
    server.configure(machine)
    server.hand_over(machine)
    server.export(machine)
    machine.transcript.done(f"{server.name}: the site's names, credentials and a backup are put in")


def await_escrow(machine: Machine, server: Server, begun: int = 0) -> None:
    """Wait for watch's round that escrows: of the gate only a backup that was read is missing.

    Args:
        machine: Where.
        server: Whose.
        begun: How many pings were heard before.
    """
    broken = f"/watch/{int(Code.STALE)}"
    machine.transcript.until(
        f"{server.name}: watch has escrowed, and the gate is broken",
        lambda: broken in server.heard()[begun:],
        120,
    )


def await_gate(machine: Machine, server: Server) -> None:
    """Have watch begin another round, and wait for its end."""
    begun = len(server.heard())
    machine.type(f"systemctl restart orgkey@{server.name}.service")  # else it looks in five minutes
    machine.transcript.until(
        f"{server.name}: watch says that the gate is good", lambda: "/watch" in server.heard()[begun:], 120
    )


def enable(machine: Machine, estate: Estate) -> None:
    """What the README says when the doctor is content."""
    transcript, server = machine.transcript, estate.servers["pgp1"]
    transcript.chapter("An export is dropped, and everything is enabled")
    lines = guide.typed(guide.section(guide.SCHEDULE, "systemd"))
    for line in lines[lines.index("systemctl daemon-reload") - 1 :]:
        if line.startswith("systemd-run"):
            break
        if line.startswith("journalctl"):
            await_escrow(machine, server)
        machine.type(line, folder="/root/pgp1")
    await_gate(machine, server)
    machine.type("systemctl list-timers --no-pager 'orgkey*'")
