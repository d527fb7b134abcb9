"""Requests without an answer in the program's words, the same for every service.

Imports urllib3, so it is itself imported only where a request failed.
"""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from typing import TYPE_CHECKING

import urllib3.exceptions as lib

from pipeline.core.errors import OrgkeyError, Unreachable, UsageProblem
from pipeline.core.files import exhaustion
from pipeline.providers import proxy as _proxy
from pipeline.providers.text import one_line
from pipeline.providers.tls.errors import Peer, answered_tls, explain
from pipeline.providers.wire import Broken, Late, TooLong, Unlike, WebPage

if TYPE_CHECKING:
    from pipeline.config import AwsPlace, VaultPlace

_BETWEEN = (
    "check that the address is that of the service; a proxy or a load balancer may be answering in its place"
)
_AGAIN = "check the network and the service, then run the same command again"


def translate(broken: Broken, what: str, peer: Peer, place: VaultPlace | AwsPlace) -> OrgkeyError:
    """Say why there is no answer.

    Args:
        broken: What happened.
        what: What the call was for.
        peer: The server.
        place: How it is reached.
    """
    error, named = broken.reason, peer.named
    chain = list(_causes(error))
    for each in chain:
        if (exhausted := exhaustion(each, f"open a connection for {what}")) is not None:
            return exhausted
    if isinstance(error, WebPage):
        return web_page(what, named, broken.status)
    if isinstance(error, TooLong):
        return Unreachable(
            f"{what}: the answer of {named} is longer than any answer of its kind",
            hint="check the address, and what lies there; a proxy may be answering in its place",
            again=False,
        )
    if isinstance(error, Unlike):
        return Unreachable(
            f"{what}: {named} {error.says}",
            hint=error.hint or _BETWEEN,
            again=error.again,
            retry_after=error.wait,
        )
    if any(isinstance(each, lib.ProxyError) for each in chain):
        return _proxy.explain(" ".join(map(str, chain)), what, named, place, broken.url)
    if isinstance(error, lib.SSLError):
        return explain(str(error), what, peer)
    if isinstance(error, lib.NameResolutionError):
        return Unreachable(
            f"{what}: the host name in {peer.address} cannot be resolved",
            hint="check the address and the DNS",
        )
    if any(isinstance(each, ConnectionRefusedError) for each in chain):
        return Unreachable(
            f"{what}: no connection to {named} (connection refused)",
            hint="check that the service runs, its address and the network",
        )
    if isinstance(error, lib.NewConnectionError):
        return Unreachable(
            f"{what}: no connection to {named} ({_reason(chain)})",
            hint="check that the service runs, its address and the network",
        )
    if isinstance(error, Late | lib.ConnectTimeoutError | lib.ReadTimeoutError | TimeoutError):
        return Unreachable(
            f"{what}: {named} did not answer in time",
            hint="check the network and the service (a blocked audit device hangs vault), "
            "or raise policy.call_seconds",
            silent=True,
        )
    if isinstance(error, lib.LocationParseError):
        return UsageProblem(
            f"{what}: {one_line(broken.url)} is not an address", hint=f"correct {peer.setting}"
        )
    if answered_tls(peer):
        return speaks_tls(what, peer)
    return Unreachable(f"{what}: the connection to {named} broke ({_reason(chain)})", hint=_AGAIN)


def web_page(what: str, named: str, status: int | None) -> Unreachable:
    """The error for an answer that is made for people."""
    return Unreachable(
        f"{what}: {named} answered with a web page (status {status}): a proxy or portal is between",
        hint="log in at the portal, or let the proxy pass this host; check the address",
        again=False,
    )


def foreign(what: str, named: str, why: str) -> Unreachable:
    """The error for an answer of a shape that the service does not give."""
    return Unreachable(
        f"{what}: {named} does not answer as that service does: {why}", hint=_BETWEEN, again=False
    )


def speaks_tls(what: str, peer: Peer) -> Unreachable:
    """The error for a server that was asked in plain HTTP and speaks TLS."""
    return Unreachable(
        f"{what}: {peer.named} speaks TLS, and was asked without",
        hint=f"write https:// in {peer.setting}",
        again=False,
    )


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
            return one_line(each.strerror.lower())
    if any(isinstance(each, http.client.HTTPException | lib.HTTPError) for each in chain):
        return "what came is not an answer in HTTP"
    return f"it failed with {type(chain[0]).__name__}"
