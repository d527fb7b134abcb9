"""Build the image of `infra/container` and do what its users do; as root: ``python -m tools.image``."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from pipeline import __version__
from tools.image.build import CONTAINER, PROGRAMS, ROOT, built
from tools.image.buildah import Image, alone
from tools.image.container import Container, Ended, Mount, fresh, hand_over, of_compose, run, send, started
from tools.image.site import Key, Site
from tools.transcript import Transcript, begin_as_root

COMPOSE: dict[str, Any] = yaml.safe_load((CONTAINER / "compose.yaml").read_text())
CONFIG = ("--config", "/etc/orgkey/orgkey.toml")


def main() -> int:
    """Do all of it, and say what did not hold."""
    begin_as_root(PROGRAMS)
    said = Transcript()
    with alone(), tempfile.TemporaryDirectory(prefix="image-") as folder:
        image = built(said, Path(folder))
        _look(said, image)
        site = Site(Path(folder) / "site")
        site.folder.mkdir(mode=0o700)
        try:
            site.up()
            Job(said, image, site).whole()
        finally:
            site.down()
    return said.end()


# What a container sees of its own confinement; one line each.
_SELF = """
import json, os, ssl, sys, time, zoneinfo
def tried(path):
    try:
        open(path, "w").close()
        return "written"
    except OSError as error:
        return os.strerror(error.errno)
told = dict(line.split(":\\t") for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
print(json.dumps({
    "user": [os.getuid(), os.getgid()], "first": open("/proc/1/comm").read().strip(),
    "capabilities": [told[name] for name in ("CapPrm", "CapEff", "CapBnd")], "raise": told["NoNewPrivs"],
    "filter": told["Seccomp"], "root": tried("/x"), "home": tried(os.path.expanduser("~/x")),
    "etc": tried("/etc/x"), "opt": tried("/opt/orgkey/x"), "tmp": tried("/tmp/x"), "shm": tried("/dev/shm/x"),
    "authorities": len(ssl.create_default_context().get_ca_certs()),
    "zone": str(zoneinfo.ZoneInfo("Europe/Berlin")),
}))
"""


def _look(said: Transcript, image: Image) -> None:
    said.step("Inside: who it is and what it may")
    said.output(f"entry point {' '.join(image.entrypoint)}, user {image.user[0]}:{image.user[1]}")
    said.check("it runs as user and group 10001", image.user == (10001, 10001), image.user)
    shown = run(image, Container(("--version",), mounts=(Mount("/tmp"),)))
    said.check(
        "orgkey --version: the README's second line",
        shown.out.strip() == f"orgkey-escrow {__version__}",
        shown,
    )
    confined = Container(
        ("-c", _SELF), mounts=(Mount("/tmp"),), entrypoint=("tini", "--", "/opt/orgkey/bin/python")
    )
    told = json.loads(run(image, confined).out)
    said.output(str(told))
    said.check("it has no capability, cannot gain one, and its system calls are filtered", (
        set(told["capabilities"]) == {"0" * 16} and told["raise"] == "1" and told["filter"] == "2"
    ), told)  # fmt: skip
    refused = {name: told[name] for name in ("root", "home", "etc", "opt")}
    said.check("it can write nowhere but in /tmp and /dev/shm", (
        "written" not in refused.values() and told["tmp"] == told["shm"] == "written"
    ), told)  # fmt: skip
    said.check("tini is its first process", told["first"] == "tini", told)
    said.check("it knows public authorities and time zones", told["authorities"] > 100, told)
    loose = Container(
        ("-c", _SELF), user=(0, 0), read_only=False, capabilities=("CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"),
        entrypoint=("/opt/orgkey/bin/python",),
    )  # fmt: skip
    seen = json.loads(run(image, loose).out)
    said.check(
        "run loosely all of that is otherwise: these checks can fail",
        (seen["user"], seen["root"], seen["etc"]) == ([0, 0], "written", "written")
        and set(seen["capabilities"]) != {"0" * 16}
        and seen["first"] != "tini",
        seen,
    )
    for name in ("x", "etc/x", "opt/orgkey/x", "root/x"):
        (image.root / name).unlink(missing_ok=True)
    gpg = run(image, Container(("--version",), entrypoint=("gpg",), mounts=(Mount("/tmp"),)))
    said.output(gpg.out.splitlines()[0] if gpg.out else str(gpg))


class Job:
    """The main job in containers, each a new one that has only its volumes, as compose.yaml runs it.

    Args:
        said: What is printed.
        image: The image.
        site: The servers.
    """

    def __init__(self, said: Transcript, image: Image, site: Site) -> None:
        self.said = said
        self.image = image
        self.site = site
        self.folders: dict[str, Path] = {}

    def whole(self) -> None:
        """All of it."""
        self.said.step(
            "Servers on loopback, a stand-in server's Org Key, and the files that compose.yaml mounts"
        )
        key = self.site.key("acme", ROOT / "infra/schedule/kubernetes/base/orgkey.toml")
        self._files(key)
        self.said.output(f"Org Key {key.fingerprint}")
        self.said.step("The main job, a container each")
        self._jobs(key)
        self.said.step("A service that is stopped")
        self._watch()
        self.said.step("What is wrong is said")
        self._wrong()

    def _files(self, key: Key) -> None:
        top = self.site.folder / "host"
        config, credentials, state = top / "orgkey.toml", fresh(top / "credentials"), fresh(top / "state")
        inbox = fresh(top / "inbox")
        config.write_text(key.config)
        config.chmod(0o644)
        for name, data in self.site.credentials().items():
            (credentials / name).write_bytes(data)
            (credentials / name).chmod(0o400)
        (inbox / "keypair.asc").write_bytes(key.export)
        (inbox / "keypair.asc").chmod(0o600)
        state.chmod(0o700)
        inbox.chmod(0o700)
        for folder in (credentials, state, inbox):
            hand_over(folder, self.image.user[0])
        self.folders = {
            "/etc/orgkey/orgkey.toml": config,
            "/etc/orgkey/container-credentials": credentials,
            "state": state,
            "inbox": inbox,
        }

    def container(self, *args: str) -> Container:
        """The service `orgkey` of compose.yaml, with other words; the inbox is mounted besides."""
        service = dict(COMPOSE["services"]["orgkey"])
        service["volumes"] = [*service["volumes"], "inbox:/srv/orgkey/pgp1/inbox"]
        return of_compose(service, args, self.folders)

    def ask(self, *args: str) -> Ended:
        """Run a command in a new container."""
        self.said.command(["docker", "compose", "run", "--rm", "orgkey", *args])
        ended = run(self.image, self.container(*args))
        self.said.output(ended.out + ended.err)
        return ended

    def _jobs(self, key: Key) -> None:
        for words in (
            ("escrow",), ("verify",), ("drill",), ("backups", "verify"), ("status",),
            ("report", "--bundle", "/var/lib/orgkey/report.zip"), ("custody", "posture"),
        ):  # fmt: skip
            ended = self.ask(*words, *CONFIG)
            self.said.check(f"{' '.join(words[:2])} ends with 0", ended.code == 0, ended)
            self.said.check("without a warning", "warning" not in ended.err, ended.err)
        state = self.folders["state"]
        owners = {path.stat().st_uid for path in state.rglob("*")}
        self.said.check("all that it wrote is user 10001's", owners == {10001}, owners)
        report = state / "report.zip"
        self.said.check("the report is there", report.exists() and report.stat().st_size > 100_000)
        restored = self.ask("list", *CONFIG)
        self.said.check(
            "list names the key's epoch", key.fingerprint in restored.out.replace(" ", ""), restored
        )
        doctor = self.ask("doctor", *CONFIG)
        self.said.check("doctor finds no fault: it ends with 0", doctor.code == 0, doctor)

    def _watch(self) -> None:
        self.said.command(["docker", "compose", "run", "orgkey", "watch", *CONFIG])
        with started(self.image, self.container("watch", *CONFIG)) as (handle, child):
            assert child.stdout is not None
            for line in child.stdout:
                self.said.output(line)
                if "gate: " in line:
                    break
            # A round ends with its ping.
            self.said.check(
                "the ping hears of its start and of its end",
                self.site.hears("/watch") and "/watch/start" in self.site.heard,
                self.site.heard,
            )
            begun = time.monotonic()
            send(handle, "TERM")
            out, err = child.communicate(timeout=60)
            self.said.output(out + err)
        seconds = time.monotonic() - begun
        self.said.check(
            "SIGTERM ends it with 0, within the 10 s that an engine waits",
            child.returncode == 0 and seconds < 10,
            (child.returncode, seconds),
        )

    def _wrong(self) -> None:
        config = self.folders["/etc/orgkey/orgkey.toml"]
        config.chmod(0o666)
        self.said.check(
            "a configuration that others can write is refused with 2", self.ask("status", *CONFIG).code == 2
        )
        config.chmod(0o644)
        unreadable = self.folders["/etc/orgkey/container-credentials"] / "driller_aws"
        os.chown(unreadable, 0, 0)
        ended = self.ask("verify", *CONFIG)
        self.said.check(
            "a credential of root's is named", ended.code != 0 and "driller_aws" in ended.err, ended
        )
        hand_over(unreadable.parent, self.image.user[0])
        state = self.folders["state"]
        os.chown(state, 0, 0)
        ended = self.ask("drill", *CONFIG)
        self.said.check("a state of root's is refused with 3", ended.code == 3, ended)
        hand_over(state, self.image.user[0])


if __name__ == "__main__":
    sys.exit(main())
