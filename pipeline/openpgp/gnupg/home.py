"""The private home of one use of GnuPG: made fresh, ended whole, swept up by the next run.

A gpg-agent outlives the program that caused it, and may hold an opened key. So every home has an agent
of its own with no cache, is ended together with it, and carries a marker that its maker keeps locked:
the lock falls with the maker, however it ends, and the next run's sweep ends the agent that is left.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import signal
import socket
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from pipeline.core.errors import LocalFilesProblem
from pipeline.core.files import memory_root, own_trouble, require_room

PREFIX: Final = "orgkey-gpg-"
MARKER: Final = "maker.json"
WHAT: Final = "use GnuPG"
"""What a host that has run out of something cannot do."""
_ROOM: Final = 1 << 20
"""Bytes for one home: key rings, trust database, sockets, the agent's keys, a log."""
_SOCKET: Final = "S.gpg-agent"
_LONGEST_SOCKET: Final = "S.gpg-agent.browser"
_SOCKET_LIMIT: Final = 107  # sun_path in unix(7), without its final zero
_AGENT_SECONDS: Final = 1.0
"""How long an agent gets to answer and to end, before it is killed."""

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
        self._marker: int | None = None

    def __enter__(self) -> Self:
        root = memory_root()
        require_room(root, _ROOM, WHAT)
        with own_trouble(WHAT):
            # The maker's number is in the name: so a home without its marker is told from one in the making.
            self.path = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=root))
            try:
                self._fill()
            except BaseException:
                self.close()
                raise
        _open.add(self)
        return self

    def _fill(self) -> None:
        self._check_length()
        self._marker = os.open(self.path / MARKER, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(self._marker, fcntl.LOCK_EX)
        os.write(self._marker, _maker(self.path))
        (self.path / "gpg-agent.conf").write_text(_AGENT_CONF)
        (self.path / "gpg.conf").write_text(_GPG_CONF)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_length(self) -> None:
        if len(os.fsencode(self.path / _LONGEST_SOCKET)) > _SOCKET_LIMIT:
            raise LocalFilesProblem(
                f"the path {self.path} is too long for the socket of a gpg-agent",
                hint="make /dev/shm writable for this user, or set TMPDIR to a shorter directory",
            )

    def close(self) -> None:
        """End the agent and remove the directory; safe to repeat."""
        if self.path == Path():
            return
        path = self.path
        try:
            end_agent(path)
        finally:
            shutil.rmtree(path, ignore_errors=True)
            marker, self._marker = self._marker, None
            if marker is not None:
                os.close(marker)
            # Last: a second signal that arrives in here has end_own() do it again.
            self.path = Path()
            _open.discard(self)


def end_own() -> None:
    """End every home of this process at once: the last act of a run that a signal ends."""
    for home in tuple(_open):
        with suppress(OSError):
            home.close()


def _maker(home: Path) -> bytes:
    pid = os.getpid()
    return json.dumps({"home": str(home), "pid": pid, "start": _start_time(pid)}).encode()


def _start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot (proc(5), field 22 of ``stat``)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return int(text.rpartition(")")[2].split()[19])


def sweep_orphans() -> list[Path]:
    """End the agents, and remove the homes, that killed runs of this user left behind.

    Returns:
        The homes removed.
    """
    removed = []
    for home in memory_root().glob(f"{PREFIX}*"):
        with suppress(OSError):
            facts = home.lstat()
            if stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.geteuid() and _abandoned(home):
                end_agent(home)
                shutil.rmtree(home, ignore_errors=True)
                removed.append(home)
    return removed


def _abandoned(home: Path) -> bool:
    try:
        marker = os.open(home / MARKER, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return _left_half_made(home)
    try:
        fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            maker = json.loads(os.read(marker, 4096))
            pid, start = int(maker["pid"]), maker["start"]
        except (ValueError, KeyError, TypeError):
            return _left_half_made(home)
        # Between the marker's opening and its lock; also where a file system ignores locks.
        return start is None or _start_time(pid) != start
    except BlockingIOError:
        return False
    finally:
        os.close(marker)


def _left_half_made(home: Path) -> bool:
    """Whether the process that was making this home is gone, as its name says; how old it is says nothing."""
    maker = home.name.removeprefix(PREFIX).partition("-")[0]
    try:
        os.close(os.pidfd_open(int(maker)))
    except (ValueError, ProcessLookupError):
        return True
    return False


def end_agent(home: Path) -> None:
    """End the gpg-agent that serves ``home``, and no other.

    It is asked on its own socket first; whatever process still names this home on its command line as
    an agent is killed.
    """
    try:
        if (home / _SOCKET).exists():
            _ask_to_end(home)
    finally:
        for pid in agents_of(home):
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


def _ask_to_end(home: Path) -> None:
    """Send KILLAGENT over the agent's socket, and wait for its end (Assuan protocol)."""
    with suppress(OSError, ValueError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(_AGENT_SECONDS)
        link.connect(str(home / _SOCKET))
        with link.makefile("rwb") as lines:
            lines.readline()
            lines.write(b"GETINFO pid\n")
            lines.flush()
            answer = lines.readline()
            lines.readline()
            lines.write(b"KILLAGENT\n")
            lines.flush()
            lines.readline()
        _await_end(int(answer.removeprefix(b"D ")))


def _await_end(pid: int) -> bool:
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return True
    try:
        poller = select.poll()
        poller.register(handle, select.POLLIN)
        return bool(poller.poll(_AGENT_SECONDS * 1000))
    finally:
        os.close(handle)


def _kill(pid: int, home: Path) -> None:
    with suppress(OSError):
        handle = os.pidfd_open(pid)
        try:
            # Looked at once more behind the handle: the number can have changed hands.
            if _serves(Path(f"/proc/{pid}"), home):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                _await_end(pid)
        finally:
            os.close(handle)
