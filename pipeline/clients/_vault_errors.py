"""Vault's failures in the program's words.

Imports requests and hvac, so it is itself imported only where a call failed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import hvac.exceptions
import requests

from pipeline.clients import _proxy
from pipeline.clients._text import PLAIN_TO_TLS, one_line
from pipeline.clients._tls import Pair
from pipeline.clients._tls_errors import Peer, explain
from pipeline.clients._vault_answers import Health, Seen
from pipeline.clients._vault_wire import ELECTION_SECONDS
from pipeline.errors import Denied, OrgkeyError, Unreachable, UsageProblem

if TYPE_CHECKING:
    from pipeline.config import VaultPlace

NO_LEADER: Final = (
    "an election takes some seconds: run the same command again; a cluster without most of its servers, or "
    "with them sealed, elects none"
)
_HEALTH = {
    Health.SEALED: ("is sealed", "unseal it, then run the same command again"),
    Health.NOT_INITIALISED: ("is not initialised", "initialise and unseal it, or correct the address"),
    Health.DR_SECONDARY: (
        "is a disaster recovery secondary, which serves nothing",
        "configure the address of the primary cluster, or promote this one",
    ),
}


def from_health(health: Health, what: str, address: str) -> Unreachable | None:
    """Say why a server in this state cannot be used; ``None`` when it can."""
    if health not in _HEALTH:
        return None
    problem, hint = _HEALTH[health]
    return Unreachable(f"{what}: vault at {address} {problem}", hint=hint, again=False)


def from_connection(
    error: requests.RequestException, what: str, place: VaultPlace, pair: Pair | None, seconds: float
) -> OrgkeyError:
    """Translate a failure below HTTP.

    Args:
        error: What requests raised.
        what: What the call was for.
        place: The server.
        pair: Files with our certificate and key, where the server got one.
        seconds: Time for a second look at the server's certificate.
    """
    if isinstance(error, requests.exceptions.InvalidHeader):
        # Its text quotes the header's value, which may be a token.
        return UsageProblem(
            f"{what}: the request to vault at {place.address} has a header that cannot be sent",
            hint="check token and namespace: each is plain text on one line",
        )
    text, address = str(error), place.address
    if isinstance(error, requests.exceptions.InvalidProxyURL):
        return _proxy.unusable(place)
    if isinstance(error, requests.exceptions.ProxyError):
        return _proxy.explain(text, what, f"vault at {address}", place, address)
    if isinstance(error, requests.exceptions.SSLError):
        proxy = _proxy.effective(place, address)
        peer = Peer(f"vault at {address}", address, "address", place.ca_file, pair, proxy, seconds)
        return explain(text, what, peer)
    if isinstance(error, requests.exceptions.Timeout):
        return Unreachable(
            f"{what}: vault at {address} did not answer in time",
            hint="check the network and the server (a blocked audit device hangs requests), "
            "or raise policy.call_seconds",
            silent=True,
        )
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidSchema):
        return UsageProblem(f"{what}: {address} is no usable address", hint="correct the address")
    if "NameResolutionError" in text or "getaddrinfo" in text:
        return Unreachable(
            f"{what}: the host name in {address} cannot be resolved", hint="check the address and the DNS"
        )
    if "Connection refused" in text:
        return Unreachable(
            f"{what}: nothing listens at {address} (connection refused)",
            hint="check that the server runs, and the address",
        )
    return Unreachable(
        f"{what}: the connection to vault at {address} broke ({one_line(_reason(error))})",
        hint="check the network and the server, then run the same command again",
    )


def from_answer(
    error: hvac.exceptions.VaultError,
    seen: Seen,
    what: str,
    address: str,
    role: str,
    health: Callable[[], Health | None],
) -> OrgkeyError:
    """Translate an answer that is an error.

    Args:
        error: What hvac made of it.
        seen: The status and headers of the answer.
        what: What the call was for.
        address: The server.
        role: Which of our identities made the call.
        health: Asks the server for its state, ``None`` when it does not tell.
    """
    status, retry_after = seen.status, seen.retry_after  # asking for the state overwrites them
    said = one_line(", ".join(error.errors) if error.errors else (error.text or ""))
    told = f" ({said})" if said else ""
    if PLAIN_TO_TLS in said:
        return Unreachable(
            f"{what}: vault at {address} speaks TLS, and was asked without",
            hint="write https:// in address",
            again=False,
        )
    if status == 407:
        return Denied(
            f"{what}: the proxy on the way to vault at {address} wants a login (407)",
            hint="write its address with user and password into a file, and name that as proxy_file",
        )
    if status in (401, 403):
        return Denied(
            f"{what}: vault at {address} refuses the {role}'s identity{told}",
            hint=f"check the {role}'s policy and that its token or secret id is still valid",
        )
    if status == 404:
        return UsageProblem(
            f"{what}: vault at {address} has nothing there{told}",
            hint="check mount, prefix and namespace; `orgkey doctor` looks at each",
        )
    if status == 413:
        return UsageProblem(
            f"{what}: vault at {address} finds the request too large",
            hint="see max_request_size of its listener",
        )
    if status in (472, 501, 503) or (status == 500 and "sealed" in said):
        known = health()
        unusable = from_health(known, what, address) if known else None
        if unusable is not None:
            return unusable
    if status == 500 and ("active cluster node" in said or "node is not active" in said):
        return Unreachable(
            f"{what}: the cluster of vault at {address} has no leader now ({said})",
            hint=NO_LEADER,
            retry_after=retry_after or ELECTION_SECONDS,
        )
    if status in (412, 429, 473) or (status is not None and status >= 500):
        return Unreachable(
            f"{what}: vault at {address} cannot serve now (status {status}{told and ', '}{said})",
            hint="check the server's log, then run the same command again",
            # 502 to 504 come from a load balancer, which finds the next leader in its own time.
            retry_after=ELECTION_SECONDS
            if retry_after is None and status in (502, 503, 504)
            else retry_after,
        )
    return UsageProblem(
        f"{what}: vault at {address} does not accept the request (status {status}{told and ', '}{said})",
        hint="check mount, prefix, key and namespace; `orgkey doctor` looks at each",
    )


def _reason(error: requests.RequestException) -> str:
    """What lies at the bottom of urllib3's own wrapping."""
    inner = error.args[0] if error.args else error
    return str(getattr(inner, "reason", None) or inner) or type(error).__name__
