"""Runs one command for each configuration of a fleet, each in a process of its own.

The processes are forked from this one after everything is imported, so that each costs little, and before
anything is known that one of them must not know: this process reads no configuration, no login, no key.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn

import pipeline
from pipeline.cli.fleet_members import FleetMember
from pipeline.core import retry
from pipeline.core.errors import Code, OrgkeyError

_NOT_LOADED: Final = (
    "pipeline.cli.",
    "pipeline.config.setup.",
    "pipeline.devstack.",
    "pipeline.openpgp.proofs.pgpy_child.",
    "pipeline.sources.backups.crew.dask_",
    "pipeline.sources.backups.worker.",
)
"""What members do not use, programs of their own, and what needs Dask: it brings a thread of its own."""
_LIBRARIES: Final = (
    "botocore.session",
    "botocore.client",
    "botocore.httpsession",
    "jinja2",
    "prometheus_client",
    "pysequoia",
    "ssl",
)
_LARGEST: Final = 64 << 20
"""Bytes of one member's answer, or of what it says on standard error."""
_GRACE_SECONDS: Final = 10.0


_VERDICTS: Final[dict[Code, str]] = {
    Code.OK: "good",
    Code.STALE: "stale",
    Code.DEGRADED: "degraded",
    Code.INTEGRITY: "damaged",
    Code.PROOF_FAILED: "not proven",
    Code.NOT_ENOUGH_SHARES: "not proven",
    Code.WRONG_SHARE: "not proven",
    Code.UNREACHABLE: "not known",
    Code.DENIED: "not known",
    Code.DEADLINE: "not known",
    Code.LOCKED: "not known",
}


@dataclass(frozen=True)
class MemberResult:
    """What came of one member.

    Attributes:
        member: Which one.
        code: Its exit code.
        document: The document that it printed; ``None`` where it printed none.
        said: What it said on standard error.
        seconds: How long it took.
    """

    member: FleetMember
    code: Code
    document: Mapping[str, Any] | None
    said: str
    seconds: float

    @property
    def verdict(self) -> str:
        """What the run says, in a word or two."""
        document = self.document or {}
        if self.code is Code.STALE and "epoch" in document and document["epoch"] is None:
            return "cannot be restored"
        return _VERDICTS.get(self.code, "failed")

    @property
    def problem(self) -> str | None:
        """Why there is no result, in words."""
        error = (self.document or {}).get("error")
        if isinstance(error, Mapping):
            return f"{error['message']}; {error['hint']}"
        return None if self.document else self.said.strip().rpartition("\n")[2] or "it has said nothing"


@dataclass
class _Running:
    member: FleetMember
    answer: int
    said: int
    started: float = field(default_factory=time.monotonic)


def preload() -> None:
    """Import what members use, and what takes long to load; nothing is contacted, nothing secret is read."""
    gc.disable()
    retry.load()
    for name in _LIBRARIES:
        importlib.import_module(name)
    for found in pkgutil.walk_packages(pipeline.__path__, "pipeline."):
        if not f"{found.name}.".startswith(_NOT_LOADED):
            importlib.import_module(found.name)
    for name in ("status_command", "doctor_command", "drill_command", "backups_verify", "report_command"):
        importlib.import_module(f"pipeline.cli.{name}")
    from pipeline.providers.aws import session

    session.preload()
    gc.collect()
    gc.freeze()  # the children shall share these pages
    gc.enable()


def run(
    members: Sequence[FleetMember], words: Sequence[str], jobs: int, more: Callable[[str], Sequence[str]]
) -> Iterator[MemberResult]:
    """Run a command for each member, so many at once; the results come as they come.

    Args:
        members: The members.
        words: The command and its options, without ``--config`` and ``--json``.
        jobs: How many at once.
        more: Gives more words by the member's name.
    """
    preload()
    waiting = list(reversed(members))
    running: dict[int, _Running] = {}
    with tempfile.TemporaryDirectory(prefix="orgkey-fleet-") as silences:
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    member = waiting.pop()
                    line = [*words, *more(member.name), "--config", str(member.config), "--json", "--quiet"]
                    pid, one = _start(member, line, Path(silences))
                    running[pid] = one
                pid, status = os.wait()
                if pid in running:
                    yield _ended(running.pop(pid), status)
        finally:
            _end(list(running))
            for one in running.values():
                os.close(one.answer)
                os.close(one.said)


def _start(member: FleetMember, line: Sequence[str], silences: Path) -> tuple[int, _Running]:
    one = _Running(member, os.memfd_create("answer"), os.memfd_create("said"))
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _be(one, line, silences)
    return pid, one


def _be(one: _Running, line: Sequence[str], silences: Path) -> NoReturn:
    """Be the member: nothing of the fleet's process is left but its modules."""
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDONLY)
        for number, target in ((nothing, 0), (one.answer, 1), (one.said, 2)):
            os.dup2(number, target)
        os.closerange(3, 1 << 16)
        retry.SilentServers.folder = silences
        from pipeline.cli import app

        sys.argv = ["orgkey", *line]
        try:
            variables = one.member.environment(os.environ)
        except OrgkeyError as error:
            from pipeline.cli.output import report_error

            report_error(error, as_json=True)
            sys.stdout.flush()
            os._exit(int(error.code))
        os.environ.clear()
        os.environ.update(variables)
        app.main()
    finally:
        os._exit(int(Code.INTERNAL))


def _ended(one: _Running, status: int) -> MemberResult:
    texts = []
    for number in (one.answer, one.said):
        size = min(os.fstat(number).st_size, _LARGEST)
        texts.append(os.pread(number, size, 0).decode(errors="replace"))
        os.close(number)
    code = os.waitstatus_to_exitcode(status)
    try:
        document = json.loads(texts[0])
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        document, code = None, code or int(Code.INTERNAL)  # without an answer nothing is good
    return MemberResult(
        one.member,
        Code(code) if code in set(Code) else Code.INTERNAL,
        document,
        texts[1],
        time.monotonic() - one.started,
    )


def _end(pids: Sequence[int]) -> None:
    """End members that still run; each has ended its own children by then, or is killed with them."""
    for pid in pids:
        with suppress(ProcessLookupError):  # the signal came when it had just been waited for
            os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + _GRACE_SECONDS
    left = {pid for pid in pids if not _gone(pid)}
    while left and time.monotonic() < until:
        time.sleep(0.02)
        left = {pid for pid in left if not _gone(pid)}
    for pid in left:
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _gone(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return True
