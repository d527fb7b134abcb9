"""The proxy on the way to a server: the configuration's, else the environment's."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from pipeline import logs
from pipeline.clients._credentials import read_secret
from pipeline.clients._text import one_line
from pipeline.errors import Denied, OrgkeyError, Unreachable, UsageProblem
from pipeline.secret import Secret

if TYPE_CHECKING:
    from pipeline.config import AwsPlace, VaultPlace

_WITH_LOGIN = re.compile(r"^https?://(?:[^/\s@]+@)?[^/\s@]+/?\Z")


def configured(place: VaultPlace | AwsPlace) -> dict[str, str] | None:
    """The proxies that the configuration names, by scheme.

    Returns:
        Nothing in it: no proxy at all. ``None``: the environment decides.

    Raises:
        UsageProblem: The file cannot be read, or holds no address.
    """
    if place.proxy == "none":
        return {}
    url = place.proxy
    if place.proxy_file is not None:
        url = read_secret(place.proxy_file, "proxy's address", public=True).text()
        if not _WITH_LOGIN.match(url):
            raise unusable(place)
    if url is None:
        return None
    _check(url, place)
    return {"http": url, "https": url}


def told(place: VaultPlace | AwsPlace) -> str | None:
    """The proxy that the configuration names, without its login: ``none``, an address, or nothing.

    Raises:
        UsageProblem: Its file cannot be read, or holds no address.
    """
    known = configured(place)
    return None if known is None else _shown(known["https"]) if known else "none"


def by_scheme(place: VaultPlace | AwsPlace, address: str) -> dict[str, str]:
    """The proxies for an address: the configuration's, else the environment's.

    Raises:
        UsageProblem: The one that would be taken is no address, or its file cannot be read.
    """
    import requests.utils

    known = configured(place)
    if known is not None:
        return known
    known = requests.utils.get_environ_proxies(address)
    chosen = requests.utils.select_proxy(address, known)
    if chosen is not None:
        _check(chosen if "://" in chosen else f"http://{chosen}", place)
    return known


def unusable(place: VaultPlace | AwsPlace) -> UsageProblem:
    """The error for a proxy's address that is none; it is not shown, since it may hold a password."""
    if place.proxy_file is not None:
        return UsageProblem(
            f"{place.proxy_file} holds no proxy's address",
            hint="write http://USER:PASSWORD@proxy.example.com:3128 there, special characters as %XX",
        )
    return UsageProblem(
        f"{_setting(place)}: that is no proxy's address",
        hint="write it as http://proxy.example.com:3128",
    )


def _check(url: str, place: VaultPlace | AwsPlace) -> None:
    """Look whether an address can be used, and keep the password in it from being shown."""
    import urllib3.exceptions
    import urllib3.util

    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname and urllib3.util.parse_url(url).host) and parts.port != 0
    except (ValueError, urllib3.exceptions.LocationParseError):  # a port above 65535, an open bracket
        usable = False
    if not usable:
        raise unusable(place)
    if parts.password:
        # Also as it is sent, encoded with the user.
        login = parts.netloc.rpartition("@")[0]
        for secret in (parts.password, unquote(parts.password), login, unquote(login)):
            logs.redact_login(Secret(secret))


def effective(place: VaultPlace | AwsPlace, address: str) -> str | None:
    """The proxy that a request to ``address`` takes; ``None`` for none. It may carry a password."""
    import requests.utils

    return requests.utils.select_proxy(address, by_scheme(place, address))


def explain(text: str, what: str, server: str, place: VaultPlace | AwsPlace, address: str) -> OrgkeyError:
    """Say what is wrong with the proxy.

    Args:
        text: What the failure says.
        what: What the call was for.
        server: The server behind the proxy, for messages.
        place: How it is reached.
        address: Its URL.
    """
    proxy = _shown(effective(place, address))
    setting = _setting(place)
    answer = re.search(r"Tunnel connection failed: (\d[\w ]{1,60})", text)
    said = one_line(answer[1]) if answer else ""
    if said.startswith("407"):
        return Denied(
            f"{what}: the proxy {proxy} on the way to {server} wants a login (407)",
            hint="write the address with user and password into a file, and name that as proxy_file; "
            f"now it comes from {setting}",
        )
    if said.startswith("4"):
        return Denied(
            f"{what}: the proxy {proxy} does not connect to {server} ({said})",
            hint=f"have the proxy allow that host, or reach it without one; check {setting}",
        )
    if said:
        return Unreachable(
            f"{what}: the proxy {proxy} cannot connect to {server} ({said})",
            hint=f"check the server's address, and {setting}",
        )
    return Unreachable(
        f"{what}: the proxy {proxy} on the way to {server} does not serve",
        hint=f"check that it runs, and {setting}",
    )


def _setting(place: VaultPlace | AwsPlace) -> str:
    if place.proxy_file:
        return f"the address in {place.proxy_file}"
    return "proxy in the configuration" if place.proxy else "HTTPS_PROXY and NO_PROXY"


def _shown(proxy: str | None) -> str:
    """A proxy's address without user and password."""
    if proxy is None:
        return "(unknown)"
    place = urlsplit(proxy)
    return f"{place.scheme}://{place.netloc.rpartition('@')[2]}"
