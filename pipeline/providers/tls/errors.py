"""Failures of TLS in the program's words, the same for Vault and for AWS.

Which certificate was shown, a second handshake tells: the failure itself does not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

from pipeline.core.errors import Denied, OrgkeyError, Unreachable
from pipeline.providers.text import one_line
from pipeline.providers.tls.files import Pair, Shown, day, read_certificate
from pipeline.providers.tls.handshake import hear, peek

_MISMATCH = ("Hostname mismatch", "doesn't match", "IP address mismatch")
_PLAIN = ("WRONG_VERSION_NUMBER", "record layer failure", "HTTP_REQUEST", "UNKNOWN_PROTOCOL")
_OLD = ("PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL")
# Alerts by which a server refuses the client's certificate (RFC 8446, 6.2); it may send them late.
_ALERTS = (
    "CERTIFICATE_REQUIRED",
    "ALERT_BAD_CERTIFICATE",
    "ALERT_UNSUPPORTED_CERTIFICATE",
    "ALERT_CERTIFICATE_REVOKED",
    "ALERT_CERTIFICATE_EXPIRED",
    "ALERT_CERTIFICATE_UNKNOWN",
    "ALERT_UNKNOWN_CA",
    "ALERT_ACCESS_DENIED",
)


@dataclass(frozen=True, slots=True)
class Peer:
    """The server of a failed connection.

    Attributes:
        named: What messages call it.
        address: Its URL.
        setting: The setting that holds the URL.
        ca_file: The authority that is trusted, where one is named.
        pair: Our own certificate and key.
        proxy: The proxy on the way.
        seconds: Time for a second look.
    """

    named: str
    address: str
    setting: str
    ca_file: str | None = None
    pair: Pair | None = None
    proxy: str | None = None
    seconds: float = 3.0

    def look(self) -> Shown | None:
        """See the certificate that it shows."""
        return peek(self.address, proxy=self.proxy, seconds=self.seconds, pair=self.pair)


def explain(text: str, what: str, peer: Peer) -> OrgkeyError:
    """Say what is wrong, and with whose certificate. None of it goes away within a run.

    Args:
        text: What the failure says.
        what: What the call was for.
        peer: The server.

    Returns:
        ``Unreachable`` where the server is not the one that is trusted, ``Denied`` where it refuses us.
    """
    if "EOF occurred" in text or "ECONNRESET" in text:
        heard = hear(peer.address, proxy=peer.proxy, seconds=peer.seconds, pair=peer.pair)
        text = heard or text
    if any(alert in text for alert in _ALERTS):
        return _refused(text, what, peer)
    problem, hint = _problem(text, peer)
    return Unreachable(f"{what}: {peer.named} {problem}", hint=hint, again=False)


def _problem(text: str, peer: Peer) -> tuple[str, str]:
    if any(part in text for part in _PLAIN):
        return "does not speak TLS", f"check the port and the scheme of {peer.setting} (http or https)"
    if any(part in text for part in _OLD):
        return (
            "speaks no version of TLS that is accepted here",
            "let the server speak TLS 1.2 or later",
        )
    if not any(part in text for part in ("CERTIFICATE_VERIFY_FAILED", *_MISMATCH)):
        return f"cannot be reached over TLS ({one_line(text)})", "check the server's TLS settings"
    seen = peer.look()
    if any(part in text for part in _MISMATCH):
        names = f" ({', '.join(seen.names[:5]) or 'it names none'})" if seen else ""
        host = urlsplit(peer.address).hostname
        return (
            f"shows a certificate for another host name{names}",
            f"use a name that its certificate carries as {peer.setting}, or have one made for {host}",
        )
    if "certificate has expired" in text:
        ended = seen and seen.ends < datetime.now(UTC)
        when = f"; it expired {day(seen.ends)}" if seen and ended else "; one of its authorities has expired"
        return f"shows an expired certificate{when if seen else ''}", (
            "renew the server's certificate; check this host's clock"
        )
    if "certificate is not yet valid" in text:
        when = f" before {day(seen.begins)}" if seen else " yet"
        return f"shows a certificate that is not valid{when}", "check this host's clock and the server's"
    return _untrusted(text, peer, seen)


def _untrusted(text: str, peer: Peer, seen: Shown | None) -> tuple[str, str]:
    issuer = f" ({seen.issuer})" if seen else ""
    if any(word in text for word in ("unable to get", "self-signed", "self signed", "signature failure")):
        hint = (
            f"{peer.ca_file} does not hold that authority; name the right one as ca_file"
            if peer.ca_file
            else "name the authority's certificate as ca_file"
        )
        return f"shows a certificate from an authority that is not trusted here{issuer}", hint
    reason = re.search(r"certificate verify failed: ([^()]{1,100})", text)
    said = one_line(reason[1]).strip() if reason else "it does not verify"
    return (
        f"shows a certificate that is not accepted ({said}){issuer}",
        "have the server's certificate corrected",
    )


def _refused(text: str, what: str, peer: Peer) -> Denied:
    if peer.pair is None:
        return Denied(
            f"{what}: {peer.named} wants a client certificate, and none is configured",
            hint="name client_cert_file and client_key_file",
        )
    ours = read_certificate(peer.pair[0])
    said = re.search(r"alert ([a-z ]{1,40})", text)
    if ours and ours.ends < datetime.now(UTC):
        return Denied(
            f"{what}: {peer.named} refuses the client certificate in {peer.pair[0]}: "
            f"it expired {day(ours.ends)}",
            hint="renew the client certificate",
        )
    signed = f"; it is signed by {ours.issuer}" if ours else ""
    return Denied(
        f"{what}: {peer.named} refuses the client certificate in {peer.pair[0]} "
        f"({said[1].strip() if said else 'no reason given'})",
        hint=f"use one from an authority that the server accepts for clients{signed}",
    )


def answered_tls(peer: Peer) -> bool:
    """Whether a server that was asked in plain HTTP speaks TLS."""
    return peer.address.startswith("http://") and peer.look() is not None
