"""A host with the jobs of `infra/schedule`, as far as that goes without systemd as the first process."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomlkit

from tests.support import confined, forkserver, shellcommand
from tests.support import openpgp_writer as writer
from tests.support.commandline import (
    KEYS,
    ROOT,
    SECONDS,
    Run,
    end_gpg,
    environment,
    export_of,
    fingerprint_of,
    gpg,
)
from tests.support.listener import Listener
from tools.schedule import unitfile
from tools.schedule.jobs import JOBS

if TYPE_CHECKING:
    from tests.conftest import Place

SCHEDULE = ROOT / "infra" / "schedule"
ORGKEY = Path(sys.executable).with_name("orgkey")
INSTANCE = "pgp1"
KEY = "ed25519"
LOGINS = ("writer", "driller", "auditor", "planner")
PINGED = tuple(dict.fromkeys(job.ping or job.name for job in JOBS))


def _moved(word: str, places: Mapping[str, str]) -> str:
    """A word with the paths of a host replaced by where they are here."""
    pattern = "|".join(map(re.escape, places))
    return re.sub(rf"(?:^|(?<= ))({pattern})", lambda match: places[match[1]], word)


class Host:
    """A host that is set up as the README of `infra/schedule` says.

    Args:
        place: Where the records go.
        folder: A private directory: all of the host's file system that matters.
        listener: Hears the pings.
        example: Which example its configuration is.
        instance: The name of its PGP Encryption Server.
        key: Whose Org Key that server has.
    """

    def __init__(
        self,
        place: Place,
        folder: Path,
        listener: Listener,
        example: str = "escrow-host.toml.example",
        *,
        instance: str = INSTANCE,
        key: str = KEY,
    ) -> None:
        self.place = place
        self.folder = folder
        self.listener = listener
        self.instance = instance
        self.key = key
        self.fingerprint = fingerprint_of(key)
        self.inbox = folder / "srv/orgkey" / instance / "inbox"
        self.state = folder / "var/lib/orgkey" / instance
        self.metrics = folder / "run/orgkey" / instance
        self.backups = folder / "srv/backups"
        for path in (self.inbox, self.state, self.metrics, self.backups, folder / "etc/orgkey"):
            path.mkdir(parents=True, mode=0o700)
        self._back_up()
        self.config = folder / "etc/orgkey" / f"{instance}.toml"
        self.write_config(self._document(tomllib.loads((SCHEDULE / example).read_text())))
        self._write_credentials()

    def _document(self, document: dict[str, Any]) -> dict[str, Any]:
        """An example with this place's servers; logins, pings and the kind of source stay what they are."""
        servers = tomllib.loads(self.place.config(self.fingerprint))
        document |= {name: servers[name] for name in ("key", "target", "holder", "path")}
        document["backups"] = {"nightly": {"location": str(self.backups)}}
        # Nobody has read it yet when the other jobs run.
        document["policy"].pop("max_newest_verify_age_days")
        if "source" in document:
            document["source"] |= {"path": str(self.inbox), "settle_seconds": 0.2}
        return document

    def _back_up(self) -> None:
        """The server writes a backup."""
        home = Path(tempfile.mkdtemp(prefix="server-"))  # short: the agent's socket is in it
        try:
            gpg(home, "--import", str(KEYS / f"{self.key}-unprotected.asc"))
            told = ("--trust-model", "always", "--recipient", self.fingerprint, "--encrypt")
            (self.backups / "1.pgp").write_bytes(gpg(home, *told, stdin=b"a backup").stdout)
        finally:
            end_gpg(home)
            shutil.rmtree(home)

    def write_config(self, document: Mapping[str, Any]) -> None:
        """Write the configuration."""
        self.config.write_text(tomlkit.dumps(document))
        self.config.chmod(0o640)

    def _write_credentials(self) -> None:
        layout = self.place.stack.layout
        for identity in LOGINS:
            self._credential(identity, "vault-role-id", layout.role_id(identity).read_bytes())
            self._credential(identity, "vault-secret-id", layout.secret_id(identity).read_bytes())
            if identity != "planner":
                self._credential(identity, "aws", layout.aws_credentials(identity).read_bytes())
        self._credential("export", "passphrase", writer.PASSPHRASE + b"\n")
        for job in PINGED:
            self._credential("alarms", f"ping-{job}", f"{self.listener.address}/{job}\n".encode())

    def _credential(self, folder: str, name: str, data: bytes) -> None:
        path = self.folder / "etc/orgkey/credentials" / self.instance / folder / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_bytes(data)
        path.chmod(0o600)

    def deliver(self) -> Path:
        """Somebody drops an export into the inbox."""
        path = self.inbox / "keypair.asc"
        path.write_bytes(export_of(self.key).read_bytes())
        path.chmod(0o600)
        return path

    def credentials(self) -> dict[str, bytes]:
        """All credentials, by the names that jobs read them under."""
        top = self.folder / "etc/orgkey/credentials" / self.instance
        return {f"{path.parent.name}_{path.name}": path.read_bytes() for path in top.glob("*/*")}

    def environment(self, credentials: Path, **more: str) -> dict[str, str]:
        """What every job is started with."""
        told = {"CREDENTIALS_DIRECTORY": str(credentials), "STATE_DIRECTORY": str(self.state)}
        return environment(self.folder, **told, **more)

    def run(self, name: str, words: list[str], env: Mapping[str, str]) -> Run:
        """Run a program to its end."""
        done = forkserver.run(
            words, cwd=os.sep, env=dict(env), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=SECONDS, start_new_session=True, check=False,
        )  # fmt: skip
        return Run((name,), done.returncode, done.stdout, done.stderr)

    def by_hand(self, call: str) -> Run:
        """Run what `systemd-run` is told to, with the credentials that it is told to load."""
        words = shlex.split(call)
        start = words.index("/opt/orgkey/bin/orgkey")
        loaded = [word.partition("=")[2] for word in words[:start] if word.startswith("LoadCredential=")]
        places = {"/opt/orgkey/bin/orgkey": str(ORGKEY), "/etc/orgkey": str(self.config.parent)}
        folder = self.loaded("by-hand", loaded)
        return self.run("by hand", [_moved(word, places) for word in words[start:]], self.environment(folder))

    def loaded(self, name: str, values: Iterable[str]) -> Path:
        """What ``LoadCredential=`` makes of the folders that it names: one flat folder."""
        made = self.folder / "run/credentials" / name
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True, mode=0o700)
        for value in values:
            prefix, _, place = value.replace("%i", self.instance).partition(":")
            for path in (self.folder / place.removeprefix("/")).iterdir():
                copy = made / f"{prefix}_{path.name}"
                copy.write_bytes(path.read_bytes())
                # An access list lets the unit's user read it, and shows as the group's right.
                copy.chmod(0o440)
        return made

    def crontab(self, command: str) -> Run:
        """Run a crontab's command as cron does: by sh, with all credentials in one folder of the user's."""
        flat = self.folder / "flat"
        flat.mkdir(mode=0o700, exist_ok=True)
        for name, data in self.credentials().items():
            (flat / name).write_bytes(data)
            (flat / name).chmod(0o600)
        env = self.environment(flat)
        tools = self.folder / "bin"
        if not tools.exists():
            tools.mkdir()
            shellcommand.put(tools)
        env["PATH"] = f"{tools}:{env['PATH']}"
        etc = str(self.config.parent)
        return self.run("cron", ["/bin/sh", "-c", command.replace("/etc/orgkey", etc)], env)

    def pod(self, pod: Mapping[str, Any]) -> Run:
        """Run a pod's container: its arguments and variables, with its volumes mounted by name."""
        (container,) = pod["containers"]
        mounted = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        assert mounted["/var/lib/orgkey"] == "state"
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        secrets = [item["secret"]["name"] for item in volumes["credentials"]["projected"]["sources"]]
        folder = self._projected(secrets)
        places = {
            "/etc/orgkey/orgkey.toml": str(self.config),
            "/var/lib/orgkey": str(self.state),
            "/run/credentials/orgkey": str(folder),
            "/tmp": str(self.folder),
        }
        name = f"pod-{len(self.listener.heard)}"
        env = self.environment(folder)
        env |= {item["name"]: _moved(item.get("value", name), places) for item in container["env"]}
        words = [_moved(word, places).replace("$(POD_NAME)", name) for word in container["args"]]
        return self.run("pod", [str(ORGKEY), *words], env)

    def _projected(self, secrets: list[str]) -> Path:
        """A volume of Secrets as the kubelet makes it: links into a folder that it replaces at once."""
        folder = self.folder / "projected"
        shutil.rmtree(folder, ignore_errors=True)
        data = folder / "..2026_01_01"
        data.mkdir(parents=True)
        (folder / "..data").symlink_to(data.name)
        for name, content in self.credentials().items():
            if f"orgkey-{name.partition('_')[0]}" in secrets:
                (data / name).write_bytes(content)
                (data / name).chmod(0o440)
                (folder / name).symlink_to(f"..data/{name}")
        return folder

    def unit(self, job: str) -> Service:
        """The service of a job."""
        return Service(self, SCHEDULE / "systemd" / f"orgkey{'' if job == 'watch' else f'-{job}'}@.service")


class Service:
    """A unit on that host.

    Args:
        host: The host.
        path: The unit.
    """

    def __init__(self, host: Host, path: Path) -> None:
        self.host = host
        self.name = path.name
        self.settings = unitfile.read(path)["Service"]

    @property
    def final(self) -> set[int]:
        """The codes after which it is not started again."""
        return {int(word) for word in self.settings["RestartPreventExitStatus"][0].split()}

    @cached_property
    def credentials(self) -> Path:
        """What its ``LoadCredential=`` makes of the folders that they name."""
        return self.host.loaded(self.name, self.settings["LoadCredential"])

    def environment(self) -> dict[str, str]:
        """What systemd sets."""
        given = self.host.environment(self.credentials)
        if "RuntimeDirectory" in self.settings:
            given["RUNTIME_DIRECTORY"] = str(self.host.metrics)
        return given

    def argv(self) -> list[str]:
        """Its command, confined as it is."""
        words = unitfile.argv(self.settings["ExecStart"][0], self.host.instance, self.environment())
        etc = str(self.host.folder / "etc/orgkey") + "/"
        places = {"/opt/orgkey/bin/orgkey": str(ORGKEY), "/etc/orgkey/": etc}
        words = [_moved(word, places) for word in words]
        rules = self.host.folder / f"{self.name}.json"
        rules.write_text(json.dumps(confined.rules(self.settings)))
        return [sys.executable, "-m", "tests.support.confined", str(rules), *words]

    def start(self) -> Run:
        """Start it, and wait for its end."""
        return self.host.run(self.name, self.argv(), self.environment())

    def launch(self) -> subprocess.Popen[str]:
        """Start it."""
        return subprocess.Popen(
            self.argv(), cwd=os.sep, env=self.environment(), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
