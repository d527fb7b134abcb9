"""Starting one server of the stack and seeing it through until it can be used; stopping it again."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.core.errors import LocalFilesProblem
from pipeline.devstack import processes
from pipeline.devstack.programs import Program
from pipeline.devstack.progress import Progress
from pipeline.devstack.state import Book, Layout, Member

START_SECONDS = 60.0
TRIES = 3  # ports: somebody may take one between our look and the server's start


class StackServer:
    """One kind of member: how it is started, opened and set up.

    Args:
        layout: The stack's files.
        outside: URL of somebody else's server that is used in its place.
    """

    name: str
    label: str
    program: Program | None = None
    """What is run, and built where it is missing; ``None`` for this Python."""

    def __init__(self, layout: Layout, outside: str | None = None) -> None:
        self.layout = layout
        self.outside = outside

    def command(self, program: Path, port: int) -> tuple[list[str], dict[str, str]]:
        """Prepare its files; return arguments and environment."""
        raise NotImplementedError

    def answers(self, endpoint: str) -> bool:
        """Whether it answers at all."""
        raise NotImplementedError

    def ready(self, endpoint: str) -> bool:
        """Whether it can be used."""
        return self.answers(endpoint)

    def open(self, endpoint: str) -> None:
        """Do what every start needs."""

    def version(self, endpoint: str, program: Path) -> str:
        """What it calls its version."""
        raise NotImplementedError

    def set_up(self, endpoint: str) -> Mapping[str, Any]:
        """Make what the pipeline needs there; what is there already stays.

        Returns:
            What the state has to say of it.

        Raises:
            OrgkeyError: The server does not answer as it should.
        """
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class MemberStatus:
    """What is seen of one server now.

    Attributes:
        name: ``vault``, ``s3`` or ``kms``.
        running: Whether its process runs (an outside server: whether it answers).
        ready: Whether it can be used.
        pid: Process id, ``None`` when it does not run or is not ours.
        endpoint: Its URL.
        version: As it says itself.
        outside: Whether it is an outside server.
    """

    name: str
    running: bool
    ready: bool
    pid: int | None
    endpoint: str
    version: str
    outside: bool


def look(server: StackServer, member: Member) -> MemberStatus:
    """See how a member is now."""
    running = server.answers(member.endpoint) if member.outside else processes.alive(member.process)
    return MemberStatus(
        name=member.name,
        running=running,
        ready=running and server.ready(member.endpoint),
        pid=member.process.pid if running and member.process else None,
        endpoint=member.endpoint,
        version=member.version,
        outside=member.outside,
    )


def start(server: StackServer, program: Path, book: Book, report: Progress) -> None:
    """Start a member unless it runs, open it, and wait until it is ready.

    Args:
        server: Which one.
        program: What to run.
        book: Where it is written down, before anything is asked of it.
        report: Where a changed port is reported.

    Raises:
        LocalFilesProblem: It does not start.
        Unreachable: It does not answer as it should.
    """
    member = _running(server, book.now.members.get(server.name))
    if member is None:
        member = _launch(server, program, book, report)
    server.open(member.endpoint)
    if not wait(server.ready, member, START_SECONDS):
        raise _failure(server, book, "does not become ready")
    version = server.version(member.endpoint, program)
    if version != member.version:
        book.update(replace(member, version=version))


def stop(name: str, book: Book) -> None:
    """Stop a member's process, exactly that one; its data stays.

    Raises:
        LocalFilesProblem: It does not end.
    """
    member = book.now.members.get(name)
    if member is None or member.process is None:
        return
    processes.stop(member.process)
    if processes.alive(member.process):
        raise LocalFilesProblem(
            f"process {member.process.pid} ({name}) does not end", hint="end it by hand, then try again"
        )
    book.update(replace(member, process=None))


def _running(server: StackServer, member: Member | None) -> Member | None:
    """The member, if it runs and answers; one that runs without answering is ended."""
    if member is None or member.process is None or not processes.alive(member.process):
        return None
    processes.send(member.process, signal.SIGCONT)  # it may have been paused
    if wait(server.answers, member, 5.0):
        return member
    processes.stop(member.process)
    return None


def _launch(server: StackServer, program: Path, book: Book, report: Progress) -> Member:
    old = book.now.members.get(server.name)
    preferred = old.port if old else None
    log = book.layout.log(server.name)
    for _ in range(TRIES):
        port = processes.free_port(preferred)
        argv, env = server.command(program, port)
        said = log.stat().st_size if log.exists() else 0
        member = Member(
            server.name, f"http://127.0.0.1:{port}", process=processes.spawn(argv, log=log, env=env)
        )
        book.update(member)  # at once: what is not written down is never stopped
        if wait(server.answers, member, START_SECONDS):
            if preferred not in (None, port):
                report.line(
                    f"{server.label}: port {preferred} is taken, it listens on {port} now; "
                    "write the configuration again with `orgkey stack config`"
                )
            return member
        stop(server.name, book)
        if b"in use" not in log.read_bytes()[said:]:
            break
    raise _failure(server, book, "does not start")


def wait(question: Callable[[str], bool], member: Member, seconds: float) -> bool:
    """Ask until the answer is yes, the process has ended, or the time is over; tell which.

    Args:
        question: What is asked, of the member's URL.
        member: Which one.
        seconds: The longest wait.
    """
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if question(member.endpoint) and processes.alive(member.process):
            return True  # of a dead process' port, somebody else's answer would not count
        if not processes.alive(member.process):
            return False
        time.sleep(0.02)
    return False


def _failure(server: StackServer, book: Book, what: str) -> LocalFilesProblem:
    log = book.layout.log(server.name)
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return LocalFilesProblem(
        f"the stack's {server.label} {what}: {' / '.join(lines[-3:]) or 'it printed nothing'}",
        hint=f"see {log}",
    )
