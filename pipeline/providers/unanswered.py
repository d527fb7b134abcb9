"""Requests without an answer, the same for every service: why, as the table of failures asks.

Which certificate a server shows, only a second handshake tells: it is made where a row asks for it.
Imports urllib3, so it is itself imported only where a request failed.
"""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import urllib3.exceptions as lib

from pipeline.core.errors import OrgkeyError
from pipeline.core.files import exhaustion
from pipeline.providers import failures, proxy
from pipeline.providers.text import one_line
from pipeline.providers.tls.files import CertificateFacts, Pair, day, read_certificate
from pipeline.providers.tls.handshake import hear, peek
from pipeline.providers.wire import NoAnswer, Unusable

if TYPE_CHECKING:
    from pipeline.config import AwsPlace, VaultPlace

_REFUSED = re.compile(
    "CERTIFICATE_REQUIRED|ALERT_(BAD|UNSUPPORTED)_CERTIFICATE|ALERT_CERTIFICATE_(REVOKED|EXPIRED|UNKNOWN)|"
    "ALERT_UNKNOWN_CA|ALERT_ACCESS_DENIED"
)
"""Alerts by which a server refuses the client's certificate (RFC 8446, 6.2)."""


@dataclass(frozen=True, kw_only=True)
class Unanswered(failures.CallFailure):
    """A request without an answer.

    Attributes:
        place: How the server is reached.
        address: The server's URL.
        url: What was asked.
        ca_file: The authority that is trusted, where one is named.
        pair: Our own certificate and key.
        seconds: Time for a second look.
    """

    place: VaultPlace | AwsPlace
    address: str
    url: str
    ca_file: str | None = None
    pair: Pair | None = None
    seconds: float = 3.0

    @property
    def url_shown(self) -> str:
        """What was asked, on one line."""
        return one_line(self.url)

    # -- the proxy -------------------------------------------------------------------------------

    @cached_property
    def proxy(self) -> str | None:
        """The proxy on the way."""
        return proxy.effective(self.place, self.url)

    @property
    def proxy_shown(self) -> str:
        """Its address, without a login."""
        return proxy.without_login(self.proxy)

    @property
    def proxy_setting(self) -> str:
        """Where it comes from."""
        return proxy.setting(self.place, self.url)

    # -- the server's certificate ----------------------------------------------------------------

    @cached_property
    def certificate(self) -> CertificateFacts | None:
        """What the server shows."""
        return peek(self.address, proxy=self.proxy, seconds=self.seconds, pair=self.pair)

    @property
    def answers_tls(self) -> bool:
        """Whether a server that was asked in plain HTTP speaks TLS."""
        return self.address.startswith("http://") and self.certificate is not None

    @property
    def host(self) -> str | None:
        """The host that was asked for."""
        return urlsplit(self.address).hostname

    @property
    def names(self) -> str:
        """The hosts that the certificate is for."""
        seen = self.certificate
        return f" ({', '.join(seen.names[:5]) or 'it names none'})" if seen else ""

    @property
    def issuer(self) -> str:
        """Who signed the certificate."""
        return f" ({self.certificate.issuer})" if self.certificate else ""

    @property
    def expiry(self) -> str:
        """Which certificate has expired, and when."""
        if (seen := self.certificate) is None:
            return ""
        ended = seen.ends < datetime.now(UTC)
        return f"; it expired {day(seen.ends)}" if ended else "; one of its authorities has expired"

    @property
    def beginning(self) -> str:
        """From when on the certificate is valid."""
        return f"before {day(self.certificate.begins)}" if self.certificate else "yet"

    @property
    def reason(self) -> str:
        """OpenSSL's own words about the certificate."""
        match = re.search(r"certificate verify failed: ([^()]{1,100})", self.text)
        return match[1].strip() if match else "it does not verify"

    # -- our own certificate ---------------------------------------------------------------------

    @property
    def certificate_refused(self) -> bool:
        """Whether the server refuses ours, or misses it."""
        return _REFUSED.search(self.text) is not None

    @property
    def no_certificate_refused(self) -> bool:
        """Whether it misses one, and none is configured."""
        return self.certificate_refused and self.pair is None

    @property
    def expired_certificate_refused(self) -> bool:
        """Whether it refuses one that has expired."""
        ours = self._ours if self.certificate_refused else None
        return ours is not None and ours.ends < datetime.now(UTC)

    @cached_property
    def _ours(self) -> CertificateFacts | None:
        return read_certificate(self.our_file)

    @property
    def our_file(self) -> str:
        """The file with our certificate."""
        return self.pair[0] if self.pair else ""

    @property
    def our_end(self) -> str:
        """When ours expires."""
        return day(self._ours.ends) if self._ours else ""

    @property
    def our_issuer(self) -> str:
        """Who signed ours."""
        return f"; it is signed by {self._ours.issuer}" if self._ours else ""

    @property
    def alert(self) -> str:
        """The reason that the server gives for a refusal."""
        match = re.search(r"alert ([a-z ]{1,40})", self.text)
        return match[1].strip() if match else "no reason given"


def explain(
    broken: NoAnswer,
    what: str,
    *,
    where: str,
    address: str,
    setting: str,
    place: VaultPlace | AwsPlace,
    ca_file: str | None,
    pair: Pair | None = None,
    seconds: float = 3.0,
) -> OrgkeyError:
    """Say why there is no answer.

    Args:
        broken: What happened.
        what: What the call was for.
        where: The server, for messages.
        address: Its URL.
        setting: The setting that holds the URL.
        place: How it is reached.
        ca_file: The authority that is trusted, where one is named.
        pair: Our own certificate and key.
        seconds: Time for a second look at its certificate.
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
        answer = re.search(r"Tunnel connection failed: (\d[\w ]{1,60})", " ".join(map(str, chain)))
        table, text = "proxy", answer[1] if answer else ""
    elif isinstance(error, lib.SSLError):
        table, text = "tls", str(error)
        if "EOF occurred" in text or "ECONNRESET" in text:
            way = proxy.effective(place, broken.url)
            text = hear(address, proxy=way, seconds=seconds, pair=pair) or text
    refused = any(isinstance(each, ConnectionRefusedError) for each in chain)
    failure = Unanswered(
        table,
        where,
        setting=setting,
        status=broken.status or 0,
        code=code,
        text=one_line(text),
        kinds=failures.class_names(error) | ({"ConnectionRefusedError"} if refused else set()),
        place=place,
        address=address,
        url=broken.url,
        ca_file=ca_file,
        pair=pair,
        seconds=seconds,
    )
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
