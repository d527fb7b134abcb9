"""HTTP to Vault: bounded in time, never redirected, its request ids kept.

Imports requests, so it is itself imported only where a connection is made.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

import requests
import requests.adapters
from urllib3.util import Timeout

from pipeline.clients._proxy import by_scheme
from pipeline.clients._text import one_line
from pipeline.clients._tls import Pair, require_authority, require_pair
from pipeline.errors import Unreachable

if TYPE_CHECKING:
    from pipeline.clients._vault_answers import Seen
    from pipeline.clock import Deadline
    from pipeline.config import VaultPlace

ELECTION_SECONDS: Final = 2.0
"""How long to leave a cluster alone that has no leader: an election takes from one to some ten seconds."""
INDEX: Final = "X-Vault-Index"
"""The state of the storage after a write (Vault Enterprise, OpenBao from 2.7 on). Sent with what follows, it
keeps a standby that answers by itself from answering as if nothing had been written yet."""
_REQUEST_ID = re.compile(rb'"request_id":"([0-9a-f-]{36})"')


class BoundedTransport(requests.adapters.HTTPAdapter):
    """A transport that asks how long a request may take at the moment it is sent.

    Args:
        limit: Seconds that the next request may take.
    """

    def __init__(self, limit: Callable[[], float]) -> None:
        self._limit = limit
        super().__init__(max_retries=0)

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send ``request``; the time-out given by the caller is replaced."""
        return super().send(
            request,
            stream=stream,
            # requests passes urllib3's own type through; its annotations do not say so.
            timeout=cast(Any, Timeout(total=self._limit())),
            verify=verify,
            cert=cert,
            proxies=None if proxies is None else dict(proxies),
        )


def retry_after(header: str | None) -> float | None:
    """Read a ``Retry-After`` header given in seconds (RFC 9110, 10.2.3); a date counts as absent."""
    return float(header) if header is not None and header.strip().isdecimal() else None


def _is_object(response: requests.Response) -> bool:
    try:
        return isinstance(response.json(), dict)
    except ValueError:
        return True  # no JSON after all, which hvac takes for text


def open_session(
    place: VaultPlace,
    pair: Pair | None,
    limit: Callable[[], float],
    seen: Seen,
    request_ids: list[str],
    deadline: Deadline,
) -> requests.Session:
    """Make the HTTP session for one server.

    Args:
        place: The server.
        pair: Files with our certificate and its key, for servers that want one.
        limit: Seconds that the next request may take.
        seen: Where the status of each answer is noted.
        request_ids: Where Vault's request ids are collected.
        deadline: Told what time the server says it is.

    Raises:
        UsageProblem: The CA file, our certificate or the proxy's file cannot be used.
    """

    def note(response: requests.Response, **_: Any) -> None:
        deadline.note_date(place.address, response.headers.get("Date"))
        seen.status = response.status_code
        seen.retry_after = retry_after(response.headers.get("Retry-After"))
        if index := response.headers.get(INDEX):
            session.headers.update({INDEX: index, "X-Vault-Inconsistent": "forward-active-node"})
        if 300 <= response.status_code < 400:
            # requests would carry the token along to whatever host is named.
            response.close()
            # A standby says 307 while its leader is dead and no other is elected yet, and for good where
            # it may not forward.
            passing = response.status_code == 307
            target = one_line(response.headers.get("Location", "nowhere"))
            raise Unreachable(
                f"vault at {place.address} redirects to {target}",
                hint="a token is never sent to another host; configure the address of the active node, "
                "or of a load balancer that finds it",
                again=passing,
                retry_after=ELECTION_SECONDS if passing else None,
            )
        is_json = response.headers.get("Content-Type", "").startswith("application/json")
        # A vault says in JSON that nothing is there, too.
        if response.status_code in (200, 404) and not is_json:
            response.close()
            kind = one_line(response.headers.get("Content-Type", "missing"))
            raise Unreachable(
                f"what answers at {place.address} is no vault "
                f"(content type {kind}, status {response.status_code})",
                hint="check the address; a proxy or a portal may be answering in its place",
                again=False,
            )
        if response.status_code >= 400 and is_json and not _is_object(response):
            # hvac looks into every error as if it were an object.
            raise Unreachable(
                f"what answers at {place.address} does not answer as a vault does "
                f"(status {response.status_code})",
                hint="a proxy or a load balancer may be answering in its place",
                again=response.status_code >= 500,
                retry_after=ELECTION_SECONDS if response.status_code >= 500 else None,
            )
        if match := _REQUEST_ID.search(response.content[:1024]):
            request_ids.append(match.group(1).decode())

    session = requests.Session()
    require_authority(place.ca_file)
    require_pair(pair)
    proxies = by_scheme(place, place.address)
    # No .netrc and no REQUESTS_CA_BUNDLE: only the configuration decides whom to trust.
    session.trust_env = False
    session.verify = place.ca_file or True
    session.cert = pair
    session.proxies.update(proxies)
    session.mount("https://", BoundedTransport(limit))
    session.mount("http://", BoundedTransport(limit))
    session.hooks["response"].append(note)
    return session
