"""How-to and tutorial, typed as written; the set-up on an own server and an own bucket.

The names of the pages' example are replaced by those of this host, and questions are answered; nothing else.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

import pytest

from pipeline.core.resources import infra_path
from pipeline.devstack import build, wire
from pipeline.devstack.programs import OPENBAO
from pipeline.devstack.progress import Progress
from tests.runbooks import pages
from tests.runbooks.pages import Command
from tests.runbooks.runner import TUTORIAL, Typist, execute
from tests.support import leftovers
from tests.support.commandline import ROOT, converse, environment, orgkey
from tests.support.ports import distinct_ports

if TYPE_CHECKING:
    from tests.support.local_stack import Stack

EXPORT = ROOT / "tests" / "assets" / "keys" / "ed25519-two-block.asc"
TOKEN = "administrator-of-this-test"
BUCKET = "how-to-orgkey"
ANSWERS: Mapping[tuple[str, ...], list[tuple[bytes, bytes]]] = {
    ("init",): [(b"Does the server show", b"y"), (b"Custodians", b""), (b"too old", b"")],
    ("infra", "apply"): [(b"changes? [y/N]", b"y")],
    ("escrow",): [(b"passphrase of the export", b"correct horse battery staple")],
}
PENDING = {("infra", "plan"): 42}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of an OpenBao on which nothing was set up."""
    (port,) = distinct_ports(1)
    home = tmp_path / "server"
    home.mkdir()
    program = build.ensure(OPENBAO, Progress())
    argv = [str(program), "server", "-dev", "-dev-no-store-token", f"-dev-root-token-id={TOKEN}"]
    argv.append(f"-dev-listen-address=127.0.0.1:{port}")
    address = f"http://127.0.0.1:{port}"
    with (
        (home / "log").open("wb") as log,
        subprocess.Popen(
            argv, env={"PATH": os.defpath, "HOME": str(home)}, stdout=log, stderr=log
        ) as running,
    ):
        ends = time.monotonic() + 60
        while (answer := wire.request(address, "GET", "/v1/sys/health", seconds=2)) is None or answer[
            0
        ] != 200:
            assert running.poll() is None, (home / "log").read_text()
            assert time.monotonic() < ends
            time.sleep(0.02)
        yield address
        running.terminate()


class Operator:
    """Types what a page says, on a fresh home.

    Args:
        stack: Whose S3 and KMS are used.
        address: The empty Vault.
        folder: Home and working directory.
        bucket: The bucket's name.
    """

    def __init__(self, stack: Stack, address: str, folder: Path, bucket: str) -> None:
        self.stack, self.folder, self.bucket = stack, folder, bucket
        self.replaced = {
            "https://vault.example.com:8200": address,
            "https://s3.example.com:9000": stack.endpoint("s3"),
            "arn:aws:kms:eu-central-1:444455556666:key/KEY_ID": stack.state.kms_key,
            "111122223333": "orgkeyroot",  # what this S3 calls the bucket's owner
            "eu-central-1": wire.REGION,
            "example-orgkey": bucket,
            "/etc/orgkey": str(folder / "etc" / "orgkey"),
            "EXPORT": str(EXPORT),
        }
        tools = folder / "bin"
        tools.mkdir()
        for name in ("bao", "vault"):
            (tools / name).symlink_to(build.ensure(OPENBAO, Progress()))
        path = os.pathsep.join([str(tools), str(Path(sys.executable).parent), os.environ["PATH"]])
        self.env = environment(folder) | {
            "PATH": path,
            "AWS_DEFAULT_REGION": wire.REGION,
        }
        # Beyond the page, since neither server is at AWS.
        self.elsewhere = ["--s3-endpoint", stack.endpoint("s3"), "--kms-endpoint", stack.endpoint("kms")]
        (folder / ".aws").mkdir()
        keys = {"default": "root", "orgkey-writer": "writer", "orgkey-driller": "driller"}
        (folder / ".aws" / "credentials").write_text(
            "".join(
                stack.layout.aws_credentials(identity).read_text().replace("default", profile)
                for profile, identity in keys.items()
            )
        )
        self.typed: list[str] = []

    def type(self, command: Command) -> None:
        """Type one command, and answer what it asks."""
        text = command.text
        for example, here in self.replaced.items():
            text = text.replace(example, here)
        words = shlex.split(text.replace("\\\n", " "))
        if self.config.exists() and words[0] == "orgkey":
            self.env["ORGKEY_CONFIG"] = str(self.config)  # where /etc/orgkey is not this test's to write
        if words[0] == "export":
            name, _, value = words[1].partition("=")
            self.env[name] = value
        elif words[:2] == ["vault", "login"]:
            self._shell("vault login -", TOKEN)
        elif words[0] != "orgkey":
            self._shell(text)
        else:
            code, shown = self._orgkey(words[1:] + (self.elsewhere if words[1] == "init" else []))
            wanted = next((code for verb, code in PENDING.items() if words[1 : 1 + len(verb)] == [*verb]), 0)
            assert code == wanted, f"{text}\n{shown}"
            if words[1:3] == ["infra", "apply"]:
                assert re.search(r"made sys/mounts/orgkey$", shown.replace("\r", ""), re.MULTILINE), shown
                self._printed(shown.replace("\r", ""))
        self.typed.append(text)

    @property
    def config(self) -> Path:
        """The file that `init` wrote."""
        etc = self.folder / "etc" / "orgkey" / "orgkey.toml"
        return etc if etc.exists() else self.folder / "orgkey.toml"

    def _orgkey(self, words: list[str]) -> tuple[int, str]:
        for verb, answers in ANSWERS.items():
            if words[: len(verb)] == [*verb]:
                return converse(self.folder, words, answers, env=self.env)
        return converse(self.folder, words, [], env=self.env)

    def _printed(self, shown: str) -> None:
        """Run the commands that `infra apply` printed, as they are."""
        commands = re.findall(r"^  ((?:mkdir|\(umask) .*)$", shown, re.MULTILINE)
        assert commands[0].startswith("mkdir")
        for command in commands:
            self._shell(command)
        assert len(list((self.config.parent / "credentials").iterdir())) == len(commands) - 1

    def _shell(self, text: str, typed: str = "") -> None:
        done = subprocess.run(
            ["sh", "-c", text], cwd=self.folder, env=self.env, input=typed,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"

    def grant(self) -> None:
        """The bucket's administrator lets the program's users in."""
        users = {name.upper(): f"orgkey{name}" for name in ("writer", "driller", "auditor", "retention")}
        policy = Template(infra_path("stack", "policies", "s3-bucket.json").read_text())
        client = self.stack.s3("root")
        client.put_bucket_policy(Bucket=self.bucket, Policy=policy.substitute(BUCKET=self.bucket, **users))


def section(page: Path, title: str, folder: Path) -> list[Command]:
    """The commands of one section of a page."""
    text = page.read_text(encoding="utf-8")
    begin = text.index(f"\n## {title}\n") + 1
    part = folder / page.name
    part.write_text(text[begin : text.index("\n## ", begin)], encoding="utf-8")
    return [step for step in pages.read(part) if isinstance(step, Command)]


def test_what_the_how_to_says_sets_it_up(stack: Stack, server: str, tmp_path: Path) -> None:
    commands = section(ROOT / "docs/how-to.md", "Set it up with your own Vault and bucket", tmp_path)
    operator = Operator(stack, server, tmp_path, BUCKET)
    assert any("create-bucket" in command.text for command in commands)
    for command in commands:
        operator.type(command)
        if "create-bucket" in command.text:
            operator.grant()
    assert operator.typed[-1] == "orgkey status"
    assert [line.split()[1] for line in operator.typed if line.startswith("orgkey")] == [
        "init", "infra", "infra", "doctor", "escrow", "drill", "status",
    ]  # fmt: skip


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory with a short name: a gpg home in it has room for its socket."""
    made = leftovers.directory("tutorial-")
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.mark.timeout(300)
def test_the_tutorial_typed_as_written_does_what_it_shows(short: Path) -> None:
    (short / ".venv").mkdir()
    (short / ".venv" / "bin").symlink_to(Path(sys.executable).parent)  # what `make setup` has made
    (short / "tests").symlink_to(ROOT / "tests")
    place = short / "orgkey-tutorial"
    typist = Typist(TUTORIAL, {"/tmp/orgkey-tutorial": str(place), "make setup": ":"})
    env = environment(short) | {"PATH": os.environ["PATH"]}
    try:
        done = execute(ROOT / "docs" / "tutorial.md", short, env, typist=typist)
    finally:
        if place.exists():
            orgkey(short, "stack", "down", "--wipe", "--dir", str(place / "stack"))
    assert not place.exists()
    assert len(done) > 25
