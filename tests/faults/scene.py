"""One escrow's corner of the world, in which faults happen, and what must be true of it afterwards."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pipeline import config
from pipeline.archive.run import KeyScope
from pipeline.record import verify
from pipeline.record.verify import Record
from pipeline.storage.interface import Presence, Slot, Target
from pipeline.wiring import factory as wiring
from tests.support import forkserver, leftovers
from tests.support.faulty import WORDS
from tests.support.reporter import Lines

if TYPE_CHECKING:
    from tests.conftest import Place

ROOT = Path(__file__).parents[2]
FAULTY = ROOT / "tests" / "support" / "faulty.py"
ASSETS = ROOT / "tests" / "assets" / "keys"
KEY = "ed25519-two-block"
FINGERPRINT = "70FBA2750FD7F47DF6FB080908E6316C03A0DB7D"
EXPORT_PASSPHRASE = "correct horse battery staple"
NEW_PASSPHRASE = "a passphrase that the operator chose"
SECONDS = 120.0
Stored = dict[str, dict[str, bytes]]
"""Bytes by epoch and target."""


@dataclass(frozen=True)
class Ended:
    """How a run ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one document on stdout."""
        document = json.loads(self.out)
        assert isinstance(document, dict)
        return document


def _kind(path: Path) -> str:
    if path.is_symlink() or not path.is_file():
        return "directory" if path.is_dir() else "other"
    data = path.read_bytes()
    try:
        document = json.loads(data)
    except ValueError:
        return "file" if data else "empty file"
    fields = sorted(document) if isinstance(document, dict) else []
    return f"document {fields} {document.get('event') if fields else ''}"


class Scene:
    """Configuration, state, memory-backed directory and stored places of one key, all its own.

    Args:
        place: Where its records lie on a stack.
        directory: For everything else.
    """

    def __init__(self, place: Place, directory: Path) -> None:
        self.place = place
        self.directory = directory
        self.state = directory / "state"
        self.trace = directory / "trace"
        self.export = directory / "export.asc"
        self.config = place.write_config(directory / "orgkey.toml", FINGERPRINT)
        self.memory = Path()
        shutil.copyfile(ASSETS / f"{KEY}.asc", self.export)
        self.export.chmod(0o600)
        for name, text in (("old", EXPORT_PASSPHRASE), ("new", NEW_PASSPHRASE)):
            path = directory / f"{name}-passphrase"
            path.write_text(text + "\n")
            path.chmod(0o600)

    def __enter__(self) -> Self:
        # Of its own, so that what is left in it is this scene's.
        self.memory = leftovers.directory("okf-", memory=True)
        return self

    def __exit__(self, *_: object) -> None:
        for pid in self.agents():
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.memory, ignore_errors=True)

    # -- running ---------------------------------------------------------------------------------

    def escrow(self) -> list[str]:
        """The command that escrows the key."""
        return [
            "escrow",
            str(self.export),
            "--export-passphrase-file",
            str(self.directory / "old-passphrase"),
        ]

    def restore(self, out: Path) -> list[str]:
        """The command that restores the key."""
        return ["restore", "--out", str(out), "--new-passphrase-file", str(self.directory / "new-passphrase")]

    def start(
        self,
        command: Sequence[str],
        *,
        at: str | None = None,
        do: str = "kill",
        state: Path | None = None,
        memory: bool = True,
        aws_clock: int = 0,
    ) -> subprocess.Popen[str]:
        """Start ``orgkey``.

        Args:
            command: Command and options; those that every command needs are added.
            at: The point at which something happens.
            do: What happens there.
            state: Another state directory, which is another host's.
            memory: Whether its memory-backed directory is this scene's own.
            aws_clock: How many seconds the clock is ahead with which requests to AWS are signed.
        """
        state = state or self.state
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "AWS_EC2_METADATA_DISABLED": "true",
            "FAULTS_ROOTS": f"state={state}:memory={self.memory}:out={self.directory}/out",
            "FAULTS_TRACE": str(self.trace),
            "FAULTS_DO": do,
            "FAULTS_AWS_CLOCK": str(aws_clock),
        }
        if memory:
            env["FAULTS_MEMORY"] = str(self.memory)
        if at is not None:
            env["FAULTS_AT"] = at
        common = ["--config", str(self.config), "--state-dir", str(state), "--json", "--quiet"]
        return forkserver.Popen(
            [sys.executable, str(FAULTY), *command, *common],
            env=env,
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, command: Sequence[str], **options: Any) -> Ended:
        """Start ``orgkey`` and wait for its end; see :meth:`start`."""
        return self.end(self.start(command, **options))

    def end(self, process: subprocess.Popen[str], seconds: float = SECONDS) -> Ended:
        """Wait for a run's end."""
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
        return Ended(process.returncode, out, err)

    def await_held(self, process: subprocess.Popen[str]) -> None:
        """Wait until a run that is held up at a point has reached it."""
        ends = time.monotonic() + SECONDS
        held = Path(f"{self.trace}.held")
        while not held.exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < ends
            time.sleep(0.02)

    def release(self) -> None:
        """Let the run that is held up go on."""
        Path(f"{self.trace}.go").touch()

    def points(self) -> list[str]:
        """The points that runs have reached so far, sorted."""
        return sorted(self.trace.read_text().splitlines())

    # -- looking ---------------------------------------------------------------------------------

    def durable(self, stored: Stored) -> list[str]:
        """What a killed run has left, as far as another run can find it.

        Names are without what is random or dated; of a file it counts whether it is empty, of a document
        which fields and which event it has, of a stored record whether the journal holds the same bytes. A
        home of gpg is one thing: the next run looks at its name and lock, and removes it with what is in it.
        """
        found = [f"agents {bool(self.agents())}"]
        for name, root in (("state", self.state), ("memory", self.memory), ("out", self.directory / "out")):
            for path in root.rglob("*"):
                called = f"{name}/{path.relative_to(root)}"
                for pattern, word in WORDS:
                    called = pattern.sub(word, called)
                if called.startswith("memory/orgkey-gpg/"):
                    continue
                found.append(f"{called} {_kind(path)}")
        known = self.journalled()
        for epoch, copies in stored.items():
            found += [f"{target} same={known.get(epoch) == data}" for target, data in copies.items()]
        return sorted(found)

    def is_new_state(self, command: str, stored: Stored) -> bool:
        """Whether no test of this run, in any worker, has found this durable state before.

        Args:
            command: What was killed, and will be run again.
            stored: What is stored now.
        """
        digest = hashlib.sha256("\n".join(self.durable(stored)).encode()).hexdigest()
        states = leftovers.run_directory() / "states"
        states.mkdir(exist_ok=True)
        try:
            (states / f"{command}-{digest}").touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    @property
    def root(self) -> Path:
        """The key's state directory."""
        return self.state / FINGERPRINT

    def context(self, state: Path | None = None) -> KeyScope:
        """A run's context in this process, for looking only."""
        return wiring.context(
            config.load(self.config), fingerprint=None, state_dir=state or self.state, reporter=Lines()
        )

    @cached_property
    def _targets(self) -> Mapping[str, Target]:
        """One login for all looks."""
        return self.context().backends("driller").targets()

    def stored(self) -> Stored:
        """Bytes by epoch and target; every place has exactly one version, which a plain read returns."""
        found: Stored = {}
        for name, target in self._targets.items():
            for item in target.find(FINGERPRINT):
                assert item.presence is Presence.CURRENT, item
                copies = found.setdefault(item.slot.epoch, {})
                assert name not in copies, f"{name} has two versions of {item.slot.epoch}"
                copies[name] = target.get(Slot(FINGERPRINT, item.slot.epoch))
        return found

    def journalled(self) -> dict[str, bytes]:
        """The sealed records that the journal holds, by epoch."""
        return {
            path.parent.name: path.read_bytes() for path in (self.root / "journal").glob("[0-9]*/record.tar")
        }

    def agents(self) -> list[int]:
        """Processes that name this scene's memory-backed directory on their command line."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    words = (entry / "cmdline").read_bytes()
                except OSError:
                    continue
                if os.fsencode(self.memory) in words:
                    found.append(int(entry.name))
        return found

    def check_nothing_lingers(self, state: Path | None = None) -> None:
        """No home, agent or temporary file is left."""
        assert list(self.memory.iterdir()) == []
        assert self.agents() == []
        for folder in (state or self.state, self.directory / "out"):
            hidden = list(folder.rglob(".*"))
            assert hidden == []

    def check_whole(self, *, committed: Mapping[str, bytes] | None = None, drilled: str = "drill") -> Record:
        """Exactly one epoch: complete, the same bytes everywhere, proven; state and ledger sound.

        Args:
            committed: What an earlier run had committed, by epoch: it must be what is stored.
            drilled: What the ledger calls the drill: ``drill-failed`` where one copy was out of reach and
                the other, of the same bytes, was proven.
        """
        context = self.context()
        stored = self.stored()
        assert len(stored) == 1, sorted(stored)
        ((epoch, copies),) = stored.items()
        assert set(copies) == {"vault", "s3"}
        data = copies["vault"]
        assert copies["s3"] == data
        for name, earlier in (committed or {}).items():
            assert (name, earlier) == (epoch, data)
        record = verify.verify_record(
            data, context.fingerprint, deadline=context.deadline, now=context.clock.now(), epoch=epoch
        )
        (entry,) = context.journal.entries()
        assert entry.epoch == epoch
        assert entry.record_bytes() is None, "the sealed record stays on the host only until it is proven"
        assert {name: receipt.sha256 for name, receipt in entry.receipts().items()} == dict.fromkeys(
            copies, record.sha256
        )
        mark = entry.proven()
        assert mark is not None
        assert mark["record_sha256"] == record.sha256.hex
        assert Path(mark["certificate"]).is_file()
        events = [item.event for item in context.ledger.entries()]  # checks the chain
        assert {drilled, "escrow"} <= set(events)
        self.check_nothing_lingers()
        return record
