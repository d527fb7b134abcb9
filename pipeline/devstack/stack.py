"""The local stack as one thing: up, down, status, and where everything is."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.core import files
from pipeline.core.errors import LocalFilesProblem, ProgramMissing, UsageProblem
from pipeline.core.resources import infra_path
from pipeline.devstack import build, members, wire
from pipeline.devstack.kms_member import KmsServer
from pipeline.devstack.members import MemberStatus, StackServer
from pipeline.devstack.outside import Outside
from pipeline.devstack.programs import OPENBAO, VERSITYGW
from pipeline.devstack.progress import Progress
from pipeline.devstack.s3 import S3Server
from pipeline.devstack.state import IDENTITIES, MEMBERS, Book, Layout, Member, StackState
from pipeline.devstack.vault import VaultServer

# Part of the digest that says whether the set-up is current: raise it when the set-up's code changes.
SETUP = "4"
BUILT = (OPENBAO, VERSITYGW)  # what is built where it is missing
ACCESS_KEYS = {identity: f"orgkey{identity}" for identity in IDENTITIES}


def check_extra() -> None:
    """See that this program was installed with what the stack needs.

    Raises:
        ProgramMissing: It was not.
    """
    try:
        importlib.metadata.version("moto")
    except importlib.metadata.PackageNotFoundError:
        raise ProgramMissing("the stack's KMS needs moto", hint="pip install 'orgkey-escrow[lab]'") from None


def default_directory() -> Path:
    """Where the stack lives when nothing else is named: in the user's state directory."""
    import platformdirs

    return platformdirs.user_state_path("orgkey-escrow") / "stack"


class Stack:
    """A stack in a directory of its own; any number can run side by side.

    Args:
        directory: Its private directory; :func:`default_directory` for the user's one.
        outside: Servers to use in place of its own.
        report: Where progress is shown.
    """

    def __init__(
        self, directory: Path, *, outside: Outside | None = None, report: Progress | None = None
    ) -> None:
        self.layout = Layout(directory.absolute())
        self._outside = outside = outside or Outside()
        self._report: Progress = report or Progress()
        self._book = Book(self.layout)
        self._vault = VaultServer(self.layout, outside.vault_address)
        self._servers: dict[str, StackServer] = {
            "vault": self._vault,
            "s3": S3Server(self.layout, outside),
            "kms": KmsServer(self.layout),
        }

    @property
    def state(self) -> StackState:
        """What is written down: endpoints, bucket, KMS key.

        Raises:
            UsageProblem: There is no stack yet.
        """
        now = self._book.now if self._book.now.members else self._book.read()
        if not now.members:
            raise UsageProblem(
                f"there is no stack in {self.layout.root}", hint="start one with `orgkey stack up`"
            )
        return now

    def endpoint(self, name: str) -> str:
        """URL of a member: ``vault``, ``s3`` or ``kms``."""
        return self.state.members[name].endpoint

    def up(self) -> None:
        """Start what does not run, open what is sealed, set up what is missing. Safe to repeat.

        Raises:
            ProgramMissing: A server can neither be found nor built.
            LocalFilesProblem: A server does not start, or the directory cannot be used.
            Unreachable: A server does not answer as it should.
            UsageProblem: This stack was made with other outside servers.
        """
        from concurrent.futures import ThreadPoolExecutor

        files.private_directory(self.layout.root)
        with self._locked():
            self._book.read()
            self._check_outside()
            self._check_programs()
            self._write_identities()
            wanted = self._setup_digest()
            due = self._book.now.setup != wanted
            with ThreadPoolExecutor(len(MEMBERS)) as pool:
                jobs = [pool.submit(self._bring_up, name, due) for name in MEMBERS]
            for job in jobs:
                job.result()
            if due:
                self._book.update(setup=wanted)
        if missing := self._book.now.lacks:
            self._report.line(
                f"the outside S3 lacks {'; '.join(missing)}: records are less safe there, or cannot be stored"
            )

    def down(self, *, wipe: bool = False) -> None:
        """Stop exactly the processes that this stack started.

        Args:
            wipe: Also remove everything that it stored.

        Raises:
            LocalFilesProblem: A process does not end, or something cannot be removed.
        """
        if not self.layout.root.is_dir():
            return
        with self._locked():
            self._book.read()
            for name in MEMBERS:
                members.stop(name, self._book)
            if wipe:
                self._wipe()
        with suppress(OSError):  # something else is in there, or it was not wiped
            self.layout.root.rmdir()

    def status(self) -> list[MemberStatus]:
        """Look at every member; empty when there is no stack."""
        known = self._book.read().members
        return [members.look(self._servers[name], known[name]) for name in MEMBERS if name in known]

    def _check_outside(self) -> None:
        for name, member in self._book.now.members.items():
            if member.outside != bool(self._servers[name].outside):
                raise UsageProblem(
                    f"the stack in {self.layout.root} was made {'with' if member.outside else 'without'} "
                    f"an outside server for {name}",
                    hint="name another directory with --dir, or wipe this one: `orgkey stack down --wipe`",
                )

    def _check_programs(self) -> None:
        """Report what is missing before minutes go into a build, and before any server runs."""
        check_extra()
        self._vault.check()
        for server in self._servers.values():
            if server.program and not server.outside:
                build.check(server.program, self._report)

    def _start(self, server: StackServer) -> None:
        program = build.ensure(server.program, self._report) if server.program else Path(sys.executable)
        members.start(server, program, self._book, self._report)

    def _bring_up(self, name: str, due: bool) -> None:
        server = self._servers[name]
        if server.outside:
            self._book.update(Member(name, server.outside, outside=True))
        else:
            if due and name == "kms":
                members.stop(name, self._book)  # who is who is read at its start
            self._start(server)
        if due:
            self._book.update(**server.set_up(self.endpoint(name)))

    def _wipe(self) -> None:
        # By name: a directory given by mistake loses nothing of somebody else's.
        for path in self.layout.ours():
            with files.os_errors(f"cannot remove {path}", hint="remove it by hand"):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
        self._book.read()

    def _write_identities(self) -> None:
        """Write credentials for S3 and KMS: made once, or copied from what an outside server needs."""
        source = self._outside.s3_credentials_file if self._outside.s3_endpoint else None
        files.private_directory(self.layout.identities)
        for identity, access in ACCESS_KEYS.items():
            path = self.layout.aws_credentials(identity)
            files.private_directory(path.parent)
            if source is not None:
                # An outside server may know some only; without writer and driller nothing works.
                profile = "default" if identity == "root" else identity
                with suppress(*([] if identity in ("writer", "driller") else [LocalFilesProblem])):
                    files.replace(path, wire.write_credentials(*wire.read_credentials(source, profile)))
            # KMS is the stack's own, and needs a root even where the outside server tells none.
            if not path.exists() and (source is None or identity == "root"):
                files.replace(path, wire.write_credentials(access, secrets.token_hex(20)))
        if self._outside.vault_address and self._outside.vault_token_file:
            files.replace(self.layout.root_token, self._outside.vault_token_file.read_bytes().strip())

    def _setup_digest(self) -> str:
        digest = hashlib.sha256(f"{SETUP} {self._outside}".encode())
        shipped = (infra_path("stack", "policies"), infra_path("vault"))
        for path in sorted(file for folder in shipped for file in folder.rglob("*") if file.is_file()):
            digest.update(path.read_bytes())
        return digest.hexdigest()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Change the stack alone; whoever comes meanwhile waits."""
        while True:
            with self.layout.lock.open("w") as handle:
                fcntl.flock(handle, fcntl.LOCK_EX)
                if _same_file(handle.fileno(), self.layout.lock):
                    yield
                    return
            # A wipe has removed the file that we waited for.
            files.private_directory(self.layout.root)


def _same_file(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
