"""A small HTTP server on loopback that hears pings and notifications, and can misbehave in many ways."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Heard:
    """One request.

    Attributes:
        path: Its path.
        query: Its parameters.
        body: Its body.
    """

    path: str
    query: dict[str, list[str]]
    body: str


@dataclass
class Listener:
    """What was heard, and how it is answered.

    Attributes:
        address: Where it listens, without a path.
        heard: The requests, in order.
        status: The answer's status, or the first answers' before ``after``.
        after: The status of later answers.
        mood: ``well``, ``slow``, ``dripping`` (a header that never ends), ``endless`` (a body that never
            ends) or ``silent`` (the connection is closed).
    """

    address: str = ""
    heard: list[Heard] = field(default_factory=list)
    status: int = 200
    after: int | None = None
    mood: str = "well"
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def paths(self) -> list[str]:
        """The paths, in order."""
        return [item.path for item in self.heard]


@contextmanager
def listening() -> Iterator[Listener]:
    """Run a server for the time of the block."""
    listener = Listener()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            parts = urlsplit(self.path)
            listener.heard.append(Heard(parts.path, parse_qs(parts.query), body))
            if listener.mood == "silent":
                self.close_connection = True
                return
            if listener.mood == "slow":
                listener.closing.wait(30)
            if listener.mood == "dripping":
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Drip: ")
                self._pour(b"x")
                return
            self.send_response(listener.status)
            if listener.after is not None:
                listener.status = listener.after
            if listener.status // 100 == 3:
                self.send_header("Location", f"{listener.address}/elsewhere")
            if listener.mood != "endless":
                self.send_header("Content-Length", "0")
            self.end_headers()
            if listener.mood == "endless":
                self._pour(b"x" * 1000)

        def _pour(self, piece: bytes) -> None:
            try:
                while not listener.closing.is_set():
                    self.wfile.write(piece)
                    self.wfile.flush()
                    time.sleep(0.05)
            except OSError:
                return

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in http.server
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        listener.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield listener
        finally:
            listener.closing.set()
            server.shutdown()
            thread.join()
