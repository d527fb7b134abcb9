"""The private home of one use of GnuPG: made fresh, ended whole, swept up by the next run.

A gpg-agent outlives the program that caused it, and may hold an opened key. So every home has an agent
of its own with no cache, and is ended together with it. Its name says which process made it, and its maker
keeps it locked: the lock falls with the maker, however it ends, and the next run's sweep ends the agent that
is left.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import shutil
import signal
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from pipeline.core.errors import LocalFilesProblem
from pipeline.core.files import memory_root
from pipeline.core.host_limits import own_trouble, require_room

PREFIX: Final = "orgkey-gpg-"
WHAT: Final = "use GnuPG"
"""What a host that has run out of something cannot do."""
_ROOM: Final = 1 << 20
"""Bytes for one home: key rings, trust database, sockets, the agent's keys, a log."""
_LONGEST_SOCKET: Final = "S.gpg-agent.browser"
_SOCKET_LIMIT: Final = 107  # sun_path in unix(7), without its final zero
_AGENT_SECONDS: Final = 1.0
"""How long a busy system may take to end an agent that was killed."""

# A low s2k-count saves the agent's calibration (0.1 s) and a slow derivation for every use. It protects
# the agent's own copy of the key only, in a memory-backed directory that lives for a second, under a
# passphrase of 256 bits which no stretching makes stronger.
_AGENT_CONF: Final = """\
allow-loopback-pinentry
default-cache-ttl 0
max-cache-ttl 0
disable-scdaemon
no-grab
s2k-count 65536
"""
_GPG_CONF: Final = """\
no-greeting
no-auto-key-locate
no-auto-key-retrieve
disable-dirmngr
trust-model always
no-auto-check-trustdb
personal-cipher-preferences AES256
enable-dsa2
"""


_open: Final[set[Home]] = set()
"""The homes in use, for a run that is ended by a signal while worker threads still hold some."""


class Home:
    """A fresh GNUPGHOME; a context manager.

    Attributes:
        path: The directory, memory-backed, short enough for the agent's socket, mode 0700.
    """

    def __init__(self) -> None:
        self.path = Path()
        self._lock: int | None = None

    def __enter__(self) -> Self:
        root = memory_root()
        require_room(root, _ROOM, WHAT)
        with own_trouble(WHAT):
            self.path = Path(tempfile.mkdtemp(prefix=name_begins(os.getpid()), dir=root))
            try:
                self._fill()
            except BaseException:
                self.close()
                raise
        _open.add(self)
        return self

    def _fill(self) -> None:
        self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        if len(os.fsencode(self.path / _LONGEST_SOCKET)) > _SOCKET_LIMIT:
            raise LocalFilesProblem(
                f"the path {self.path} is too long for the socket of a gpg-agent",
                hint="make /dev/shm writable for this user, or set TMPDIR to a shorter directory",
            )
        (self.path / "gpg-agent.conf").write_text(_AGENT_CONF)
        (self.path / "gpg.conf").write_text(_GPG_CONF)

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the agent and remove the directory; safe to repeat."""
        if self.path == Path():
            return
        path = self.path
        try:
            end_agent(path)
        finally:
            shutil.rmtree(path, ignore_errors=True)
            lock, self._lock = self._lock, None
            if lock is not None:
                os.close(lock)
            # Last: a second signal that arrives in here has end_own() do it again.
            self.path = Path()
            _open.discard(self)


def end_own() -> None:
    """End every home of this process at once: the last act of a run that a signal ends."""
    for home in tuple(_open):
        with suppress(OSError):
            home.close()


def name_begins(pid: int) -> str:
    """How the names of a process's homes begin: with its number, and its start in clock ticks since boot."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return f"{PREFIX}{pid}-gone-"
    return f"{PREFIX}{pid}-{text.rpartition(')')[2].split()[19]}-"  # proc(5), field 22


def sweep_orphans() -> list[Path]:
    """End the agents, and remove the homes, that killed runs of this user left behind.

    Returns:
        The homes removed.
    """
    removed = []
    for home in memory_root().glob(f"{PREFIX}*"):
        with suppress(OSError):
            if _abandoned(home):
                end_agent(home)
                shutil.rmtree(home, ignore_errors=True)
                removed.append(home)
    return removed


def _abandoned(home: Path) -> bool:
    """Whether the process that made a home of this user is gone; how old the home is says nothing."""
    handle = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Also before the maker has locked it, and where a file system ignores locks.
        pid = home.name.removeprefix(PREFIX).partition("-")[0]
        living = pid.isdigit() and home.name.startswith(name_begins(int(pid)))
        return os.fstat(handle).st_uid == os.geteuid() and not living
    except BlockingIOError:
        return False
    finally:
        os.close(handle)


def end_agent(home: Path) -> None:
    """Kill the gpg-agent that serves ``home``, and no other."""
    for pid in agents_of(home):
        with suppress(OSError):
            _kill(pid, home)


def agents_of(home: Path) -> list[int]:
    """Process ids of the gpg-agents started for ``home``, read from ``/proc/<pid>/cmdline``."""
    return [
        int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _serves(entry, home)
    ]


def _serves(process: Path, home: Path) -> bool:
    try:
        arguments = (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return os.path.basename(arguments[0]) == b"gpg-agent" and os.fsencode(home) in arguments  # noqa: PTH119 - bytes


def _kill(pid: int, home: Path) -> None:
    try:
        handle = os.pidfd_open(pid)
    except OSError as error:
        if error.errno == errno.ENOSYS:  # before Linux 5.3
            os.kill(pid, signal.SIGKILL)
        return
    try:
        # Looked at once more behind the handle: the number can have changed hands.
        if _serves(Path(f"/proc/{pid}"), home):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            poller = select.poll()
            poller.register(handle, select.POLLIN)
            poller.poll(_AGENT_SECONDS * 1000)
    finally:
        os.close(handle)
