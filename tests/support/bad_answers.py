"""A server that plays one bad answer to whatever it is asked, byte by byte where that is what is bad."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Final

Play = Callable[[socket.socket, threading.Event], None]
JSON: Final = "application/json"
XML: Final = "application/xml"
HTML: Final = "text/html; charset=utf-8"
PAGE: Final = b"<!DOCTYPE html><html><body>Please log in to this network</body></html>"
DEEP: Final = b"[" * 100_000 + b"]" * 100_000


def head(status: int, *headers: str, kind: str = JSON, length: object = None) -> bytes:
    lines = [f"HTTP/1.1 {status} Told", f"Content-Type: {kind}", "Connection: close", *headers]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return "\r\n".join([*lines, "", ""]).encode()


def plain(status: int, body: bytes, *headers: str, kind: str = JSON) -> Play:
    def play(connection: socket.socket, _: threading.Event) -> None:
        connection.sendall(head(status, *headers, kind=kind, length=len(body)) + body)

    return play


def raw(data: bytes) -> Play:
    return lambda connection, _: connection.sendall(data)


def stalls(data: bytes) -> Play:
    def play(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(data)
        over.wait(20)

    return play


def drips(start: bytes, drop: bytes) -> Play:
    """One drop now and then, for ever."""

    def play(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(start)
        while not over.wait(0.02):
            connection.sendall(drop)

    return play


def endless(start: bytes, block: bytes) -> Play:
    """As fast as it is taken, for ever."""

    def play(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(start)
        while not over.is_set():
            connection.sendall(block)

    return play


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


CHUNKED: Final = "Transfer-Encoding: chunked"
ITSELF: Final = "Location: /"
ANSWERS: Final[dict[str, Play]] = {
    **{
        f"status {status}": plain(status, b"{}")
        for status in (200, 201, 204, 206, 400, 401, 402, 403, 404, 405)
    },
    **{
        f"status {status} ": plain(status, b"")
        for status in (408, 409, 411, 412, 413, 418, 429, 451, 472, 473)
    },
    **{f"status {status}  ": plain(status, b"{}") for status in (500, 501, 502, 503, 504, 507, 511, 599)},
    **{f"redirect {status}": plain(status, b"", ITSELF) for status in (301, 302, 303, 307, 308)},
    "redirect without a place": plain(301, b""),
    "another region": plain(301, b"", "x-amz-bucket-region: eu-west-9"),
    "not modified": raw(head(304)),
    "web page 200": plain(200, PAGE, kind=HTML),
    "web page 403": plain(403, PAGE, kind=HTML),
    "web page 404": plain(404, PAGE, kind=HTML),
    "web page 500": plain(500, PAGE, kind=HTML),
    "web page as JSON": plain(200, PAGE),
    "web page as XML": plain(200, PAGE, kind=XML),
    "empty": plain(200, b""),
    "empty XML": plain(200, b"<?xml version='1.0'?><x/>", kind=XML),
    "cut XML": plain(200, b"<?xml version='1.0'?><ListVersionsResult><Name>a", kind=XML),
    "XML bomb": plain(
        200,
        b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><x>&b;&b;</x>',
        kind=XML,
    ),
    "cut JSON": plain(200, b'{"data": {"key'),
    "deep JSON": plain(200, DEEP),
    "deep JSON object": plain(200, b'{"a":' * 50_000 + b"1" + b"}" * 50_000),
    "deep JSON in an error": plain(400, DEEP),
    "a list": plain(200, b"[1, 2]"),
    "a number": plain(200, b"17"),
    "null": plain(200, b"null"),
    "numbers where objects belong": plain(
        200, b'{"data": 17, "auth": 17, "KeyMetadata": 17, "Plaintext": 17}'
    ),
    "lists where texts belong": plain(
        200, b'{"data": {"ciphertext": [], "plaintext": [], "keys": 1, "version": []}}'
    ),
    "null where objects belong": plain(
        200, b'{"data": null, "auth": null, "KeyMetadata": null, "Plaintext": null}'
    ),
    "errors that are a number": plain(400, b'{"errors": 17}'),
    "errors that are numbers": plain(403, b'{"errors": [17, null, {}]}'),
    "errors in a text": plain(500, b'{"errors": "no"}'),
    "not UTF-8": plain(200, b"\xff\xfe\x00{"),
    "half": raw(head(200, length=1000) + b'{"data": '),
    "half chunked": raw(head(200, CHUNKED) + chunk(b'{"data": ')),
    "bad chunk": raw(head(200, CHUNKED) + b"zz\r\n{}\r\n0\r\n\r\n"),
    "closed": raw(b""),
    "half a header": raw(b"HTTP/1.1 200 OK\r\nContent-Ty"),
    "not HTTP": raw(b"220 mail.example.com ESMTP\r\n"),
    "TLS alert": raw(b"\x15\x03\x03\x00\x02\x02\x28"),
    "length that is not a number": raw(head(200, length="x") + b"{}"),
    "length below zero": raw(head(200, length=-1) + b"{}"),
    "two lengths": raw(head(200, "Content-Length: 3", length=2) + b"{}"),
    "10 GB announced": stalls(head(200, length=10_000_000_000) + b"{"),
    "10 GB announced with an error": stalls(head(500, length=10_000_000_000) + b"{"),
    "many headers": raw(b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(500)) + b"\r\n"),
    "a long header": raw(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n"),
    "compressed": plain(200, b"\x1f\x8b not gzip", "Content-Encoding: gzip"),
    "bad date and wait": plain(503, b"", "Date: yesterday", "Retry-After: never"),
    "a wait without end": plain(404, b"{}", "Retry-After: 99999999999999999999"),
    "silence": stalls(b""),
    "stalled header": stalls(b"HTTP/1.1 200 OK\r\nContent-Type: "),
    "stalled body": stalls(head(200, length=1000) + b"{"),
    "dripping header": drips(b"HTTP/1.1 200 OK\r\nX: ", b"y"),
    "dripping headers": drips(b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "dripping body": drips(head(200, length=50_000), b" "),
    "dripping chunks": drips(head(200, CHUNKED), chunk(b" ")),
    "endless body": endless(head(200), b" " * 65536),
    "endless chunks": endless(head(200, CHUNKED), chunk(b" " * 65536)),
    "endless error": endless(head(500, CHUNKED), chunk(b" " * 65536)),
    "endless headers": endless(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 1000),
}


class BadServer:
    """Plays answers, one after the other, to everything but the paths that are answered well.

    Args:
        well: What begins a path that is answered, and with what.
    """

    def __init__(self, well: dict[str, bytes] | None = None) -> None:
        self._well = well or {}
        self._play = raw(b"")
        self._over = threading.Event()
        self._server = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        self._kept: list[socket.socket] = []

    def __enter__(self) -> BadServer:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    @contextlib.contextmanager
    def playing(self, name: str) -> Iterator[None]:
        """Give this answer until the end of the block."""
        self._play, self._over = ANSWERS[name], threading.Event()
        try:
            yield
        finally:
            self._over.set()
            while self._kept:
                with contextlib.suppress(OSError):
                    self._kept.pop().shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection = self._server.accept()[0]
                self._kept.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        play, over = self._play, self._over
        with contextlib.suppress(OSError, ValueError), connection:
            data = b""
            while b"\r\n\r\n" not in data:
                more = connection.recv(65536)
                if not more:
                    return
                data += more
            top, _, body = data.partition(b"\r\n\r\n")
            for line in top.lower().split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    left = int(line.partition(b":")[2]) - len(body)
                    while left > 0:
                        left -= len(connection.recv(min(left, 65536)) or b"\0" * left)
            path = top.split(b" ")[1].decode()
            good = next((answer for begins, answer in self._well.items() if path.startswith(begins)), None)
            (play if good is None else plain(200, good))(connection, over)
