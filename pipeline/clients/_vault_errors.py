"""Vault's failures in the program's words.

Imports requests and hvac, so it is itself imported only where a call failed.
"""

from __future__ import annotations

from collections.abc import Callable

import hvac.exceptions
import requests

from pipeline.clients._text import one_line
from pipeline.clients.vault import Health, Seen
from pipeline.errors import Denied, OrgkeyError, Unreachable, UsageProblem

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


def from_connection(error: requests.RequestException, what: str, address: str) -> OrgkeyError:
    """Translate a failure below HTTP."""
    text = str(error)
    if isinstance(error, requests.exceptions.SSLError):
        return _from_tls(text, what, address)
    if isinstance(error, requests.exceptions.Timeout):
        return Unreachable(
            f"{what}: vault at {address} did not answer in time",
            hint="check the network and the server (a blocked audit device hangs requests), "
            "or raise policy.call_seconds",
        )
    if isinstance(error, requests.exceptions.ProxyError):
        return Unreachable(
            f"{what}: the proxy on the way to vault at {address} does not serve",
            hint="check HTTPS_PROXY and NO_PROXY",
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


def _from_tls(text: str, what: str, address: str) -> OrgkeyError:
    if "Hostname mismatch" in text or "doesn't match" in text or "IP address mismatch" in text:
        problem, hint = (
            "shows a certificate for another host name",
            "use the name that its certificate carries as address",
        )
    elif "certificate has expired" in text:
        problem, hint = (
            "shows an expired certificate",
            "renew the server's certificate; check this host's clock",
        )
    elif "CERTIFICATE_VERIFY_FAILED" in text:
        problem, hint = (
            "shows a certificate from an authority that is not trusted here",
            "name the authority's certificate as ca_file",
        )
    elif "WRONG_VERSION_NUMBER" in text or "record layer failure" in text:
        problem, hint = "does not speak TLS", "check the port; a development server has an http:// address"
    else:
        problem, hint = f"cannot be reached over TLS ({one_line(text)})", "check the server's TLS settings"
    return Unreachable(f"{what}: vault at {address} {problem}", hint=hint, again=False)


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
    if status in (412, 429, 473) or (status is not None and status >= 500):
        return Unreachable(
            f"{what}: vault at {address} cannot serve now (status {status}{told and ', '}{said})",
            hint="check the server's log, then run the same command again",
            retry_after=retry_after,
        )
    return UsageProblem(
        f"{what}: vault at {address} does not accept the request (status {status}{told and ', '}{said})",
        hint="check mount, prefix, key and namespace; `orgkey doctor` looks at each",
    )


def _reason(error: requests.RequestException) -> str:
    """What lies at the bottom of urllib3's own wrapping."""
    inner = error.args[0] if error.args else error
    return str(getattr(inner, "reason", None) or inner) or type(error).__name__
