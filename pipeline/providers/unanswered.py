"""Requests without an answer, the same for every service: why, as the table of failures asks.

Which certificate a server shows, only a second handshake tells: it is made where a row asks for it.
Imports urllib3, so it is itself imported only where a request failed.
"""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import urllib3.exceptions as lib

from pipeline.config.places import SYSTEM
from pipeline.core.errors import OrgkeyError
from pipeline.core.host_limits import exhaustion
from pipeline.providers import failures, proxy
from pipeline.providers.text import one_line
from pipeline.providers.tls.files import CertificateFacts, Pair, day, read_certificate
from pipeline.providers.tls.handshake import hear, peek
from pipeline.providers.wire import NoAnswer, Unusable

if TYPE_CHECKING:
    from pipeline.config.places import AwsPlace, VaultPlace

_REFUSED = re.compile(
    "CERTIFICATE_REQUIRED|ALERT_(BAD|UNSUPPORTED)_CERTIFICATE|ALERT_CERTIFICATE_(REVOKED|EXPIRED|UNKNOWN)|"
    "ALERT_UNKNOWN_CA|ALERT_ACCESS_DENIED"
)
"""Alerts by which a server refuses the client's certificate (RFC 8446, 6.2)."""


@dataclass(frozen=True, slots=True)
class Route:
    """How a server is reached.

    Attributes:
        address: The server's URL.
        place: Whose proxy counts.
        ca_file: The authority that is trusted, where one is named.
        pair: Our own certificate and key.
        seconds: Time for a second look at its certificate.
    """

    address: str
    place: VaultPlace | AwsPlace
    ca_file: str | None = None
    pair: Pair | None = None
    seconds: float = 3.0


def facts(route: Route, url: str, text: str) -> Mapping[str, Any]:
    """What the table of failures can name of a request without an answer.

    Args:
        route: How the server is reached.
        url: What was asked.
        text: OpenSSL's words, where it has any.
    """
    now, refused, ours = datetime.now(UTC), _REFUSED.search(text) is not None, route.pair and route.pair[0]

    @cache
    def way() -> str | None:
        return proxy.effective(route.place, url)

    @cache
    def seen() -> CertificateFacts | None:
        return peek(route.address, proxy=way(), seconds=route.seconds, pair=route.pair)

    @cache
    def own() -> CertificateFacts | None:
        return read_certificate(ours) if ours else None

    def expiry() -> str:
        if (theirs := seen()) is None:
            return ""
        ended = theirs.ends < now
        return f"; it expired {day(theirs.ends)}" if ended else "; one of its authorities has expired"

    def names() -> str:
        theirs = seen()
        return f" ({', '.join(theirs.names[:5]) or 'it names none'})" if theirs else ""

    return {
        "address": route.address,
        "host": urlsplit(route.address).hostname,
        "ca_file": "the system's bundle" if route.ca_file == SYSTEM else route.ca_file,
        "url_shown": one_line(url),
        "proxy_shown": lambda: proxy.without_login(way()),
        "proxy_setting": lambda: proxy.setting(route.place, url),
        # What the server shows.
        "answers_tls": lambda: route.address.startswith("http://") and seen() is not None,
        "names": names,
        "issuer": lambda: f" ({theirs.issuer})" if (theirs := seen()) else "",
        "expiry": expiry,
        "beginning": lambda: f"before {day(theirs.begins)}" if (theirs := seen()) else "yet",
        "reason": _within(r"certificate verify failed: ([^()]{1,100})", text) or "it does not verify",
        # What it says of our own certificate.
        "certificate_refused": refused,
        "no_certificate_refused": refused and route.pair is None,
        "expired_certificate_refused": lambda: refused and (mine := own()) is not None and mine.ends < now,
        "our_file": ours,
        "our_end": lambda: day(mine.ends) if (mine := own()) else "",
        "our_issuer": lambda: f"; it is signed by {mine.issuer}" if (mine := own()) else "",
        "alert": _within(r"alert ([a-z ]{1,40})", text) or "no reason given",
    }


def _within(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    return match[1].strip() if match else ""


def explain(broken: NoAnswer, what: str, route: Route, *, where: str, setting: str) -> OrgkeyError:
    """Say why there is no answer.

    Args:
        broken: What happened.
        what: What the call was for.
        route: How the server is reached.
        where: The server, for messages.
        setting: The setting that holds the URL.
    """
    error = broken.reason
    chain = list(_causes(error))
    for each in chain:
        if (exhausted := exhaustion(each, f"open a connection for {what}")) is not None:
            return exhausted
    code, text, table = "", _reason(chain), "connection"
    if isinstance(error, Unusable):
        code, text = error.code, error.text
    elif any(isinstance(each, lib.ProxyError) for each in chain):
        table = "proxy"
        text = _within(r"Tunnel connection failed: (\d[\w ]{1,60})", " ".join(map(str, chain)))
    elif isinstance(error, lib.SSLError):
        table, text = "tls", str(error)
        if "EOF occurred" in text or "ECONNRESET" in text:
            way = proxy.effective(route.place, broken.url)
            text = hear(route.address, proxy=way, seconds=route.seconds, pair=route.pair) or text
    if table == "connection" and (way := proxy.effective(route.place, broken.url)):
        source = proxy.setting(route.place, broken.url)
        where = (
            f"{where} (by the proxy {proxy.without_login(way)}, from {source})"  # it may be the silent one
        )
    text, kinds = one_line(text), failures.class_names(error)
    if any(isinstance(each, ConnectionRefusedError) for each in chain):
        kinds |= {"ConnectionRefusedError"}
    failure = failures.CallFailure(
        table, where, setting=setting, status=broken.status or 0, code=code, text=text, kinds=kinds,
        facts=facts(route, broken.url, text),
    )  # fmt: skip
    return failures.explain(failure, what)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error, and all that it wraps: as its cause, or as an argument, as urllib3 does."""
    waiting, seen = [error], set[int]()
    while waiting:
        each = waiting.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        inner = (*each.args, each.__cause__, getattr(each, "original_error", None))
        waiting += [item for item in inner if isinstance(item, BaseException)]


def _reason(chain: list[BaseException]) -> str:
    """What lies at the bottom, in words and not in Python's."""
    for each in reversed(chain):
        if isinstance(each, lib.IncompleteRead | http.client.IncompleteRead):
            return "the answer ended before it was whole"
        if isinstance(each, http.client.RemoteDisconnected):
            return "it was closed without an answer"
        if isinstance(each, OSError) and each.strerror:
            return each.strerror.lower()
    if any(isinstance(each, http.client.HTTPException | lib.HTTPError) for each in chain):
        return "what came is not an answer in HTTP"
    return f"it failed with {type(chain[0]).__name__}"
