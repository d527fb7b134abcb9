"""`orgkey` as an operator starts it: a process of its own, private files, a place of its own on a stack."""

from __future__ import annotations

import json
import os
import pty
import select
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pipeline.storage.interface import Slot
from tests.support import forkserver, schemas
from tests.support import openpgp_writer as writer
from tests.support.target_places import DirectoryPlace, S3Place, VaultPlace

if TYPE_CHECKING:
    from tests.conftest import Place
    from tests.support.local_stack import Stack

ROOT = Path(__file__).parents[2]
KEYS = ROOT / "tests" / "assets" / "keys"
ORGKEY = (sys.executable, "-m", "pipeline.cli.app")
SECONDS = 120.0
LOCK_DAYS = 1
"""As the configuration of a stack has it."""
NEW_PASSPHRASE = b"a passphrase that the operator chose"
DISK = """
[target.disk]
kind = "directory"
domain = "disk"
controlled_by = ["storage-admins"]
path = {path}
"""


@dataclass(frozen=True)
class Run:
    """A command that ended.

    Attributes:
        words: What was typed.
        code: Its exit code.
        out: Its standard output.
        err: Its standard error.
    """

    words: tuple[str, ...]
    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """What ``--json`` printed: exactly one document, as its schema says, and nothing else."""
        document, end = json.JSONDecoder().raw_decode(self.out)
        assert self.out[end:] == "\n", self
        assert isinstance(document, dict)
        assert document["schema"].startswith("orgkey.")
        schemas.require_valid(document)
        return document

    @property
    def error(self) -> tuple[str, str]:
        """The two lines of an error at the end of stderr: what happened, what to do."""
        happened, hint = self.err.splitlines()[-2:]
        assert happened.startswith("orgkey: error: "), self.err
        assert hint.startswith("orgkey: hint: "), self.err
        return happened.removeprefix("orgkey: error: "), hint.removeprefix("orgkey: hint: ")

    def __str__(self) -> str:
        return f"orgkey {shlex.join(self.words)}: {self.code}\n{self.out}\n{self.err}"


def export_of(key: str) -> Path:
    """A committed throwaway key in the product's two-block layout."""
    return KEYS / f"{key}-two-block.asc"


def fingerprint_of(key: str) -> str:
    """Its fingerprint, read by the tests' own reader."""
    return writer.fingerprint(writer.split(writer.dearmor(export_of(key).read_text()))[0][1])


def packets_of(key: str) -> list[writer.Packet]:
    """Its packets, with the secret parts in the clear."""
    return writer.split(writer.dearmor((KEYS / f"{key}-unprotected.asc").read_text()))


def environment(home: Path, **more: str) -> dict[str, str]:
    """The environment of a command: nothing ambient but PATH."""
    base = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    cache = {name: os.environ[name] for name in ("ORGKEY_STACK_CACHE",) if name in os.environ}
    return base | cache | {"AWS_EC2_METADATA_DISABLED": "true"} | more


def orgkey(
    folder: Path,
    *words: str,
    env: Mapping[str, str] | None = None,
    stdin: int | IO[bytes] | bytes = subprocess.DEVNULL,
    expect: int | None = None,
    pass_fds: Sequence[int] = (),
    executed: bool = False,
) -> Run:
    """Run the command without a terminal, forked from a process that has imported it.

    Args:
        folder: Its working directory, and its home where ``env`` names no other.
        words: Its arguments.
        env: Its whole environment.
        stdin: What it reads.
        expect: The exit code that it must have.
        pass_fds: Descriptors that it inherits.
        executed: Whether it is a new interpreter, for tests that look at the start or at the command line.
    """
    start = subprocess.run if executed else forkserver.run
    given: dict[str, Any] = {"input": stdin} if isinstance(stdin, bytes) else {"stdin": stdin}
    done = start(
        [*ORGKEY, *words],
        cwd=folder,
        env=dict(environment(folder) if env is None else env),
        capture_output=True,
        timeout=SECONDS,
        start_new_session=True,
        pass_fds=tuple(pass_fds),
        check=False,
        **given,
    )
    run = Run(
        words, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    )
    assert "Traceback" not in run.err, run
    if expect is not None:
        assert run.code == expect, run
    return run


class Desk:
    """An operator's workplace: configuration, state, passphrase files and an export of one throwaway key.

    Args:
        place: Where the records go.
        folder: A private directory.
        key: Whose export lies here.
        packets: Another key's, with the secret parts in the clear; ``key`` is only its name then.
        pin: Whether the configuration pins it.
        disk: Whether a directory is a third target.
        more: Added to the configuration's end.
    """

    def __init__(
        self,
        place: Place,
        folder: Path,
        *,
        key: str = "ed25519",
        packets: list[writer.Packet] | None = None,
        pin: bool = True,
        disk: bool = False,
        more: str = "",
    ) -> None:
        self.place = place
        self.folder = folder
        self.key = key
        self.fingerprint = fingerprint_of(key) if packets is None else writer.fingerprint(packets[0][1])
        self.state = folder / "state"
        self.disk = folder / "disk"
        self.disk.mkdir()
        self.config = place.write_config(
            folder / "orgkey.toml",
            self.fingerprint if pin else None,
            more=(self.disk_table if disk else "") + more,
        )
        text = export_of(key).read_text() if packets is None else writer.two_block(packets)
        self.export = self.write("export.asc", text.encode())
        self.passphrase_file = self.write("export-passphrase", writer.PASSPHRASE + b"\n")
        self.new_passphrase_file = self.write("new-passphrase", NEW_PASSPHRASE + b"\n")

    @property
    def stack(self) -> Stack:
        """The stack."""
        return self.place.stack

    @property
    def disk_table(self) -> str:
        """The table of the directory target."""
        return DISK.format(path=json.dumps(str(self.disk)))

    @property
    def journal(self) -> Path:
        """What this host remembers of the key's epochs."""
        return self.state / self.fingerprint / "journal"

    def write(self, name: str, data: bytes) -> Path:
        """Write a private file."""
        path = self.folder / name
        path.write_bytes(data)
        path.chmod(0o600)
        return path

    def edit(self, old: str, new: str) -> None:
        """Change the configuration."""
        text = self.config.read_text()
        assert old in text
        self.config.write_text(text.replace(old, new))

    def run(self, command: str, *words: str, expect: int | None = None, **how: Any) -> Run:
        """Run a command of this workplace, for people."""
        common = ("--config", str(self.config), "--state-dir", str(self.state))
        return orgkey(self.folder, command, *words, *common, expect=expect, **how)

    def ask(self, command: str, *words: str, expect: int | None = 0, **how: Any) -> dict[str, Any]:
        """Run a command with ``--json`` and return its document."""
        return self.run(command, *words, "--json", expect=expect, **how).document

    def escrow(self, *words: str, expect: int | None = 0, **how: Any) -> dict[str, Any]:
        """Escrow the export."""
        given = (str(self.export), "--export-passphrase-file", str(self.passphrase_file))
        return self.ask("escrow", *given, *words, expect=expect, **how)

    def restore(
        self, *words: str, name: str = "restored.asc", expect: int | None = 0, **how: Any
    ) -> dict[str, Any]:
        """Restore into a file of the folder."""
        given = ("--out", str(self.folder / name), "--new-passphrase-file", str(self.new_passphrase_file))
        return self.ask("restore", *given, *words, expect=expect, **how)

    # -- the targets, as their administrators see them ----------------------------------------------

    @cached_property
    def at_vault(self) -> VaultPlace:
        """The entries in Vault, with root's rights."""
        return VaultPlace(self.stack, self.place.kv_prefix.removeprefix("records/"))

    @cached_property
    def at_s3(self) -> S3Place:
        """The objects in the bucket, with root's rights."""
        return S3Place(self.stack, self.place.s3_prefix.removeprefix("orgkey/"))

    @cached_property
    def at_disk(self) -> DirectoryPlace:
        """The files of the directory target."""
        return DirectoryPlace(self.disk)

    def slot(self, epoch: str) -> Slot:
        """An epoch's place at every target."""
        return Slot(self.fingerprint, epoch)

    def plant(self, epoch: str, data: bytes, *targets: str) -> None:
        """Put bytes into an epoch's place, behind the program's back; at all targets by default."""
        for name in targets or ("vault", "s3", "disk"):
            if name == "disk":
                file = self.at_disk.file(self.slot(epoch))
                file.parent.mkdir(exist_ok=True)
                file.unlink(missing_ok=True)
                file.write_bytes(data)
            elif name == "vault":
                self.at_vault.overwrite(self.slot(epoch), data)
            else:
                self.at_s3.overwrite(self.slot(epoch), data, days=LOCK_DAYS)

    def stored_in_vault(self) -> list[str]:
        """The names of all entries of the key."""
        import hvac.exceptions

        path = f"{self.place.kv_prefix}/{self.fingerprint}"
        try:
            answer = self.stack.vault("root").secrets.kv.v2.list_secrets(path, mount_point="orgkey")
        except hvac.exceptions.InvalidPath:
            return []
        return list(answer["data"]["keys"])

    def stored_in_s3(self) -> list[str]:
        """The keys of all objects, whatever lies on top."""
        page = self.at_s3.client.list_object_versions(
            Bucket=self.at_s3.bucket, Prefix=f"{self.place.s3_prefix}/"
        )
        return [entry["Key"] for entry in page.get("Versions", ())]

    def stored_on_disk(self) -> list[Path]:
        """All files."""
        return [path for path in self.disk.rglob("*") if path.is_file()]

    def nothing_stored(self) -> bool:
        """Whether no target holds anything."""
        return not (self.stored_in_vault() or self.stored_in_s3() or self.stored_on_disk())


def copies(document: dict[str, Any], epoch: str) -> dict[str, dict[str, Any]]:
    """The copies of one epoch in a document of ``list`` or ``verify``, by target."""
    found = next(item for item in document["epochs"] if item["epoch"] == epoch)
    return {copy["target"]: copy for copy in found["copies"]}


def quick_agent(home: Path) -> Path:
    """Make a home of gpg (mode 0700), if it is not there, with an agent that protects its own copies quickly.

    Otherwise the agent measures for a second how much it has to derive for 0.1 s, and does that at each use.
    """
    home.mkdir(mode=0o700, exist_ok=True)
    settings = home / "gpg-agent.conf"
    if not settings.exists():
        settings.write_text("s2k-count 65536\n")
    return home


def gpg(
    home: Path, *words: str, stdin: bytes = b"", check: bool = True
) -> subprocess.CompletedProcess[bytes]:
    """Run gpg as a person would, in a home of its own (mode 0700, its agent is ended by :func:`end_gpg`)."""
    quick_agent(home)
    done = subprocess.run(
        ["gpg", "--homedir", str(home), "--batch", "--no-tty", "--pinentry-mode", "loopback", *words],
        input=stdin,
        capture_output=True,
        timeout=60,
        env={"PATH": os.environ["PATH"], "HOME": str(home), "LC_ALL": "C.UTF-8"},
        check=False,
    )
    if check:
        assert done.returncode == 0, done.stderr.decode()
    return done


def end_gpg(home: Path) -> None:
    """End the agent of a home."""
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], timeout=30, check=False)


def converse(
    folder: Path,
    words: Sequence[str],
    answers: Sequence[tuple[bytes, bytes]],
    *,
    env: Mapping[str, str],
    meanwhile: Callable[[], None] = lambda: None,
    piped: Path | None = None,
) -> tuple[int, str]:
    """Run the command at a terminal of its own, and answer questions, recognised by a part of them.

    Args:
        folder: Where it runs.
        words: Its words.
        answers: Each question's part, and what is typed.
        env: Its environment.
        meanwhile: What is done before each answer, while the command waits.
        piped: What comes by standard input instead of what is typed.

    Returns:
        The exit code, and everything that the terminal showed.
    """
    ours, theirs = pty.openpty()
    stdin = os.open(piped, os.O_RDONLY) if piped else theirs
    child = forkserver.Popen(
        [*ORGKEY, *words],
        cwd=folder,
        env=dict(env),
        stdin=stdin,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        terminal=True,
    )
    for number in {stdin, theirs}:
        os.close(number)
    shown, unseen, left, ends = b"", 0, list(answers), time.monotonic() + SECONDS
    try:
        while time.monotonic() < ends:
            if not select.select([ours], [], [], 0.1)[0]:
                if child.poll() is not None:
                    break
                continue
            try:
                shown += os.read(ours, 4096)
            except OSError:  # the other side is closed
                break
            if left and (found := shown.find(left[0][0], unseen)) >= 0:
                unseen = found + len(left[0][0])
                meanwhile()
                os.write(ours, left.pop(0)[1] + b"\n")
        code = child.wait(timeout=SECONDS)
    finally:
        os.close(ours)
        child.kill()
        child.wait()
    assert left == [], shown
    return code, shown.decode(errors="replace")


_records: dict[tuple[str, str, int], tuple[str, bytes]] = {}


def record_of(
    stack: Stack, fresh_place: Callable[[Stack], Place], key: str = "ed25519", number: int = 0
) -> tuple[str, bytes]:
    """A whole record of a throwaway key, made by an escrow on this stack once in this process.

    Args:
        stack: Its holders can open it.
        fresh_place: Makes the place where the escrow puts it.
        key: Whose.
        number: A higher number is a later epoch of the same key.

    Returns:
        The epoch's name, and the bytes.
    """
    wanted = (str(stack.layout.root), key, number)
    if wanted not in _records:
        if number:
            next_second(record_of(stack, fresh_place, key, number - 1)[0])
        with tempfile.TemporaryDirectory() as folder:
            desk = Desk(fresh_place(stack), Path(folder), key=key, disk=True)
            epoch = desk.escrow("--no-drill")["epoch"]
            _records[wanted] = epoch, desk.at_disk.file(desk.slot(epoch)).read_bytes()
    return _records[wanted]


def next_second(epoch: str) -> None:
    """Wait until a new epoch is later than this one by its name: names count in seconds."""
    while datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ") <= epoch.partition("-")[0]:
        time.sleep(0.02)
