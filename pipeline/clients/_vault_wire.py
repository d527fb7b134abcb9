"""HTTP to Vault: bounded in time, never redirected, its request ids kept.

Imports requests, so it is itself imported only where a connection is made.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import requests
import requests.adapters
import requests.utils
from urllib3.util import Timeout

from pipeline.errors import Unreachable, UsageProblem

if TYPE_CHECKING:
    from pipeline.clients.vault import Seen
    from pipeline.config import VaultPlace

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


def open_session(
    place: VaultPlace, limit: Callable[[], float], seen: Seen, request_ids: list[str]
) -> requests.Session:
    """Make the HTTP session for one server.

    Args:
        place: The server.
        limit: Seconds that the next request may take.
        seen: Where the status of each answer is noted.
        request_ids: Where Vault's request ids are collected.

    Raises:
        UsageProblem: The CA file is missing.
    """

    def note(response: requests.Response, **_: Any) -> None:
        seen.status = response.status_code
        seen.retry_after = retry_after(response.headers.get("Retry-After"))
        if 300 <= response.status_code < 400:
            # requests would carry the token along to whatever host is named.
            response.close()
            raise Unreachable(
                f"vault at {place.address} redirects to {response.headers.get('Location', 'nowhere')}",
                hint="a token is never sent to another host; configure the address of the active node, "
                "or of a load balancer that finds it",
                again=False,
            )
        is_json = response.headers.get("Content-Type", "").startswith("application/json")
        if response.status_code == 200 and not is_json:
            response.close()
            raise Unreachable(
                f"what answers at {place.address} is no vault (content type "
                f"{response.headers.get('Content-Type', 'missing')})",
                hint="check the address; a proxy or a portal may be answering in its place",
                again=False,
            )
        if match := _REQUEST_ID.search(response.content[:1024]):
            request_ids.append(match.group(1).decode())

    if place.ca_file is not None and not Path(place.ca_file).is_file():
        raise UsageProblem(
            f"the CA file {place.ca_file} for {place.address} does not exist", hint="correct ca_file"
        )
    session = requests.Session()
    # No .netrc and no REQUESTS_CA_BUNDLE: only the configuration decides whom to trust.
    session.trust_env = False
    session.verify = place.ca_file or True
    session.proxies.update(requests.utils.get_environ_proxies(place.address))
    session.mount("https://", BoundedTransport(limit))
    session.mount("http://", BoundedTransport(limit))
    session.hooks["response"].append(note)
    return session
