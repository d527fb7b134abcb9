"""Run other programs: bounded in time and output, in a clean environment, killed whole.

Secrets reach a program by its standard input or by :func:`secret_fd`, never by argument or environment.
"""

from __future__ import annotations

import os
import resource
import selectors
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipeline.core.environment import clean_environment
from pipeline.core.errors import DeadlinePassed, Interrupted, LocalFilesProblem, ProgramMissing
from pipeline.core.files import os_errors
from pipeline.core.secret import Secret

MAX_OUTPUT: Final = 64 * 1024 * 1024
"""How much a program may write to each of stdout and stderr, in bytes, unless told otherwise."""

_CHUNK: Final = 65536
_GRACE_SECONDS: Final = 0.5
"""How long a program may tidy up after SIGTERM, and a grandchild may hold a pipe after its parent's end."""

_POLL_SECONDS: Final = 0.01

_KILLED_SECONDS: Final = 2.0
"""How long a busy system may take to end a program that was killed."""

_PACKAGES: Final = frozenset({"gpg", "dirmngr", "gpg-agent", "gpgconf", "openssl", "tar"})
"""Programs whose Debian package is called as they are."""


@dataclass(frozen=True, slots=True)
class Completed:
    """What a program that has ended left behind.

    Attributes:
        returncode: Its exit status; negative is the signal that ended it.
        stdout: All of its standard output.
        stderr: All of its standard error.
    """

    returncode: int
    stdout: bytes
    stderr: bytes


class Cancellation:
    """Ends the programs that other threads are running.

    An interrupt reaches the main thread only: it calls :meth:`cancel`, and the threads that wait in
    :func:`run` with this object come back at once.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._cancelled = False

    @property
    def cancelled(self) -> bool:
        """Whether :meth:`cancel` was called."""
        return self._cancelled

    def cancel(self) -> None:
        """Kill what runs now; what would start later raises :class:`Interrupted` instead."""
        with self._lock:
            self._cancelled = True
            for child in self._running:
                _signal_group(child, signal.SIGKILL)

    @contextmanager
    def watching(self, child: subprocess.Popen[bytes]) -> Iterator[None]:
        """Let :meth:`cancel` reach ``child`` for the time of the block."""
        with self._lock:
            self._running.add(child)
            if self._cancelled:
                _signal_group(child, signal.SIGKILL)
        try:
            yield
        finally:
            with self._lock:
                self._running.discard(child)

    def check(self) -> None:
        """Raise when cancelled.

        Raises:
            Interrupted: It was.
        """
        if self._cancelled:
            raise Interrupted("the run was interrupted", hint="run the same command again, it resumes")


def find(program: str, *, path: str | None = None) -> str:
    """Find a program on the search path.

    Args:
        program: Its name, or a path to it.
        path: The search path; the caller's own when not given.

    Raises:
        ProgramMissing: It is not there.
    """
    found = shutil.which(program, path=path)
    if found is None:
        name = Path(program).name
        install = f"install it (Debian, Ubuntu: apt install {name})" if name in _PACKAGES else "install it"
        raise ProgramMissing(f"the program {program} is not found", hint=f"{install}, or correct PATH")
    return found


@contextmanager
def secret_fd(secret: Secret) -> Iterator[int]:
    """Offer a secret on a pipe's read end, for ``--passphrase-fd`` and its like; pass it in ``pass_fds``.

    Args:
        secret: The secret, small enough for a pipe's buffer (64 KiB).

    Yields:
        The number of the descriptor, the same in the program that inherits it.
    """
    read_end, write_end = os.pipe()
    try:
        os.set_blocking(write_end, False)
        try:
            os.write(write_end, secret.reveal())
        finally:
            os.close(write_end)
        yield read_end
    finally:
        os.close(read_end)


def start(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    cwd: Path | None = None,
    stderr: int = subprocess.PIPE,
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own, with pipes; the caller ends it with :func:`end`.

    Args:
        argv: The program and its arguments.
        env: Its environment; :func:`clean_environment` when not given.
        pass_fds: Descriptors that it inherits.
        cwd: Its working directory.
        stderr: Where its standard error goes, as :mod:`subprocess` has it.

    Raises:
        ProgramMissing: It is not installed.
        LocalFilesProblem: The system cannot start it.
    """
    environment = dict(env) if env is not None else clean_environment()
    executable = find(argv[0], path=environment.get("PATH"))
    with os_errors(
        f"cannot start {argv[0]}", hint="check its permissions, and the limits on processes and open files"
    ):
        return subprocess.Popen(
            [executable, *argv[1:]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=environment,
            pass_fds=pass_fds,
            cwd=cwd,
            start_new_session=True,
            bufsize=0,
        )


def isolated(module: str, *arguments: str) -> list[str]:
    """The command line that runs one of this package's modules in an interpreter of its own.

    Isolated: neither the working directory nor PYTHONPATH can slip a module under it. The package that is
    running comes first, before another one that is installed.

    Args:
        module: Its name.
        arguments: What it finds in ``sys.argv``.
    """
    code = "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); runpy.run_module(sys.argv.pop(1), "
    code += "run_name='__main__', alter_sys=True)"
    root = str(Path(__file__).resolve().parents[2])
    return [sys.executable, "-I", "-W", "ignore", "-c", code, root, module, *arguments]


def end(child: subprocess.Popen[bytes], *, grace: float = _GRACE_SECONDS) -> None:
    """End a program and everything in its process group, and collect it.

    Args:
        child: What :func:`start` returned.
        grace: Seconds between SIGTERM and SIGKILL; 0 skips the former.
    """
    try:
        if child.returncode is None and grace > 0 and not wait_unreaped(child, 0):
            _signal_group(child, signal.SIGTERM)
            wait_unreaped(child, grace)
    finally:
        # Before the leader is collected, while its number cannot be anybody else's.
        if child.returncode is None:
            _signal_group(child, signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):
                child.wait(_KILLED_SECONDS)
        for stream in (child.stdin, child.stdout, child.stderr):
            if stream is not None:
                with suppress(OSError):
                    stream.close()


def wait_unreaped(child: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait until a program has ended, without collecting it.

    Args:
        child: What :func:`start` returned.
        seconds: How long to wait.

    Returns:
        Whether it has ended.
    """
    ends = time.monotonic() + seconds
    pause = 0.0005
    ended = os.WEXITED | os.WNOHANG | os.WNOWAIT
    with suppress(ChildProcessError):  # whoever started this program has children collected by themselves
        while child.returncode is None and not os.waitid(os.P_PID, child.pid, ended):
            if time.monotonic() >= ends:
                return False
            time.sleep(pause)
            pause = min(2 * pause, _POLL_SECONDS)
    return True


def _signal_group(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)


def run(
    argv: Sequence[str],
    *,
    stdin: bytes = b"",
    timeout: float,
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    max_output: int = MAX_OUTPUT,
    cwd: Path | None = None,
    cancellation: Cancellation | None = None,
    memory: int | None = None,
) -> Completed:
    """Run a program to its end.

    Args:
        argv: The program and its arguments; never a secret among them.
        stdin: What it reads.
        timeout: Time allowed, in seconds.
        env: Its environment; :func:`clean_environment` when not given.
        pass_fds: Descriptors that it inherits, such as those of :func:`secret_fd`.
        max_output: Bytes allowed on stdout and on stderr, each.
        cwd: Its working directory.
        cancellation: Lets another thread end it.
        memory: How much address space it may have, in bytes, where what it reads is foreign.

    Returns:
        Exit status and output; a status other than 0 is the caller's to judge.

    Raises:
        ProgramMissing: It is not installed.
        DeadlinePassed: It was killed because its time was over.
        Interrupted: It was killed through ``cancellation``.
        LocalFilesProblem: It cannot be started, or wrote too much and was killed.
    """
    cancel = cancellation or Cancellation()
    cancel.check()
    child = start(argv, env=env, pass_fds=pass_fds, cwd=cwd)
    try:
        if memory is not None:
            with suppress(ProcessLookupError):
                resource.prlimit(child.pid, resource.RLIMIT_AS, (memory, memory))
        with cancel.watching(child):
            stdout, stderr = _Talk(child, argv[0], stdin, timeout, max_output).finish()
    finally:
        # Also reached by an interrupt at any point: nothing of the program is left running.
        end(child, grace=0 if cancel.cancelled else _GRACE_SECONDS)
    cancel.check()
    return Completed(child.returncode, stdout, stderr)


class _Talk:
    """The exchange with one program over its three pipes."""

    def __init__(
        self, child: subprocess.Popen[bytes], name: str, stdin: bytes, timeout: float, max_output: int
    ) -> None:
        self.child, self.name, self.timeout, self.max_output = child, name, timeout, max_output
        self.unsent = memoryview(stdin)
        self.ends = time.monotonic() + timeout
        self.exited = False
        assert child.stdin
        assert child.stdout
        assert child.stderr
        self.stdin = child.stdin
        self.outputs = {child.stdout.fileno(): bytearray(), child.stderr.fileno(): bytearray()}

    def finish(self) -> tuple[bytes, bytes]:
        with selectors.DefaultSelector() as selector:
            events = dict.fromkeys(self.outputs, selectors.EVENT_READ)
            for number, event in (events | {self.stdin.fileno(): selectors.EVENT_WRITE}).items():
                os.set_blocking(number, False)
                selector.register(number, event)
            while any(key.fd in self.outputs for key in selector.get_map().values()):
                if not self._step(selector):
                    break
        if not wait_unreaped(self.child, max(0.0, self.ends - time.monotonic())):
            raise self._late()
        stdout, stderr = self.outputs.values()
        return bytes(stdout), bytes(stderr)

    def _step(self, selector: selectors.BaseSelector) -> bool:
        """Move some bytes; false when the program has ended and nobody writes any more."""
        left = self.ends - time.monotonic()
        if left <= 0:
            raise self._late()
        # A grandchild, such as a daemon, can keep the pipes open: the program's own end is what counts.
        ready = selector.select(min(left, _GRACE_SECONDS))
        if not ready:
            if self.exited:
                return False
            self.exited = wait_unreaped(self.child, 0)
        for key, _ in ready:
            (self._read if key.fd in self.outputs else self._write)(selector, key.fd)
        return True

    def _read(self, selector: selectors.BaseSelector, number: int) -> None:
        chunk = os.read(number, _CHUNK)
        if not chunk:
            selector.unregister(number)
            return
        output = self.outputs[number]
        output += chunk
        if len(output) > self.max_output:
            raise LocalFilesProblem(
                f"{self.name} wrote more than {self.max_output} bytes",
                hint="check that it is the right program, and what it was asked for",
            )

    def _write(self, selector: selectors.BaseSelector, number: int) -> None:
        try:
            if self.unsent:
                self.unsent = self.unsent[os.write(number, self.unsent[:_CHUNK]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            # It ended or does not want the rest; its exit status tells.
            self.unsent = self.unsent[:0]
        if not self.unsent:
            selector.unregister(number)
            with suppress(BrokenPipeError):
                self.stdin.close()

    def _late(self) -> DeadlinePassed:
        return DeadlinePassed(
            f"{self.name} did not finish within {self.timeout:.3g} s and was ended",
            hint="run again when the host is less busy; or raise policy.deadline_seconds",
        )
