"""A handshake of its own with a server, to see what it shows or says. For messages and for doctor.

Imports what any connection imports, so it is itself imported only where one was made.
"""

from __future__ import annotations

import http.client
import ssl
import threading
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import urlsplit

from pipeline.providers.proxy import login
from pipeline.providers.tls.files import CertificateFacts, Pair, facts_of

T = TypeVar("T")


def peek(
    address: str, *, proxy: str | None, seconds: float, pair: Pair | None = None
) -> CertificateFacts | None:
    """Make one handshake to see the certificate; nothing else is sent or read.

    Args:
        address: The server's URL; its scheme does not matter.
        proxy: The URL of the proxy on the way.
        seconds: Time allowed.
        pair: Our own certificate, where the server may want one.

    Returns:
        The certificate, unverified; ``None`` when there was no handshake.
    """
    from cryptography import x509

    seen = _in_time(lambda: _shake(address, proxy, seconds, pair)[0], seconds)
    try:
        return facts_of(x509.load_der_x509_certificate(seen)) if seen else None
    except ValueError:
        return None


def hear(address: str, *, proxy: str | None, seconds: float, pair: Pair | None = None) -> str | None:
    """Make a handshake and listen, for the alert of a server that refuses our certificate.

    Under TLS 1.3 it comes after the handshake, and is lost to who writes at once and is cut off.

    Args:
        address: As in :func:`peek`, like the others.
        proxy: The proxy.
        seconds: Time to listen.
        pair: Our own certificate.

    Returns:
        OpenSSL's words; ``None`` when the server says nothing.
    """
    return _in_time(lambda: _shake(address, proxy, seconds, pair, listen=True)[1], seconds)


def _in_time(look: Callable[[], T | None], seconds: float) -> T | None:
    """Look in another thread: a server that sends a byte now and then is not waited for."""
    seen: list[T | None] = []
    thread = threading.Thread(target=lambda: seen.append(look()), name="handshake", daemon=True)
    thread.start()
    thread.join(seconds)
    return seen[0] if seen else None


def _shake(
    address: str, proxy: str | None, seconds: float, pair: Pair | None, *, listen: bool = False
) -> tuple[bytes | None, str | None]:
    """The certificate that is shown, and OpenSSL's words about what comes instead or behind."""
    place = urlsplit(address)
    host, port = place.hostname or "", place.port or 443
    # Not verified on purpose: this is how a message can say what is wrong with it.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = _toward(host, port, proxy, seconds)
    try:
        if pair is not None:
            context.load_cert_chain(*pair, password=lambda: "-")
        connection.connect()
        with context.wrap_socket(connection.sock, server_hostname=host) as wrapped:
            if listen:
                wrapped.recv(1)
            return wrapped.getpeercert(binary_form=True), None
    except ssl.SSLError as error:
        return None, str(error)
    except (OSError, ValueError, http.client.HTTPException):
        return None, None
    finally:
        connection.close()


def _toward(host: str, port: int, proxy: str | None, seconds: float) -> http.client.HTTPConnection:
    if proxy is None:
        return http.client.HTTPConnection(host, port, timeout=seconds)
    way = urlsplit(proxy)
    connection = http.client.HTTPConnection(way.hostname or "", way.port or 80, timeout=seconds)
    connection.set_tunnel(host, port, login(proxy))
    return connection
