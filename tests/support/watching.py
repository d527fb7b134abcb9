"""Relays that see which process connects, and let the server behind them see it, too.

A server's own log has the address that a request came from. Each process that connects gets an address of its
own here, 127.X.Y.Z, so the log says of each process whom it logged in as. What a process has open, and has in
its memory, is looked at when it connects. Only root may look at a process that protects its memory.
"""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from tests.support.relays import join, listening

_HEAP: Final = re.compile(r"([0-9a-f]+)-([0-9a-f]+) rw\S+ \S+ \S+ 0\s+(\[heap\])?$")
_CHUNK: Final = 1 << 22
_LONGEST: Final = 256
_SECONDS: Final = 60
"""How long the process behind an open connection is looked for."""


@dataclass
class SeenProcess:
    """A process as it was seen when it connected.

    Attributes:
        address: Whom the servers take it for.
        ways: The names of the relays that it used.
        files: What it had open.
        secrets: The watched secrets that were in its memory.
    """

    address: str
    ways: set[str] = field(default_factory=set)
    files: set[str] = field(default_factory=set)
    secrets: set[str] = field(default_factory=set)


@dataclass
class Watch:
    """What was seen of all processes.

    Attributes:
        secrets: What is looked for in memory.
        begin: The letters with which each begins: looking for them is much faster than for the pattern.
        processes: By process id.
    """

    secrets: re.Pattern[bytes]
    begin: bytes
    processes: dict[int, SeenProcess] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def relay(self, name: str, backend: str) -> Iterator[str]:
        """Offer a server at an address of its own.

        Args:
            name: What the way is called.
            backend: The server's URL, ``http``.

        Yields:
            Its URL here.
        """
        behind = urlsplit(backend)

        def serve(connection: socket.socket) -> None:
            address = self._look(connection, name)
            if address is None:
                return  # its process has closed it, or ended: nothing of it reaches the server
            with socket.create_connection(
                (behind.hostname or "", behind.port or 80), timeout=30, source_address=(address, 0)
            ) as back:
                join(connection, back)

        with listening(serve) as port:
            yield f"http://127.0.0.1:{port}"

    def _look(self, connection: socket.socket, way: str) -> str | None:
        # What the kernel lists may lack an entry while others come and go: looked at until it is there.
        holders, until = _holders(connection, self.processes), time.monotonic() + _SECONDS
        while not holders and not _closed(connection) and time.monotonic() < until:
            holders = _holders(connection, ())
        for pid in holders:
            with self._lock:
                number = len(self.processes) + 1
                seen = self.processes.setdefault(pid, SeenProcess(f"127.77.{number >> 8}.{number & 255}"))
                new = way not in seen.ways
                seen.ways.add(way)
            seen.files |= open_files(pid)
            if new:
                seen.secrets |= self.in_memory(pid)
        return self.processes[holders[0]].address if holders else None

    def in_memory(self, pid: int) -> set[str]:
        """Which of the secrets lie in a process's own memory."""
        found = set()
        with suppress(OSError), Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
            for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
                if (area := _HEAP.match(line)) is None:
                    continue
                begin, end = int(area[1], 16), int(area[2], 16)
                while begin < end:
                    with suppress(OSError):  # a page that was given back meanwhile
                        data = os.pread(memory.fileno(), min(_CHUNK, end - begin), begin)
                        if self.begin in data:
                            found |= {secret.decode() for secret in self.secrets.findall(data)}
                    begin += _CHUNK - _LONGEST
        return found


def _closed(connection: socket.socket) -> bool:
    """Whether the other end has closed a connection."""
    with suppress(BlockingIOError):
        try:
            return not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except ConnectionError:
            return True
    return False


def _holders(connection: socket.socket, known: Iterable[int]) -> list[int]:
    """The processes that have the other end of a connection open.

    Args:
        connection: This end.
        known: Processes that have connected before: most often it is one of them, and looking at all is slow.
    """
    # By both ends: two connections to different servers may have the same port.
    wanted = [_listed(*connection.getpeername()), _listed(*connection.getsockname())]
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if words[1:3] == wanted:
            link = f"socket:[{words[9]}]"
            at_once = [pid for pid in tuple(known) if link in open_files(pid)]
            return at_once or [pid for pid in _processes() if link in open_files(pid)]
    return []


def _listed(host: str, port: int) -> str:
    """An address as the kernel lists it."""
    return f"{int.from_bytes(socket.inet_aton(host), 'little'):08X}:{port:04X}"


def _processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def open_files(pid: int) -> set[str]:
    """What a process has open; nothing where it has ended."""
    found = set()
    with suppress(OSError):
        for path in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                found.add(str(path.readlink()))
    return found
