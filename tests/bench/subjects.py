"""What is measured: the whole escrow and the peer script, on a stack of the benchmark's own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from tests.bench.measure import CannotMeasure, Sample, run
from tests.support import leftovers

ROOT = Path(__file__).resolve().parents[2]
EXPORT = ROOT / "tests" / "assets" / "keys" / "rsa4096-two-block.asc"
PASSPHRASE = "correct horse battery staple"
PEER = Path(__file__).with_name("peer.sh")
BIN = Path(sys.executable).parent
ORGKEY = str(BIN / "orgkey")
# Nothing of the operator's own: no settings of Vault, AWS, GnuPG or ours, no proxy, no profiler.
FOREIGN = ("VAULT_", "BAO_", "AWS_", "ORGKEY_", "GNUPG", "GPG_", "XDG_", "PYTHON", "VGW_")
BUILD_SECONDS = 1200.0


def clean_environment(home: Path) -> dict[str, str]:
    """An environment that leads to no server but the stack's.

    Args:
        home: An empty directory.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(FOREIGN) and not name.lower().endswith("_proxy")
    }
    return kept | {"HOME": str(home), "LC_ALL": "C", "AWS_EC2_METADATA_DISABLED": "true"}


@dataclass
class Bench:
    """The stack and the key that both subjects use.

    Attributes:
        work: A private directory.
        bao: The Vault client program that the peer uses.
    """

    work: Path
    bao: Path
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        self.home = self.work / "home"
        self.home.mkdir()
        self.env = clean_environment(self.home)
        self.export = self.work / "export.asc"
        shutil.copyfile(EXPORT, self.export)
        self.passphrase = self.work / "passphrase"
        self.passphrase.write_text(PASSPHRASE + "\n")
        for path in (self.export, self.passphrase):
            path.chmod(0o600)
        said = run([ORGKEY, "inspect", str(self.export), "--json"], self.env, cwd=self.work).stdout
        self.fingerprint = str(json.loads(said)["fingerprint"])
        self._template = self._stack_config()

    @property
    def stack(self) -> Path:
        """The stack's directory."""
        return self.work / "stack"

    def escrow(self) -> Sample:
        """Escrow the key with the closing drill: new state, new places, so a new epoch is minted.

        Raises:
            CannotMeasure: It fails, or does not prove what it stored.
        """
        name = f"run-{next(self._numbers)}"
        sample = run(self.escrow_argv(name), self.env, cwd=self.work)
        done = json.loads(sample.stdout)
        drill = done["drill"]
        whole = drill is not None and drill["passed"] and all(copy["verified"] for copy in done["copies"])
        if not whole or done["already"] or done["resumed"] or len(done["copies"]) != 2:
            raise CannotMeasure(f"the escrow did less than it should:\n{sample.stdout.decode()}")
        return sample

    def escrow_argv(self, name: str, *launcher: str) -> list[str]:
        """The command line of an escrow into places of its own.

        Args:
            name: Not used before.
            launcher: What starts the command, ``.venv/bin/orgkey`` by default.
        """
        config = self.work / f"{name}.toml"
        config.write_text(self._places(name))
        config.chmod(0o600)
        return [
            *(launcher or (ORGKEY,)), "escrow", str(self.export), "--json",
            "--export-passphrase-file", str(self.passphrase),
            "--config", str(config), "--state-dir", str(self.work / f"{name}-state"),
        ]  # fmt: skip

    def peer(self) -> Sample:
        """Run the peer script into places of its own.

        Raises:
            CannotMeasure: It fails.
        """
        name = f"peer-{next(self._numbers)}"
        argv = ["sh", str(PEER), str(self.export), str(self.passphrase), self.fingerprint, name]
        return run(argv, self.env | self._peer_environment(), cwd=self.work)

    def _peer_environment(self) -> dict[str, str]:
        from pipeline.devstack.state import Layout

        layout = Layout(self.stack)
        state = json.loads(layout.state.read_text())
        vault, s3 = (state["members"][name]["endpoint"] for name in ("vault", "s3"))
        return {
            "BAO": str(self.bao),
            "VAULT_ADDR": vault,
            "ROLE_ID_FILE": str(layout.role_id("writer")),
            "SECRET_ID_FILE": str(layout.secret_id("writer")),
            "KV_MOUNT": "orgkey",
            "KV_PREFIX": "records",
            "AWS": str(BIN / "aws"),
            "AWS_ENDPOINT_URL_S3": s3,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": str(layout.aws_credentials("writer")),
            "S3_BUCKET": str(state["bucket"]),
            "S3_PREFIX": "orgkey",
            "LOCK_UNTIL": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 86400)),
        }

    def _stack_config(self) -> str:
        out = self.work / "stack.toml"
        told = [
            "stack",
            "config",
            "--dir",
            str(self.stack),
            "--out",
            str(out),
            "--fingerprint",
            self.fingerprint,
        ]
        run([ORGKEY, *told], self.env, cwd=self.work)
        return out.read_text()

    def _places(self, name: str) -> str:
        text = self._template
        for prefix in ("records", "orgkey"):
            line = f'\nprefix = "{prefix}"\n'
            if text.count(line) != 1:
                raise CannotMeasure(f"the stack's configuration has no line {line.strip()}")
            text = text.replace(line, f'\nprefix = "{prefix}/{name}"\n')
        return text


@contextmanager
def bench() -> Iterator[Bench]:
    """Start a stack in a directory of its own; stop and remove it at the end.

    Raises:
        CannotMeasure: A program is missing, or the stack does not start.
    """
    from pipeline.devstack.programs import OPENBAO, cache_root, find

    for name in ("orgkey", "aws"):
        if not (BIN / name).exists():
            raise CannotMeasure(f"{BIN / name} is missing: run `make setup`")
    cache = str(cache_root())  # the user's own, whatever HOME is below: the servers are built once
    begun = leftovers.begin()  # a bench that was killed is swept by the next run
    work = leftovers.directory("bench-")
    env = clean_environment(work) | {"ORGKEY_STACK_CACHE": cache}
    stack = ["--dir", str(work / "stack")]
    try:
        run([ORGKEY, "stack", "up", *stack], env, cwd=work, timeout=BUILD_SECONDS)
        bao = find(OPENBAO)
        if bao is None:
            raise CannotMeasure("the stack is up, and there is no bao: it uses an outside server")
        yield Bench(work, bao)
    finally:
        down = [ORGKEY, "stack", "down", "--wipe", *stack]
        subprocess.run(down, env=env, cwd=ROOT, stdout=subprocess.DEVNULL, timeout=60, check=False)
        leftovers.sweep(begun)


def help_page() -> Sample:
    """`orgkey --help`."""
    sample = run([ORGKEY, "--help"], _bare(), cwd=ROOT)
    if b"escrow" not in sample.stdout:
        raise CannotMeasure(f"no help:\n{sample.stdout.decode()}")
    return sample


def import_typer() -> Sample:
    """`python -c "import typer"`, by the same interpreter."""
    return run([sys.executable, "-c", "import typer"], _bare(), cwd=ROOT)


def _bare() -> dict[str, Any]:
    return clean_environment(ROOT) | {"COLUMNS": "100"}
