"""Relays on loopback: a proxy that notes whom it is asked for, TLS before a server, S3 that does not lock."""

from __future__ import annotations

import base64
import http.client
import select
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def join(one: socket.socket, other: socket.socket) -> None:
    """Carry bytes both ways until both sides have ended."""
    back = threading.Thread(target=_pump, args=(other, one), daemon=True)
    back.start()
    _pump(one, other)
    back.join(10)


def _shuttle(front: ssl.SSLSocket, back: socket.socket, seen: list[bytearray] | None = None) -> None:
    """The same in one thread: before Python 3.13 two may not use one TLS connection at a time."""
    open_ends: list[socket.socket] = [front, back]
    said = {front: bytearray(), back: bytearray()}
    if seen is not None:
        seen += said.values()
    while back in open_ends:
        buffered = [end for end in open_ends if isinstance(end, ssl.SSLSocket) and end.pending()]
        for source in buffered or _readable(open_ends):
            sink = back if source is front else front
            if data := source.recv(65536):
                if seen is not None:
                    said[source] += data
                sink.sendall(data)
                continue
            open_ends.remove(source)
            if source is front:
                back.shutdown(socket.SHUT_WR)


def _readable(ends: list[socket.socket]) -> list[socket.socket]:
    ready = select.select(ends, [], [], 30)[0]
    if not ready:
        raise TimeoutError
    return ready


@contextmanager
def listening(serve: Any) -> Iterator[int]:
    """Give each connection to ``serve`` in a thread of its own; the port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def one(connection: socket.socket) -> None:
        with suppress(OSError), connection:
            serve(connection)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connection.settimeout(30)
                threading.Thread(target=one, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


@contextmanager
def tls_front(context: ssl.SSLContext, backend: str) -> Iterator[str]:
    """Offer a plain server over TLS.

    Args:
        context: What is shown.
        backend: The server's URL, ``http``.

    Yields:
        Its URL, ``https``.
    """
    behind = urlsplit(backend)

    def serve(connection: socket.socket) -> None:
        with (
            context.wrap_socket(connection, server_side=True) as front,
            socket.create_connection((behind.hostname or "", behind.port or 80), timeout=30) as back,
        ):
            _shuttle(front, back)

    with listening(serve) as port:
        yield f"https://127.0.0.1:{port}"


@contextmanager
def tls_tap(front: ssl.SSLContext, back: ssl.SSLContext, port: int, seen: list[bytearray]) -> Iterator[int]:
    """Stand between the ends of TLS connections, with keys that both trust.

    Args:
        front: What is shown to who connects.
        back: What is shown to the server.
        port: The server's, on this machine.
        seen: Gets what is said in the clear, each direction of each connection.

    Yields:
        The port to connect to.
    """

    def serve(connection: socket.socket) -> None:
        with (
            front.wrap_socket(connection, server_side=True) as near,
            back.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=30)) as far,
        ):
            _shuttle(near, far, seen)

    with listening(serve) as own:
        yield own


@dataclass
class Proxy:
    """A proxy that runs.

    Attributes:
        url: Its address.
        asked: ``host:port`` of each request, in order.
        login: ``user:password`` that it wants; ``None`` for none.
        closed: Hosts that it refuses.
        hosts: Where names lead to, in place of what the DNS says; by name, or by the end of one.
    """

    url: str = ""
    asked: list[str] = field(default_factory=list)
    login: str | None = None
    closed: tuple[str, ...] = ()
    hosts: Mapping[str, int] = field(default_factory=dict)

    def _way(self, host: str, port: int) -> tuple[str, int]:
        for name, there in self.hosts.items():
            if host == name or host.endswith(f".{name}"):
                return "127.0.0.1", there
        return host, port

    def serve(self, connection: socket.socket) -> None:
        """Serve one connection: CONNECT, or a request with a whole URL."""
        head = b""
        while b"\r\n\r\n" not in head:
            data = connection.recv(65536)
            if not data:
                return
            head += data
        lines, _, rest = head.partition(b"\r\n\r\n")
        method, target, version = lines.split(b"\r\n")[0].decode().split(" ")
        place = urlsplit(f"//{target}" if method == "CONNECT" else target)
        host, port = place.hostname or "", place.port or 80
        self.asked.append(f"{host}:{port}")
        wanted = b"Basic " + base64.b64encode((self.login or "").encode())
        if self.login is not None and wanted not in lines:
            connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return
        if host in self.closed:
            connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            return
        with socket.create_connection(self._way(host, port), timeout=30) as there:
            if method == "CONNECT":
                connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                # One request for each connection, so that each is seen.
                path = place.path + (f"?{place.query}" if place.query else "")
                first = f"{method} {path or '/'} {version}\r\nConnection: close\r\n".encode()
                others = lines.split(b"\r\n")[1:]
                kept = [
                    line
                    for line in others
                    if not line.lower().startswith((b"connection:", b"proxy-", b"keep-alive:"))
                ]
                there.sendall(first + b"\r\n".join(kept) + b"\r\n\r\n" + rest)
            join(connection, there)


@contextmanager
def proxying(
    *, login: str | None = None, closed: tuple[str, ...] = (), hosts: Mapping[str, int] | None = None
) -> Iterator[Proxy]:
    """Run a proxy; see :class:`Proxy`."""
    proxy = Proxy(login=login, closed=closed, hosts=hosts or {})
    with listening(proxy.serve) as port:
        proxy.url = f"http://127.0.0.1:{port}"
        yield proxy


class _Unlocking(BaseHTTPRequestHandler):
    """Hands a request on as it is; the answer says nothing of a lock."""

    protocol_version = "HTTP/1.1"
    backend = ""

    def _hand_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.command == "GET" and "?retention" in self.path:
            self._answer(404, {}, b"<Error><Code>NoSuchObjectLockConfiguration</Code></Error>")
            return
        far = http.client.HTTPConnection(self.backend, timeout=30)
        far.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            far.putheader(name, value)
        far.endheaders(body)
        answer = far.getresponse()
        told = {name: value for name, value in answer.getheaders() if "object-lock" not in name.lower()}
        self._answer(answer.status, told, answer.read())
        far.close()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _hand_on  # noqa: N815  # the base class's names

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding") or self.command == "HEAD":
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        """Not to stderr."""


@contextmanager
def unlocking(backend: str) -> Iterator[str]:
    """An S3 server that takes the headers of Object Lock and does nothing about them; its URL.

    Args:
        backend: The URL of the S3 server behind it.
    """
    handler = type("Unlocking", (_Unlocking,), {"backend": urlsplit(backend).netloc})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()
