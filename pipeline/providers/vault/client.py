"""Vault's HTTP API with one token, over the one wire; what no Vault answers is refused here.

    client.get("sys/mounts")
    client.post("transit/encrypt/orgkey", {"plaintext": …})

Imports urllib3, so it is itself imported only where a connection is made.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

from pipeline.providers.text import is_sendable
from pipeline.providers.vault.answers import UnsendableHeader, VaultAnswer, VaultRefusal
from pipeline.providers.wire import MIB, NoAnswer, Unusable, Wire

if TYPE_CHECKING:
    from pipeline.config.places import VaultPlace
    from pipeline.core.secret import Secret

_MOST: Final = 2 * MIB
"""The largest answer: an entry has 1 MiB at most, a listing less."""
INDEX: Final = "X-Vault-Index"
"""The state of the storage after a write (Vault Enterprise, OpenBao from 2.7 on). Sent with what follows, it
keeps a standby that answers by itself from answering as if nothing had been written yet."""
_OF_THE_SERVER: Final = ("sys/health", "sys/seal-status")
"""Asked outside of namespaces: in one the first is refused, and the second by a server that is sealed."""
_REQUEST_ID = re.compile(r"[0-9a-f-]{36}", re.ASCII)


class VaultClient:
    """Asks one server; connections are those of the wire.

    Args:
        place: The server.
        wire: The connections.
        written: By server, the state of its storage after the run's last write, by whatever login.
        request_ids: Where the server's request ids are collected.
        token: The token; ``None`` for requests that need none.
    """

    def __init__(
        self,
        place: VaultPlace,
        wire: Wire,
        written: dict[str, str],
        request_ids: list[str],
        token: Secret | None,
    ) -> None:
        self._place = place
        self._wire = wire
        self._written = written
        self._request_ids = request_ids
        self._token = token

    def get(self, path: str, query: str = "") -> Mapping[str, Any]:
        """Read a path.

        Raises:
            VaultRefusal: The answer is an error.
            NoAnswer: There is no answer, or none that a Vault gives.
        """
        return self._demand(self.ask("GET", path, query=query))

    def list(self, path: str) -> Mapping[str, Any]:
        """List the names below a path; errors as :meth:`get`."""
        return self._demand(self.ask("LIST", path))

    def post(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Write to a path; errors as :meth:`get`."""
        return self._demand(self.ask("POST", path, body))

    def look_up(self) -> Mapping[str, Any]:
        """Ask what the server knows of the token; errors as :meth:`get`."""
        return self.get("auth/token/lookup-self")

    def ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, query: str = ""
    ) -> VaultAnswer:
        """Send one request, and return whatever a Vault answers.

        Args:
            method: HTTP's word.
            path: Without ``/v1/``.
            body: A JSON object.
            query: Behind the path.

        Raises:
            NoAnswer: There is no answer, or none that a Vault gives.
            OrgkeyError: As in :meth:`Wire.send`.
        """
        url = f"{self._place.address}/v1/{quote(path)}" + (f"?{query}" if query else "")
        data = None if body is None else json.dumps(body).encode()
        server = urlsplit(url).netloc
        namespace = None if path in _OF_THE_SERVER else self._place.namespace
        reply = self._wire.send(method, url, self._headers(server, data, namespace), data, lambda _: _MOST)
        if index := reply.headers.get(INDEX):
            self._written[server] = index
        is_json = reply.content_type.startswith("application/json")
        parsed: object = {}
        unusable: Unusable | None = None
        if 300 <= reply.status < 400:  # whoever is named there would be sent the token
            unusable = Unusable("redirect", reply.headers.get("Location", "nowhere"))
        elif reply.status in (200, 404) and not is_json:  # a vault says in JSON that nothing is there, too
            unusable = Unusable("not json", reply.content_type or "missing")
        elif is_json and reply.body:
            try:
                parsed = json.loads(reply.body)
            except (ValueError, RecursionError) as error:
                # A load balancer's words may be text under a wrong name.
                parsed = {} if isinstance(error, ValueError) and reply.status >= 400 else None
            if not isinstance(parsed, dict):
                unusable = Unusable("not an object")
        if unusable is not None:
            raise NoAnswer(url, unusable, reply.status)
        assert isinstance(parsed, dict)
        if _REQUEST_ID.fullmatch(request_id := str(parsed.get("request_id"))):
            self._request_ids.append(request_id)
        headers = {name.lower(): value for name, value in reply.headers.items()}
        return VaultAnswer(reply.status, headers, parsed, reply.body.decode(errors="replace"))

    def _headers(self, server: str, data: bytes | None, namespace: str | None) -> dict[str, str]:
        # An answer in another encoding could be far larger than it looks.
        headers = {"X-Vault-Request": "true", "Accept-Encoding": "identity"}
        if data is not None:
            headers |= {"Content-Type": "application/json", "Content-Length": str(len(data))}
        if state := self._written.get(server):
            headers |= {INDEX: state, "X-Vault-Inconsistent": "forward-active-node"}
        if namespace:
            headers["X-Vault-Namespace"] = namespace
        if self._token is not None:
            headers["X-Vault-Token"] = self._token.text()
        if not all(map(is_sendable, headers.values())):
            raise UnsendableHeader
        return headers

    @staticmethod
    def _demand(answer: VaultAnswer) -> Mapping[str, Any]:
        if answer.status >= 400:
            raise VaultRefusal(answer)
        return answer.body
