"""hvac's requests, sent over the one wire; what no Vault answers is refused before hvac looks at it.

Imports requests, so it is itself imported only where a connection is made.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import requests
import requests.adapters

from pipeline.providers.wire import MIB, NoAnswer, Reply, Unusable, Wire

if TYPE_CHECKING:
    from pipeline.providers.vault.health import LastAnswer

_MOST: Final = 2 * MIB
"""The largest answer: an entry has 1 MiB at most, a listing less."""
INDEX: Final = "X-Vault-Index"
"""The state of the storage after a write (Vault Enterprise, OpenBao from 2.7 on). Sent with what follows, it
keeps a standby that answers by itself from answering as if nothing had been written yet."""
_REQUEST_ID = re.compile(rb'"request_id":"([0-9a-f-]{36})"')


class Transport(requests.adapters.BaseAdapter):
    """Sends what requests has prepared.

    Args:
        wire: The connections.
        last: Where the status and the headers of each answer are noted.
        request_ids: Where Vault's request ids are collected.
        written: By server, the state of its storage after the run's last write, by whatever login.
    """

    def __init__(self, wire: Wire, last: LastAnswer, request_ids: list[str], written: dict[str, str]) -> None:
        super().__init__()
        self._wire = wire
        self._last = last
        self._request_ids = request_ids
        self._written = written

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send ``request``; of the arguments it alone counts."""
        # An answer in another encoding could be far larger than it looks.
        headers = {**request.headers, "Accept-Encoding": "identity"}
        server = urlsplit(request.url or "").netloc
        if state := self._written.get(server):
            headers |= {INDEX: state, "X-Vault-Inconsistent": "forward-active-node"}
        reply = self._wire.send(
            request.method or "GET", request.url or "", headers, request.body, lambda _: _MOST
        )
        if index := reply.headers.get(INDEX):
            self._written[server] = index
        self._last.status = reply.status
        self._last.headers = {name.lower(): value for name, value in reply.headers.items()}
        response = requests.Response()
        response.status_code = reply.status
        response.headers.update(reply.headers)
        response.url = request.url or ""
        response.request = request
        response.raw = io.BytesIO(reply.body)
        response.encoding = "utf-8"
        self._judge(response.url, reply, response)
        return response

    def close(self) -> None:
        """Close the connections."""
        self._wire.close()

    def _judge(self, url: str, reply: Reply, response: requests.Response) -> None:
        """Refuse what no Vault answers.

        Raises:
            NoAnswer: It is a redirect, or not JSON, or JSON of another shape.
        """
        unusable: Unusable | None = None
        is_json = reply.content_type.startswith("application/json")
        if 300 <= reply.status < 400:  # whoever is named there would be sent the token
            unusable = Unusable("redirect", reply.headers.get("Location", "nowhere"))
        elif reply.status in (200, 404) and not is_json:  # a vault says in JSON that nothing is there, too
            unusable = Unusable("not json", reply.content_type or "missing")
        elif is_json and reply.body and not _is_object(response, reply.status):
            unusable = Unusable("not an object")
        if unusable is not None:
            raise NoAnswer(url, unusable, reply.status)
        if match := _REQUEST_ID.search(reply.body[:1024]):
            self._request_ids.append(match.group(1).decode())


def _is_object(response: requests.Response, status: int) -> bool:
    try:
        return isinstance(response.json(), dict)
    except RecursionError:
        return False
    except ValueError:
        return status >= 400  # a load balancer's words, which hvac takes for text


def open_session(
    wire: Wire, last: LastAnswer, request_ids: list[str], written: dict[str, str]
) -> requests.Session:
    """Make the HTTP session for one server; see :class:`Transport`."""
    session = requests.Session()
    # No .netrc and no REQUESTS_CA_BUNDLE: only the configuration decides whom to trust.
    session.trust_env = False
    transport = Transport(wire, last, request_ids, written)
    session.mount("https://", transport)
    session.mount("http://", transport)
    return session
