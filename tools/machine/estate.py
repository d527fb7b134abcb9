"""What a machine works with: the stack's servers, listeners for pings, and two PGP Encryption Servers."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import tomlkit

from tests.conftest import Place
from tests.e2e.scheduled import LOGINS, SCHEDULE, Host
from tests.support.commandline import export_of
from tests.support.listener import Listener, listening
from tests.support.local_stack import Stack
from tools.machine.nspawn import Machine

SERVERS = {"pgp1": "ed25519", "pgp2": "rsa2048"}
RECORDS = ("records", "orgkey")  # where infra/vault lets the logins reach
FOLDERS = (*LOGINS, "export", "alarms")


@dataclass(frozen=True)
class Server:
    """A PGP Encryption Server, as its operator knows it.

    Attributes:
        host: Its configuration and credentials, as files of this process.
        listener: Hears its jobs' pings.
    """

    host: Host
    listener: Listener

    @property
    def name(self) -> str:
        """The units' instance."""
        return self.host.instance

    def config(self, **key: str) -> bytes:
        """Its configuration, with the machine's paths.

        Args:
            key: Settings of ``[key]`` that differ.
        """
        document = tomllib.loads(self.host.config.read_text().replace(str(self.host.folder), ""))
        document["backups"]["nightly"]["location"] = f"/srv/backups/{self.name}"
        example = tomllib.loads((SCHEDULE / "escrow-host.toml.example").read_text())
        document["policy"] = example["policy"] | {"accept_single_loss": True}  # the stack has one path
        document["key"] |= key
        return tomlkit.dumps(document).encode()

    def configure(self, machine: Machine, **key: str) -> None:
        """Put its configuration into the machine's file, whose owner and rights stay."""
        (machine.root / f"etc/orgkey/{self.name}.toml").write_bytes(self.config(**key))

    def hand_over(self, machine: Machine) -> None:
        """Write its credentials into the folders that were made for them, and its backups."""
        told = self.host.folder / "etc/orgkey/credentials" / self.name
        for path in sorted(told.glob("*/*")):
            machine.put(
                f"/etc/orgkey/credentials/{self.name}/{path.parent.name}/{path.name}",
                path.read_bytes(),
                0o600,
            )
        machine.put(f"/srv/backups/{self.name}/1.pgp", (self.host.backups / "1.pgp").read_bytes())

    def export(self, machine: Machine) -> None:
        """Lay its export where its operator has it."""
        machine.put(f"/root/{self.name}/keypair.asc", export_of(self.host.key).read_bytes(), 0o600)

    def heard(self) -> list[str]:
        """The pings' paths so far."""
        return list(self.listener.paths)


@dataclass(frozen=True)
class Estate:
    """All of it.

    Attributes:
        stack: The servers that keep and seal.
        servers: By their names.
    """

    stack: Stack
    servers: dict[str, Server]


@contextmanager
def running(folder: Path) -> Iterator[Estate]:
    """Start the servers for the time of the block.

    Args:
        folder: A private folder that does not exist yet.
    """
    folder.mkdir(mode=0o700)
    stack = Stack(folder / "stack")
    stack.up()
    try:
        with listening() as first, listening() as second:
            made = {}
            for (name, key), listener in zip(SERVERS.items(), (first, second), strict=True):
                (folder / name).mkdir()
                host = Host(Place(stack, *RECORDS), folder / name, listener, instance=name, key=key)
                made[name] = Server(host, listener)
            yield Estate(stack, made)
    finally:
        stack.down(wipe=True)
