"""The proxy on the way to a server: the configuration's, else the environment's."""

from __future__ import annotations

import base64
import ipaddress
import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment

from pipeline.core import log
from pipeline.core.errors import UsageProblem
from pipeline.core.secret import Secret
from pipeline.providers.credentials import read_secret

if TYPE_CHECKING:
    from pipeline.config.places import AwsPlace, VaultPlace

_WITH_LOGIN = re.compile(r"^https?://(?:[^/\s@]+@)?[^/\s@]+/?\Z")


def effective(place: VaultPlace | AwsPlace, address: str) -> str | None:
    """The proxy that a request to ``address`` takes; ``None`` for none. It may carry a password.

    One rule for all services: the configuration's word; else ``HTTPS_PROXY`` or ``HTTP_PROXY``, by the scheme
    of the address, unless ``NO_PROXY`` names its host. ``ALL_PROXY`` does not count.

    Raises:
        UsageProblem: It is not an address, or its file cannot be read.
    """
    if place.proxy == "none":
        return None
    url = place.proxy
    if place.proxy_file is not None:
        url = read_secret(place.proxy_file, "proxy's address", public=True).text()
        if not _WITH_LOGIN.match(url):
            raise unusable(place, address)
    if url is None:
        url = _ambient(address)
    if url is None:
        return None
    url = url if "://" in url else f"http://{url}"
    _check(url, place, address)
    return url


def configured(place: VaultPlace | AwsPlace) -> str | None:
    """The proxy that the configuration names, without its login: ``none``, an address, or nothing.

    Raises:
        UsageProblem: Its file cannot be read, or does not hold an address.
    """
    if place.proxy is None and place.proxy_file is None:
        return None
    known = effective(place, "")
    return "none" if known is None else without_login(known)


def login(proxy: str) -> dict[str, str]:
    """The header with the user and the password of a proxy's address; empty where it has none."""
    parts = urlsplit(proxy)
    if parts.username is None:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Proxy-Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}


def _ambient(address: str) -> str | None:
    known = getproxies_environment()  # the variables in either case of letters, the lower one first
    parts = urlsplit(address)
    url = known.get(parts.scheme)
    host, port = (parts.hostname or "").lower(), parts.port
    if not url or any(
        _matches(host, port, entry) for entry in re.split(r"[\s,]+", known.get("no", "")) if entry
    ):
        return None
    return url


def _matches(host: str, port: int | None, entry: str) -> bool:
    """Whether an entry of ``NO_PROXY`` names a host: a name and all below it, an address, a CIDR, ``*``."""
    if entry == "*":
        return True
    with suppress(ValueError):
        network = ipaddress.ip_network(entry.strip("[]"), strict=False)
        try:
            return ipaddress.ip_address(host) in network
        except ValueError:
            return False
    name, _, number = (
        entry.lower().rpartition(":") if re.search(r":\d+\Z", entry) else (entry.lower(), "", "")
    )
    if number and int(number) != port:
        return False
    name = name.removeprefix("*").strip("[]").lstrip(".")
    return host == name or host.endswith(f".{name}")


def unusable(place: VaultPlace | AwsPlace, address: str) -> UsageProblem:
    """The error for a proxy's address that is not one; it is not shown, since it may hold a password."""
    if place.proxy_file is not None:
        return UsageProblem(
            f"{place.proxy_file} does not hold a proxy's address",
            hint="write http://USER:PASSWORD@proxy.example.com:3128 there, special characters as %XX",
        )
    return UsageProblem(
        f"{setting(place, address)} is not a proxy's address",
        hint="write it as http://proxy.example.com:3128",
    )


def _check(url: str, place: VaultPlace | AwsPlace, address: str) -> None:
    """Look whether an address can be used, and keep the password in it from being shown."""
    import urllib3.exceptions
    import urllib3.util

    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname and urllib3.util.parse_url(url).host) and parts.port != 0
        usable = usable and parts.scheme in ("http", "https")
    except (ValueError, urllib3.exceptions.LocationParseError):  # a port above 65535, an open bracket
        usable = False
    if not usable:
        raise unusable(place, address)
    if parts.password:
        # Also as it is sent, encoded with the user.
        login = parts.netloc.rpartition("@")[0]
        for secret in (parts.password, unquote(parts.password), login, unquote(login)):
            log.redact_login(Secret(secret))


def setting(place: VaultPlace | AwsPlace, address: str) -> str:
    """Where the proxy comes from: the setting, or the variable that is set."""
    if place.proxy_file:
        return f"the address in {place.proxy_file}"
    if place.proxy:
        return "proxy in the configuration"
    lower = f"{urlsplit(address).scheme}_proxy"
    return f"the variable {lower if os.environ.get(lower) else lower.upper()}"


def without_login(proxy: str | None) -> str:
    """A proxy's address without user and password."""
    if proxy is None:
        return "(unknown)"
    place = urlsplit(proxy)
    return f"{place.scheme}://{place.netloc.rpartition('@')[2]}"
