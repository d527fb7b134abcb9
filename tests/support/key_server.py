"""A key server that answers what it is told to, on loopback: HKP over HTTP or, with a certificate, HTTPS."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Protocol


class Stream(Protocol):
    """Where an answer goes."""

    def write(self, data: bytes, /) -> object:
        """Send bytes."""
        ...

    def flush(self) -> None:
        """Send them now."""
        ...


Answer = bytes | Callable[[Stream], None] | None
"""The body; what writes one; or ``None`` for 404."""


@dataclass
class KeyServer:
    """What it answers, and what it was asked.

    Attributes:
        key: To ``op=get``.
        index: To ``op=index``.
        url: Where it is.
        asked: The paths of the requests.
    """

    key: Answer = None
    index: Answer = None
    url: str = ""
    asked: list[str] = field(default_factory=list)
    gone: threading.Event = field(default_factory=threading.Event)


def endless(stream: Stream) -> None:
    """Bytes until the reader has had enough."""
    with suppress(OSError):
        while True:
            stream.write(b"A" * 63 + b"\n")


def slowly(server: KeyServer) -> Callable[[Stream], None]:
    """A byte now and then, until the test is over."""

    def write(stream: Stream) -> None:
        with suppress(OSError):
            while not server.gone.is_set():
                stream.write(b"-")
                stream.flush()
                time.sleep(0.05)

    return write


def silently(server: KeyServer) -> Callable[[Stream], None]:
    """Nothing, until the test is over."""

    def write(_: Stream) -> None:
        server.gone.wait()

    return write


@contextmanager
def serving(server: KeyServer, tls: ssl.SSLContext | None = None) -> Iterator[KeyServer]:
    """Run it in a thread."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.asked.append(self.path)
            answer = server.key if "op=get" in self.path else server.index
            self.send_response(404 if answer is None else 200)
            self.end_headers()
            if callable(answer):
                answer(self.wfile)
            elif answer is not None:
                self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    # dirmngr wants a name with dots for TLS, and asks the resolver back for 127.0.0.1.
    address = "127.0.0.2" if tls else "127.0.0.1"
    http = ThreadingHTTPServer((address, 0), Handler)
    http.daemon_threads = True
    if tls is not None:
        http.socket = tls.wrap_socket(http.socket, server_side=True)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    server.url = f"{'hkps' if tls else 'hkp'}://{address}:{http.server_address[1]}"
    try:
        yield server
    finally:
        server.gone.set()
        http.shutdown()
        http.server_close()
        thread.join()
