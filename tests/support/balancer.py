"""A load balancer of HTTP in front of real servers, at which one chosen request meets a disaster."""

from __future__ import annotations

import http
import http.client
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import unquote

When = Literal["before", "after"]
SECONDS = 60.0
_NAMES = (
    (re.compile(r"[0-9a-f]{12}(?=/)"), "PLACE"),
    (re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}"), "EPOCH"),
    (re.compile(r"(?<=versionId=)[^&]+"), "VERSION"),
    (re.compile(r"[0-9A-F]{40}"), "FPR"),
)
# Of the hop only, as RFC 9110 (7.6.1) has it; the length is counted anew.
_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "expect"}


class Balancer:
    """Hands each request to the server that is chosen for it, as HAProxy would.

    Args:
        choose: The port of a healthy server; ``None`` where there is none, which is answered with 503.

    Attributes:
        struck: Whether the disaster has happened.
        failures: How many requests were answered with a server's failure (5xx).
        extra: Headers that every answer gets.
    """

    def __init__(self, choose: Callable[[], int | None]) -> None:
        self._choose = choose
        self._counts: dict[str, int] = {}
        self._lock = threading.Lock()
        self._fault: tuple[str, When, Callable[[], object]] | None = None
        self.struck = False
        self.failures = 0
        self.extra: dict[str, str] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = SECONDS

            def handle_one(self) -> None:
                outer._handle(self)

            def log_message(self, *_: object) -> None:
                """Nothing."""

            def __getattr__(self, name: str) -> Callable[[], None]:
                if name.startswith("do_"):
                    return self.handle_one
                raise AttributeError(name)

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                """A client that was killed, or gave up, hangs up."""

        self._server = Quiet(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Balancer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def strike(self, at: str, when: When, disaster: Callable[[], object]) -> None:
        """Have something happen at one request.

        Args:
            at: Which, as in :meth:`calls`.
            when: ``before`` the server gets it, or ``after`` it has answered: then its answer is lost.
            disaster: What happens.
        """
        with self._lock:
            self._counts.clear()
            self._fault, self.struck = (at, when, disaster), False

    def calls(self) -> list[str]:
        """The requests so far, sorted: method, path, and which of that kind it was."""
        with self._lock:
            return sorted(f"{kind} #{n + 1}" for kind, count in self._counts.items() for n in range(count))

    # -- inside ----------------------------------------------------------------------------------

    def _handle(self, near: BaseHTTPRequestHandler) -> None:
        body = near.rfile.read(int(near.headers.get("Content-Length") or 0))
        disaster = self._meets(f"{near.command} {_named(near.path)}")
        if disaster is not None and disaster[0] == "before":
            disaster[1]()
        answer = self._forward(near, body)
        if answer[0] >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
            with self._lock:
                self.failures += 1
        if disaster is not None and disaster[0] == "after":
            disaster[1]()
            near.close_connection = True
            near.connection.close()
            return
        self._answer(near, answer)

    def _meets(self, kind: str) -> tuple[When, Callable[[], object]] | None:
        with self._lock:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            if self._fault is None or self._fault[0] != f"{kind} #{self._counts[kind]}" or self.struck:
                return None
            self.struck = True
            return self._fault[1], self._fault[2]

    def _forward(self, near: BaseHTTPRequestHandler, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        port = self._choose()
        if port is not None:
            far = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
            try:
                far.putrequest(near.command, near.path, skip_host=True, skip_accept_encoding=True)
                for name, value in near.headers.items():
                    if name.lower() not in _HOP:
                        far.putheader(name, value)
                far.putheader("Content-Length", str(len(body)))
                far.endheaders(body)
                got = far.getresponse()
                return got.status, got.getheaders(), got.read()
            except (OSError, http.client.HTTPException):
                return 502, [("Content-Type", "text/html")], b"<html>bad gateway"
            finally:
                far.close()
        return 503, [("Content-Type", "text/html")], b"<html>no server is available"

    def _answer(self, near: BaseHTTPRequestHandler, answer: tuple[int, list[tuple[str, str]], bytes]) -> None:
        status, headers, body = answer
        near.send_response_only(status)
        length = str(len(body))
        for name, value in headers:
            if name.lower() == "content-length" and near.command == "HEAD":
                length = value
            if name.lower() not in _HOP:
                near.send_header(name, value)
        for name, value in self.extra.items():
            near.send_header(name, value)
        near.send_header("Content-Length", length)
        near.end_headers()
        if near.command != "HEAD":
            near.wfile.write(body)


def _named(path: str) -> str:
    path = unquote(path)
    for pattern, name in _NAMES:
        path = pattern.sub(name, path)
    return path


@contextmanager
def in_front_of(choose: Callable[[], int | None]) -> Iterator[Balancer]:
    """A balancer that runs."""
    with Balancer(choose) as made:
        yield made
