"""The stand-in server's key look-up over HTTP (HKP): the Org Key and the users' keys, public parts only."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, urlsplit

from pipeline.devstack.lab.server import LabServer
from pipeline.openpgp.format import armor
from pipeline.openpgp.key import parsing, validity
from pipeline.openpgp.key.model import TransferableKey


def answer(server: LabServer, path: str) -> tuple[HTTPStatus, bytes]:
    """Answer one request (draft-shaw-openpgp-hkp-00).

    Args:
        server: Whose keys.
        path: Path and query.
    """
    parts = urlsplit(path)
    query = parse_qs(parts.query)
    operation, search = query.get("op", [""])[0], query.get("search", [""])[0]
    if parts.path != "/pks/lookup" or operation not in ("get", "index") or not search:
        return HTTPStatus.BAD_REQUEST, b"this stand-in answers /pks/lookup?op=get|index&search=...\n"
    found = [key for key in _keys(server) if _matches(key, search)]
    if not found:
        return HTTPStatus.NOT_FOUND, b"no such key\n"
    if operation == "get":
        data = b"".join(_public(server, key) for key in found)
        return HTTPStatus.OK, armor.armor(data, "PUBLIC KEY BLOCK")
    lines = [f"info:1:{len(found)}"]
    for key in found:
        standing = validity.judge(key, None).primary
        ends = int(standing.expires.timestamp()) if standing.expires else ""
        lines.append(f"pub:{key.fingerprint}::::{ends}:{'r' if standing.revoked else ''}")
        lines += [f"uid:{quote(name)}:::" for name in validity.user_ids(key)]
    return HTTPStatus.OK, ("\n".join(lines) + "\n").encode()


def _public(server: LabServer, key: TransferableKey) -> bytes:
    """A key's public part; the Org Key's comes with its Organization Certificates."""
    if key.fingerprint != server.fingerprint:
        return key.public()
    return armor.dearmor(server.export_public())


def _keys(server: LabServer) -> list[TransferableKey]:
    data = [server.public(), *(server.user_key(user) for user in server.state.data.users)]
    return [parsing.read_one(one, "a key of the stand-in server") for one in data]


def _matches(key: TransferableKey, search: str) -> bool:
    if search[:2].lower() == "0x":
        return key.fingerprint.endswith(search[2:].upper())
    return any(search.casefold() in name.casefold() for name in validity.user_ids(key))


@contextmanager
def serving(server: LabServer, port: int = 0) -> Iterator[str]:
    """Serve look-ups on loopback.

    Args:
        server: Whose keys.
        port: Any free one when 0.

    Yields:
        The address, ``hkp://127.0.0.1:PORT``.
    """

    class Handler(BaseHTTPRequestHandler):
        server_version = "orgkey-lab-stand-in"

        def do_GET(self) -> None:  # the library's name
            status, body = answer(server, self.path)
            self.send_response(status)
            self.send_header(
                "Content-Type", "application/pgp-keys" if "op=get" in self.path else "text/plain"
            )
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as http:
        http.daemon_threads = True
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"hkp://127.0.0.1:{http.server_address[1]}"
        finally:
            http.shutdown()
            thread.join()
