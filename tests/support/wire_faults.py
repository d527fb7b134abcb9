"""Networks that misbehave, on the loopback interface."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def silent_server() -> Iterator[int]:
    """A port where connections are taken and nothing is ever answered."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        kept: list[socket.socket] = []

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    kept.append(server.accept()[0])

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in kept:
            connection.close()


def dead_port() -> int:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


class CuttingProxy:
    """Hands requests to a server; the answer to a chosen kind of request never arrives.

    Args:
        port: The server's port.
        requests: Beginnings of request lines whose answer is lost.
    """

    def __init__(self, port: int, *requests: bytes) -> None:
        self._upstream = port
        self._requests = requests
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self.cuts = 0
        self.most = 10_000
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> CuttingProxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near = self._server.accept()[0]
                threading.Thread(target=self._relay, args=(near,), daemon=True).start()

    def _relay(self, near: socket.socket) -> None:
        with near, socket.create_connection(("127.0.0.1", self._upstream)) as far:
            cut = threading.Event()

            def up() -> None:
                with contextlib.suppress(OSError):
                    while data := near.recv(65536):
                        if data.startswith(self._requests) and self.cuts < self.most:
                            cut.set()
                        far.sendall(data)
                    far.shutdown(socket.SHUT_WR)

            threading.Thread(target=up, daemon=True).start()
            with contextlib.suppress(OSError):
                while data := far.recv(65536):
                    if cut.is_set() and not data.startswith(b"HTTP/1.1 100"):
                        self.cuts += 1
                        near.shutdown(socket.SHUT_RDWR)
                        return
                    near.sendall(data)
