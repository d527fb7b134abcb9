"""The Ansible role of ``infra/ansible``: linted, and played against a machine over SSH, twice."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from tools.machine import by_hand, images
from tools.machine.estate import Estate, Server
from tools.machine.jobs import passes, service
from tools.machine.nspawn import Machine
from tools.machine.transcript import Unexpected
from tools.schedule.jobs import TIMED


def run(machine: Machine, estate: Estate) -> None:
    """A host that the role sets up."""
    transcript, server = machine.transcript, estate.servers["pgp1"]
    desk = Desk(machine, machine.root.parent / "desk", server)
    transcript.chapter("The Ansible role: lint")
    desk.type("ansible-lint --offline --profile production", desk.folder / "infra/ansible")

    transcript.chapter("It is played against a bare Debian, over SSH")
    recap = desk.play()
    transcript.check(recap["changed"] > 0, f"{recap['changed']} things were changed, none failed", recap)
    machine.type(
        "ls -l /opt; /opt/orgkey/bin/orgkey --version; ls -lA /etc/orgkey /etc/orgkey/credentials/pgp1"
    )
    machine.type("systemctl list-timers --no-pager 'orgkey*'")

    transcript.chapter("It is played again")
    recap = desk.play()
    transcript.check(recap["changed"] == 0, "nothing was changed", recap)

    transcript.chapter("What it has set up does its work")
    server.export(machine)
    machine.type("install -m 600 -o orgkey /root/pgp1/keypair.asc /srv/orgkey/pgp1/inbox/")
    begun = len(server.heard())
    machine.type("systemctl restart orgkey@pgp1.service")  # else it looks in five minutes
    by_hand.await_escrow(machine, server, begun)
    machine.type(f"systemctl start {service('backups')}")
    by_hand.await_gate(machine, server)
    for job in TIMED:
        passes(machine, server, job)

    transcript.chapter("A file is added to its credentials")
    before = machine.show("orgkey@pgp1.service", "MainPID")
    held = server.host.folder / "etc/orgkey/credentials/pgp1"
    (held / "alarms/notify-urls").write_text("# nobody yet\n")
    recap = desk.play()
    transcript.check(recap["changed"] == 2, "that file was written, and watch restarted; nothing else", recap)
    transcript.check(machine.show("orgkey@pgp1.service", "MainPID") != before, "watch is another process")


class Desk:
    """Where the role is played from: a checkout, a wheel, an inventory, a key for SSH.

    Args:
        machine: The one host of the inventory.
        folder: A private folder that does not exist yet.
        server: Whose jobs it is to run.
    """

    def __init__(self, machine: Machine, folder: Path, server: Server) -> None:
        self.folder = folder
        self._machine = machine
        self._server = server
        self._bin = images.ansible()
        by_hand.copy_checkout(folder)
        self._open_the_way()
        machine.transcript.typed("desk$", "make wheel")
        subprocess.run(
            [sys.executable, "-m", "build", "--no-isolation", "--wheel", folder],
            capture_output=True,
            check=True,
        )

    def type(self, command: str, folder: Path) -> str:
        """Type a line of shell at the desk; it must end with 0."""
        self._machine.transcript.typed("desk$", command)
        env = {
            "PATH": f"{self._bin}:{os.environ['PATH']}", "HOME": str(self.folder), "LANG": "C.UTF-8",
            "ANSIBLE_HOME": str(self.folder / ".ansible"), "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_PIPELINING": "1", "NO_COLOR": "1",
        }  # fmt: skip
        done = subprocess.run(
            ["bash", "-c", f"{command} 2>&1"],
            cwd=folder,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        self._machine.transcript.answered(done.stdout)
        if done.returncode:
            raise Unexpected(f"it ended with {done.returncode}\n{done.stdout[-4000:]}")
        return done.stdout

    def _open_the_way(self) -> None:
        """A key for SSH, which root of the machine lets in, and whom to expect there."""
        ssh = self.folder / "ssh"
        ssh.mkdir(mode=0o700)
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", ssh / "key"],
            check=True,
            capture_output=True,
        )
        self._machine.put("/root/.ssh/authorized_keys", (ssh / "key.pub").read_bytes(), 0o600)
        host = (self._machine.root / "etc/ssh/ssh_host_ed25519_key.pub").read_text()
        (ssh / "known").write_text(f"127.0.0.1 {host}")

    def _inventory(self) -> None:
        """The machine, and the server's configuration and credentials as they are now."""
        server = self._server
        config = self.folder / "pgp1.toml"
        config.write_bytes(server.config())
        credentials: dict[str, dict[str, str]] = {}
        for path in sorted((server.host.folder / "etc/orgkey/credentials/pgp1").glob("*/*")):
            credentials.setdefault(path.parent.name, {})[path.name] = path.read_text()
        self._machine.put("/srv/backups/pgp1/1.pgp", (server.host.backups / "1.pgp").read_bytes())
        host = {
            "ansible_host": "127.0.0.1",
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(self.folder / "ssh/key"),
            "ansible_ssh_common_args": f"-o UserKnownHostsFile={self.folder / 'ssh/known'}",
            "ansible_python_interpreter": "/usr/bin/python3",
            "orgkey_servers": [{"name": "pgp1", "config": str(config), "credentials": credentials}],
            "orgkey_packages": str(self._machine.lent["/packages"]),
            "orgkey_timers": [job.name for job in TIMED],
        }
        (self.folder / "inventory.json").write_text(json.dumps({"orgkey": {"hosts": {"escrow": host}}}))

    def play(self) -> dict[str, int]:
        """Play the role.

        Returns:
            How many tasks ended how.
        """
        self._inventory()
        told = self.type("ansible-playbook -i inventory.json infra/ansible/site.yml", self.folder)
        return {
            name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", told[told.rindex("PLAY RECAP") :])
        }
