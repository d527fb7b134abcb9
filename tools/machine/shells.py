"""A person on that host: the runbooks' shell, a command by hand, a rotation, a reboot."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time

from tools.machine import guide
from tools.machine.estate import Estate
from tools.machine.nspawn import Machine
from tools.machine.transcript import Unexpected

SHELL_SECONDS = 180.0


def runbook(machine: Machine, estate: Estate) -> None:
    """The shell that docs/runbooks/README.md opens, at a terminal."""
    transcript, server = machine.transcript, estate.servers["pgp1"]
    transcript.chapter("The runbooks' shell, as docs/runbooks/README.md opens it")
    page = guide.RUNBOOKS.read_text()
    site = guide.block(page, "text", "export ORGKEY_CONFIG=")
    for name, place in re.findall(r"`(ORGKEY_\w+)=(\S+)`", page):
        site = re.sub(rf"^export {name}=.*$", f"export {name}={place}", site, flags=re.MULTILINE)
    site = re.sub(r"^FPR=.*$", f"FPR={server.host.fingerprint}", site, flags=re.MULTILINE)
    site = re.sub(r"^BACKUPS=.*$", "BACKUPS=/srv/backups/pgp1", site, flags=re.MULTILINE)
    machine.put("/root/site.env", site.encode())
    transcript.answered(site)
    machine.type("install -m 640 -g orgkey site.env /etc/orgkey/")
    opened = guide.block(page, "text", "systemd-run --pty").strip()
    lines = guide.typed(guide.section(guide.RUNBOOKS, "Before you need them"))
    shown = _at_a_terminal(
        machine, opened, [*(f"{line}; echo ended: $?" for line in lines), "id -un", "exit 7"]
    )
    transcript.check(shown.count("ended: 0") == len(lines), "each of its lines ends with 0", shown)
    transcript.check(re.search(r"^orgkey\s*$", shown, re.MULTILINE), "it is the shell of orgkey")

    transcript.chapter("A command by hand, as infra/schedule/README.md has it")
    (line,) = (
        line for line in guide.typed(guide.section(guide.SCHEDULE, "systemd")) if " verify --config" in line
    )
    machine.type(line)


def rotation_and_reboot(machine: Machine, estate: Estate) -> None:
    """What is enabled comes back."""
    transcript, server = machine.transcript, estate.servers["pgp1"]
    transcript.chapter("After a rotation watch is restarted, and after a reboot everything is there again")
    machine.type("systemctl restart orgkey@pgp1")
    machine.type("journalctl --no-pager -o cat -u orgkey@pgp1 -n 4")
    begun = len(server.heard())
    transcript.until("watch is at work", lambda: "/watch" in server.heard()[begun:], 120)
    begun = len(server.heard())
    machine.reboot()
    transcript.until("watch is at work", lambda: "/watch" in server.heard()[begun:], 120)
    machine.type("systemctl list-timers --no-pager 'orgkey*'; systemctl --failed --no-pager --no-legend")


def _at_a_terminal(machine: Machine, command: str, answers: list[str]) -> str:
    """Run a line of shell at a terminal, and type further lines into it."""
    machine.transcript.typed("machine#", command)
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        machine.words("bash", "-c", command),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown, left, ends = b"", list(answers), time.monotonic() + SHELL_SECONDS
    while child.poll() is None or select.select([ours], [], [], 0)[0]:
        if time.monotonic() > ends:
            child.kill()
            raise Unexpected(f"the shell did not end:\n{shown.decode(errors='replace')}")
        if select.select([ours], [], [], 0.2)[0]:
            try:
                shown += os.read(ours, 4096)
            except OSError:  # the other side is closed
                break
        elif left and shown.endswith(b"$ "):  # a prompt: what is typed before it is lost
            os.write(ours, f"{left.pop(0)}\n".encode())
    os.close(ours)
    child.wait()
    text = re.sub(r"\x1b[\[\]][^a-zA-Z\\\x07]*[a-zA-Z\\\x07]", "", shown.decode(errors="replace")).replace(
        "\r", ""
    )
    machine.transcript.answered(text)
    return text
