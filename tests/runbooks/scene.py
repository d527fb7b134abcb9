"""What a runbook is executed in: a server, its escrow, its people, and the operator's directory."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.clock import Deadline
from pipeline.devstack.programs import OPENBAO, find
from pipeline.record import verify
from pipeline.record.verify import Record
from tests.runbooks.runner import execute
from tests.support import people, shellcommand
from tests.support.commandline import ROOT, Run, environment, next_second, orgkey

if TYPE_CHECKING:
    from tests.conftest import Place

PAGES = ROOT / "docs" / "runbooks"
PASSPHRASE = b"correct horse battery staple"
MORE = """
[target.disk]
kind = "directory"
domain = "disk"
controlled_by = ["storage-admins"]
path = {disk}
[ledger]
mirrors = ["s3", "disk"]
heads = ["vault"]
[backups.nightly]
location = {backups}
"""


class Scene:
    """One estate with a stand-in server, escrowed once, everything its own but the stack.

    Args:
        place: Where its records lie on a stack.
        folder: The operator's directory.
    """

    def __init__(self, place: Place, folder: Path) -> None:
        self.place = place
        self.folder = folder
        self.server = folder / "server"
        self.backups = folder / "backups"
        self.disk = folder / "disk"
        self.state = folder / "state"
        self.work = folder / "work"
        self.config = folder / "orgkey.toml"
        for path in (self.backups, self.disk):
            path.mkdir()
        self.passphrase = self.write("export-passphrase", PASSPHRASE)
        self.fingerprint = self._start()
        self._site()
        given = (str(self.export), "--export-passphrase-file", str(self.passphrase))
        self.epoch = self.ask("escrow", *given)["epoch"]

    def _start(self) -> str:
        self.lab("setup", "acme.example", "--algorithm", "ed25519")
        fingerprint = str(self.lab("status", "--json").document["fingerprint"])
        for name in ("Ada", "Grace"):
            self.lab("user", "add", name, f"{name.lower()}@acme.example")
        self.backup()
        self.export = self.exported("export.asc")
        tables = people.tables(people.folder(self.folder / "certificates", people.NAMES))
        more = MORE.format(disk=json.dumps(str(self.disk)), backups=json.dumps(str(self.backups)))
        self.place.write_config(self.config, fingerprint, more=tables + more)
        return fingerprint

    def _site(self) -> None:
        """The file that every page begins with, as `docs/runbooks/README.md` describes it."""
        self.write(
            "site.env",
            f"""\
export ORGKEY_CONFIG={self.config}
export ORGKEY_STATE_DIR={self.state}
FPR={self.fingerprint}
BACKUPS={self.backups}
WORK={self.work}
""".encode(),
        )

    # -- running ---------------------------------------------------------------------------------------

    @property
    def env(self) -> dict[str, str]:
        """The environment of the page's shell: the program on PATH, nothing ambient."""
        base = environment(self.folder)
        tools = self.folder / "bin"
        if not tools.exists():
            tools.mkdir()
            program = find(OPENBAO)
            assert program is not None
            for name in ("bao", "vault"):
                (tools / name).symlink_to(program)
            shellcommand.put(tools)
        parts = (str(tools), str(Path(sys.executable).parent), base["PATH"])
        return base | {"PATH": os.pathsep.join(parts)}

    def follow(self, page: str, happenings: Mapping[str, Callable[[], None]] | None = None) -> None:
        """Execute a page."""
        execute(PAGES / f"{page}.md", self.folder, self.env, happenings)

    def run(self, *words: str, expect: int | None = 0) -> Run:
        """Run the command as the operator does, outside the page."""
        common = ("--config", str(self.config), "--state-dir", str(self.state))
        return orgkey(self.folder, *words, *common, expect=expect)

    def ask(self, *words: str, expect: int | None = 0) -> dict[str, Any]:
        """Run the command, and return its document."""
        return self.run(*words, "--json", expect=expect).document

    def lab(self, *words: str, server: Path | None = None) -> Run:
        """Something happens at the stand-in server."""
        return orgkey(self.folder, "lab", *words, "--dir", str(server or self.server), expect=0)

    # -- what lies around ------------------------------------------------------------------------------

    def write(self, name: str, data: bytes) -> Path:
        """Write a private file."""
        path = self.folder / name
        path.write_bytes(data)
        path.chmod(0o600)
        return path

    def backup(self, server: Path | None = None) -> None:
        """The server, or another one, makes a backup."""
        to = ("--to", str(self.backups))
        self.lab("backup", "--content", "random", "--size", "20000", *to, server=server)

    def exported(self, name: str) -> Path:
        """The server's keypair, exported to a file."""
        path = self.folder / name
        told = ("--out", str(path), "--export-passphrase-file", str(self.passphrase))
        self.lab("export", "keypair", *told)
        return path

    def edit(self, old: str, new: str) -> None:
        """Somebody edits the configuration."""
        text = self.config.read_text()
        assert old in text
        self.config.write_text(text.replace(old, new))

    def record(self, epoch: str | None = None) -> Record:
        """An epoch's record, from the directory."""
        name = epoch or self.epoch
        data = (self.disk / self.fingerprint / f"{name}.tar").read_bytes()
        return verify.verify_record(
            data, self.fingerprint, deadline=Deadline(60), now=datetime.now(UTC), epoch=name
        )

    def shares(self, *names: str) -> None:
        """Custodians send their words, and the operator puts them into one file."""
        next_second(self.epoch)
        record = self.record()
        words = [people.words(name, record).reveal() for name in names]
        self.work.mkdir(exist_ok=True)
        path = self.work / "shares"
        path.write_bytes(b"".join(line + b"\n" for line in words))
        path.chmod(0o600)

    def lose_server(self) -> None:
        """The server, its export and its passphrase are gone."""
        self.lab("reboot")
        shutil.rmtree(self.server)
        self.export.unlink()
        self.passphrase.unlink()

    def close(self) -> None:
        """Nothing of a server stays in memory."""
        for path in (self.server, *self.work.glob("server*")):
            if (path / "server.json").exists():
                self.lab("reboot", server=path)
