"""Each process of a fleet has the logins of one configuration, as the servers and the kernel see it."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.devstack.kms_member import KmsServer
from pipeline.devstack.s3 import S3Server
from tests.support import leftovers
from tests.support.commandline import KEYS, ORGKEY, Desk, end_gpg, environment, fingerprint_of, gpg
from tests.support.watching import Watch, open_files

if TYPE_CHECKING:
    from tests.conftest import Place
    from tests.support.local_stack import Stack

MEMBERS = {"berlin": "ed25519", "paris": "nistp256", "rome": "nistp384"}
ROLES = ("writer", "driller", "auditor")
ALSO_AT_S3 = (*ROLES, "retention")
SECRET = re.compile(rb"fleet-secret-[a-z]+-[a-z]+-[0-9a-f]{16}")
SERVERS = ("vault", "s3", "kms")


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """A stack whose S3 writes an access log, as its Vault writes an audit log; its KMS knows all keys."""
    from tests.support.local_stack import Stack

    real_s3, real_kms = S3Server.command, KmsServer.command

    def s3_command(self: S3Server, program: Path, port: int) -> tuple[list[str], dict[str, str]]:
        argv, env = real_s3(self, program, port)
        return [argv[0], "--access-log", str(self.layout.root / "access.log"), *argv[1:]], env

    def kms_command(self: KmsServer, program: Path, port: int) -> tuple[list[str], dict[str, str]]:
        argv, env = real_kms(self, program, port)
        callers = json.loads(Path(argv[-1]).read_text())
        callers |= {f"{member}-{role}": [role] for member in MEMBERS for role in ALSO_AT_S3}
        Path(argv[-1]).write_text(json.dumps(callers))
        return argv, env

    monkeypatch.setattr(S3Server, "command", s3_command)
    monkeypatch.setattr(KmsServer, "command", kms_command)
    directory = leftovers.directory("logged-")
    made = Stack(directory / "stack")
    try:
        made.up()
        yield made
    finally:
        made.down(wipe=True)


def give_logins(stack: Stack, folder: Path, member: str) -> None:
    """Give a member, for each role, an AppRole and an S3 key of its own: both have names of the member's."""
    vault = stack.vault("root")
    for role in ALSO_AT_S3:
        own = folder / role
        own.mkdir(parents=True)
        key = f"fleet-secret-{member}-{role}-{secrets.token_hex(8)}"
        stack._servers["s3"]._user(stack.endpoint("s3"), f"{member}-{role}", key)  # type: ignore[attr-defined]
        text = f"[default]\naws_access_key_id = {member}-{role}\naws_secret_access_key = {key}\n"
        files = {"aws-credentials": text}
        if role in ROLES:
            settings = vault.read(f"auth/approle/role/orgkey-{role}")["data"]
            path = f"auth/approle/role/{member}-{role}"
            vault.write_data(path, data={name: value for name, value in settings.items() if value})
            vault.write_data(f"{path}/custom-secret-id", data={"secret_id": key})
            role_id = vault.read(f"{path}/role-id")["data"]["role_id"]
            files |= {"vault-role-id": role_id, "vault-secret-id": key}
        for name, content in files.items():
            (own / name).write_text(content)
            (own / name).chmod(0o600)


def admit(stack: Stack) -> None:
    """Let the members' keys do in the bucket what the stack's own key of the same role may."""
    root, bucket = stack.s3("root"), stack.state.bucket
    policy = json.loads(root.get_bucket_policy(Bucket=bucket)["Policy"])
    for statement in policy["Statement"]:
        named = statement["Principal"]["AWS"]
        named += [f"{member}-{role}" for member in MEMBERS for role in ALSO_AT_S3 if f"orgkey{role}" in named]
    root.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))


@dataclass
class WatchedFleet:
    """A fleet whose every connection is seen.

    Attributes:
        stack: The servers.
        folder: The configurations.
        state: The state directory.
        watch: What was seen of processes.
        ways: The addresses at which each member reaches the servers.
    """

    stack: Stack
    folder: Path
    state: Path
    watch: Watch
    ways: dict[str, dict[str, str]]

    def run(self, *words: str) -> tuple[dict[str, Any], set[str], set[str]]:
        """Run a command for all.

        Returns:
            What it said; which secrets were in the memory of the fleet's own process while members ran, and
            which files that had open.
        """
        line = [*ORGKEY, "fleet", *words, "--configs", f"{self.folder}/*.toml", "--jobs", "3", "--json"]
        known = set(self.watch.processes)
        with subprocess.Popen(
            [*line, "--state-dir", str(self.state)], cwd=self.folder, env=environment(self.folder),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        ) as child:  # fmt: skip
            held, opened = set[str](), set[str]()
            while True:
                opened |= open_files(child.pid)
                if known != set(self.watch.processes):
                    known = set(self.watch.processes)
                    held |= self.watch.in_memory(child.pid)
                try:
                    out, err = child.communicate(timeout=0.2)
                    break
                except subprocess.TimeoutExpired:
                    continue
            assert child.pid not in self.watch.processes, "the fleet's own process contacts nobody"
        assert child.returncode == 0, (out, err)
        return json.loads(out), held, opened

    def identities(self) -> dict[str, set[str]]:
        """Whom each address logged in as, by the servers' own logs."""
        found: dict[str, set[str]] = defaultdict(set)
        for line in self.stack.layout.audit.read_text().splitlines():
            entry = json.loads(line)
            name = entry.get("auth", {}).get("metadata", {}).get("role_name")
            if name:
                found[entry["request"]["remote_address"]].add(f"vault {name}")
        for line in (self.stack.layout.root / "access.log").read_text().splitlines()[1:]:
            _, _, _, _, address, name, *_ = line.split()
            if name != "-":
                found[address].add(f"s3 {name}")
        return found


@pytest.fixture
def watched(logged: Stack, fresh_place: Callable[[Stack], Place], tmp_path: Path) -> Iterator[WatchedFleet]:
    if os.geteuid() != 0:
        pytest.skip("only root sees what a process that protects its memory has open")
    folder = tmp_path / "configs"
    folder.mkdir()
    watch, client = Watch(SECRET, b"fleet-secret-"), logged.s3("root")
    with ExitStack() as relays:
        ways: dict[str, dict[str, str]] = {}
        for member in MEMBERS:
            give_logins(logged, tmp_path / "logins" / member, member)
        admit(logged)
        for member, key in MEMBERS.items():
            (tmp_path / member).mkdir()
            desk = Desk(fresh_place(logged), tmp_path / member, key=key)
            prefix = f"{desk.place.s3_prefix}-backups"
            for name in ("one.pgp", "two.pgp"):
                data = encrypted(key, name.encode() * 10_000)
                client.put_object(Bucket=logged.state.bucket, Key=f"{prefix}/{name}", Body=data)
            desk.edit(str(logged.layout.identities), str(tmp_path / "logins" / member))
            desk.edit("[policy]\n", "[policy]\ncall_seconds = 60\n")  # looking at a process takes its time
            ways[member] = {}
            for server in SERVERS:
                url = relays.enter_context(watch.relay(f"{member} {server}", logged.endpoint(server)))
                desk.edit(f'"{logged.endpoint(server)}"', f'"{url}"')
                ways[member][server] = url
            with desk.config.open("a") as config:
                config.write(
                    f'\n[backups.nightly]\nlocation = "s3://{logged.state.bucket}/{prefix}/"\n'
                    f'endpoint_url = "{ways[member]["s3"]}"\npath_style = true\n'
                )
            desk.state = tmp_path / "state"
            desk.escrow()
            desk.config.rename(folder / f"{member}.toml")
        yield WatchedFleet(logged, folder, tmp_path / "state", watch, ways)


def encrypted(key: str, data: bytes) -> bytes:
    """A backup as the server of this key makes one."""
    home = leftovers.directory("server-", memory=True)  # its agent's socket has a short name there
    try:
        gpg(home, "--import", str(KEYS / f"{key}-unprotected.asc"))
        options = ("--trust-model", "always", "--recipient", fingerprint_of(key))
        made: bytes = gpg(home, *options, "--encrypt", stdin=data).stdout
        return made
    finally:
        end_gpg(home)


def test_a_process_logs_in_as_its_own_configuration_alone(watched: WatchedFleet, tmp_path: Path) -> None:
    """From outside: what each process said at the servers, had open, and had in its memory."""
    watch = watched.watch
    escrows = set(watch.processes)  # each by a process of one configuration
    for words in (("status",), ("doctor",), ("drill",), ("backups",)):
        before = set(watch.processes)
        found, held, opened = watched.run(*words)
        assert found["verdicts"] == {"good": 3}, found
        assert held == set()
        assert not any(name.startswith((str(tmp_path / "logins"), str(watched.folder))) for name in opened)
        new = set(watch.processes) - before
        assert {way.split()[0] for pid in new for way in watch.processes[pid].ways} == set(MEMBERS)
        assert len(new) >= len(MEMBERS)
    names = watched.identities()
    everybody = set[str]()
    for pid in set(watch.processes) - escrows:
        seen = watch.processes[pid]
        (member,) = {way.split()[0] for way in seen.ways}
        own = {f"{server} {member}-{role}" for server in ("vault", "s3") for role in ALSO_AT_S3}
        assert names[seen.address] <= own, (pid, seen, names[seen.address])
        everybody |= names[seen.address]
        assert all(secret.startswith(f"fleet-secret-{member}-") for secret in seen.secrets), seen
        others = [f"{tmp_path}/logins/{other}/" for other in MEMBERS if other != member]
        others += [str(watched.folder / f"{other}.toml") for other in MEMBERS if other != member]
        assert not any(name.startswith(tuple(others)) for name in seen.files), seen
    # The look is not blind: each member's identities were met at both servers, and its secrets in memory.
    for member in MEMBERS:
        assert {f"vault {member}-driller", f"s3 {member}-driller"} <= everybody
        held = set[str]().union(*(seen.secrets for seen in watch.processes.values()))
        assert any(secret.startswith(f"fleet-secret-{member}-driller-") for secret in held)
    # Nobody else came to the servers by these ways.
    known = {seen.address for seen in watch.processes.values()}
    assert {address for address in names if address.startswith("127.77.")} <= known
