"""`orgkey` without the half second of imports: processes forked from one that has imported everything.

:class:`Popen` and :func:`run` are those of :mod:`subprocess`. A command line that starts ``orgkey`` is not
executed but forked from a server of this process, which starts with the first of them: the new process has
a number of its own, its own session, environment, limits and descriptors, real signals and a real exit
status. Everything else, and what needs a new interpreter (another locale, a ``PYTHON*`` variable,
``preexec_fn``), is executed as usual. Use :mod:`subprocess` itself where a test is about the start: imports,
hardening, what ``/proc`` shows of the command line, the peak of memory.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
ENTRIES: Final[dict[tuple[str, ...], str]] = {
    (sys.executable, "-m", "pipeline.cli.app"): "pipeline.cli.app:main",
    (str(Path(sys.executable).with_name("orgkey")),): "pipeline.cli.entry:main",
    (sys.executable, str(ROOT / "tests" / "support" / "faulty.py")): "tests.support.faulty:main",
    (sys.executable, "-m", "tests.support.confined"): "tests.support.confined:forked",
}
"""What stands at the beginning of a command line, and the function that is called in its place."""
_CHILDREN: Final = ("pipeline.openpgp.proofs.pgpy_child", "pipeline.sources.backups.worker")
CLOSED: Final = -100
"""Given as a standard stream: it is not open at all. For forked processes alone."""

# What an interpreter reads before its first line; PYTHONPATH only matters to what is not imported yet.
_READ_AT_START: Final = (
    "LC_",
    "LANG",
    "PYTHON",
    "LD_",
    "MALLOC_",
    "FORCE_COLOR",
    "NO_COLOR",
    "TERMINAL_WIDTH",
)
# An interpreter without a locale sets the first itself, for its children, too.
_SAME_LOCALE: Final = {(name, "C.UTF-8") for name in ("LC_CTYPE", "LC_ALL", "LANG")}
_LIMITS: Final = tuple(
    getattr(resource, f"RLIMIT_{name}")
    for name in ("AS", "CORE", "CPU", "DATA", "FSIZE", "MEMLOCK", "NOFILE", "NPROC", "STACK")
)
_START_SECONDS: Final = 60.0


class Popen(subprocess.Popen[Any]):
    """A process, forked from the server where that makes no difference to what is tested.

    Args:
        terminal: Whether its standard input, else its standard error, becomes its controlling terminal; for
            forked ones alone.
    """

    def __init__(self, args: Sequence[str | bytes], *, terminal: bool = False, **how: Any) -> None:
        self._job: _Job | None = None
        self._terminal = terminal
        super().__init__(args, **how)

    @property
    def forked(self) -> bool:
        """Whether it comes from the server."""
        return self._job is not None

    def _execute_child(
        self,
        args: Any,
        executable: Any,
        before: Any,
        close: bool,
        pass_fds: Any,
        cwd: Any,
        env: Any,
        *rest: Any,
    ) -> None:
        _, _, shell, p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite, *more = rest
        _, gid, gids, uid, umask, session, group = more
        environment = dict(os.environ if env is None else env)
        usual = close and group == -1 and not (shell or executable or before or gid or gids or uid)
        entry = _entry(args) if usual and _same_start(environment) else None
        if entry is None:
            only_forked = self._terminal or CLOSED in (p2cread, c2pwrite, errwrite)
            assert not only_forked, f"cannot be forked: {args}"
            super()._execute_child(  # type: ignore[misc]  # typeshed leaves it out
                args, executable, before, close, pass_fds, cwd, env, *rest
            )
            return
        function, words = entry
        streams = {0: p2cread, 1: c2pwrite, 2: errwrite}
        given = {number: number if fd == -1 else fd for number, fd in streams.items() if fd != CLOSED}
        given |= {number: number for number in pass_fds}
        request = {
            "entry": function,
            "argv": [os.fsdecode(word) for word in words],
            "env": [[os.fsdecode(name), os.fsdecode(value)] for name, value in environment.items()],
            "cwd": os.fsdecode(cwd or Path.cwd()),
            "umask": _umask() if umask == -1 else umask,
            "limits": [[number, *resource.getrlimit(number)] for number in _LIMITS],
            "session": session,
            "terminal": self._terminal,
        }
        try:
            self._job = _server().start(request, given)
            self.pid = self._job.pid
            self._child_created = True
        finally:
            self._close_pipe_fds(  # type: ignore[attr-defined]  # as above
                p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite
            )

    def _wait(self, timeout: float | None) -> int:
        if self._job is None:
            code: int = super()._wait(timeout)  # type: ignore[misc]  # as above
            return code
        if self.returncode is None:
            status = self._job.status(timeout)
            if status is None:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def _internal_poll(self, *args: Any, **how: Any) -> int | None:
        if self._job is None:
            code: int | None = super()._internal_poll(*args, **how)  # type: ignore[misc]  # as above
            return code
        if self.returncode is None and (status := self._job.status(0)) is not None:
            self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def send_signal(self, sig: int) -> None:
        """Send a signal, unless it has ended."""
        if self._job is None:
            super().send_signal(sig)
        elif self.poll() is None:
            self._job.send_signal(sig)


def run(
    args: Sequence[str | bytes],
    *,
    input: Any = None,  # noqa: A002 - as subprocess calls it
    capture_output: bool = False,
    timeout: float | None = None,
    check: bool = False,
    **how: Any,
) -> subprocess.CompletedProcess[Any]:
    """Run a command to its end; see :func:`subprocess.run`."""
    if input is not None:
        how["stdin"] = subprocess.PIPE
    if capture_output:
        how["stdout"] = how["stderr"] = subprocess.PIPE
    with Popen(args, **how) as process:
        try:
            out, err = process.communicate(input, timeout=timeout)
        except BaseException:
            process.kill()
            process.wait()
            raise
    done = subprocess.CompletedProcess(process.args, process.returncode, out, err)
    if check:
        done.check_returncode()
    return done


def _entry(args: Any) -> tuple[str, list[str | bytes]] | None:
    if isinstance(args, str | bytes | os.PathLike):
        return None
    words = [os.fspath(word) for word in args]
    for start, function in ENTRIES.items():
        if tuple(words[: len(start)]) == start:
            return function, [start[-1], *words[len(start) :]]
    return None


def _same_start(env: Mapping[Any, Any]) -> bool:
    """Whether an interpreter would start in this environment as the server's did."""
    for name, value in env.items():
        text = os.fsdecode(name)
        if text == "PYTHONPATH":
            if os.fsdecode(value) != str(ROOT):
                return False
        elif text.startswith(_READ_AT_START) and (text, os.fsdecode(value)) not in _SAME_LOCALE:
            return False
    return True


def _umask() -> int:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1], 8) for line in status.splitlines() if line.startswith("Umask:"))


class _Job:
    """One forked process, as the one that asked for it sees it."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._lock = threading.Lock()
        self._status: int | None = None
        weakref.finalize(self, link.close)
        whole, fds, _, _ = socket.recv_fds(link, 4096, 1)
        told = json.loads(whole or b"{}")
        if "errno" in told:
            self.status(None)
            raise OSError(
                told["errno"], os.strerror(told["errno"]), told["name"]
            )  # FileNotFoundError and its like
        if not fds:
            raise RuntimeError(f"the fork server cannot start it: {told}")
        self.pid: int = told["pid"]
        self._handle = fds[0]
        weakref.finalize(self, os.close, self._handle)

    def status(self, seconds: float | None) -> int | None:
        """Its wait status, once it has ended and was collected; ``None`` when that takes longer."""
        with self._lock:
            if self._status is None:
                if not select.select([self._link], [], [], seconds)[0]:
                    return None
                whole = self._link.recv(4096)
                if not whole:
                    raise RuntimeError("the fork server has ended")
                self._status = json.loads(whole)["status"]
            return self._status

    def send_signal(self, number: int) -> None:
        with suppress(ProcessLookupError):  # it has just ended
            signal.pidfd_send_signal(self._handle, number)


class _Link:
    """The server that forked this process."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control

    @property
    def usable(self) -> bool:
        """Whether it can be asked."""
        return True

    def close(self) -> None:
        """It is not this process's to end."""

    def start(self, request: Mapping[str, Any], given: Mapping[int, int]) -> _Job:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            whole = json.dumps({**request, "numbers": list(given)}).encode()
            socket.send_fds(self._control, [whole], [theirs.fileno(), *given.values()])
        return _Job(ours)


class _Server(_Link):
    """The server of this process."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        super().__init__(ours)
        self._owner = os.getpid()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.forked", str(theirs.fileno())],
                cwd=ROOT,
                # No locale, as in the environments of the commands.
                env={"PATH": os.defpath, "HOME": "/nonexistent", "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        if not select.select([self._control], [], [], _START_SECONDS)[0] or not self._control.recv(64):
            self._process.kill()
            self._process.wait()
            raise RuntimeError("the fork server did not start")

    @property
    def usable(self) -> bool:
        """Whether it runs, and belongs to this process and not to one that forked it."""
        return self._owner == os.getpid() and self._process.poll() is None

    def close(self) -> None:
        """End it, and with it what it has forked and nobody has waited for."""
        if self._owner == os.getpid():
            self._control.close()
            self._process.wait()


_made: _Link | None = None
_making: Final = threading.Lock()


def _server() -> _Link:
    global _made
    with _making:
        if _made is None or not _made.usable:
            _made = _Server()
        return _made


def link(control: socket.socket) -> None:
    """Have a process that was forked ask the server that forked it.

    Args:
        control: Where it takes requests of those that it has forked.
    """
    global _made
    _made = _Link(control)


def fork_children() -> None:
    """Let what this process proves with PGPy, and what reads its backups, be forked, too."""
    from pipeline.core import process

    ENTRIES.update({tuple(process.isolated(child)): f"{child}:main" for child in _CHILDREN})
    wait_unreaped = process.wait_unreaped

    def wait(child: Any, seconds: float) -> bool:
        if not getattr(child, "forked", False):
            return wait_unreaped(child, seconds)
        with suppress(subprocess.TimeoutExpired):
            child.wait(seconds)
        return child.returncode is not None

    process.wait_unreaped = wait
    setattr(process, "subprocess", _Subprocess())  # noqa: B010 - mypy would refuse the other way


class _Subprocess:
    """The module, with the ``Popen`` that forks what can be forked."""

    def __getattr__(self, name: str) -> Any:
        return Popen if name == "Popen" else getattr(subprocess, name)


def end() -> None:
    """End the server of this process, if it was ever asked; the next one asks a new one."""
    global _made
    with _making:
        if _made is not None:
            _made.close()
        _made = None
