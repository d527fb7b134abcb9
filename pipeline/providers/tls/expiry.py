"""Certificates that will not last: those that servers show, and our own for logins. For ``doctor``."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pipeline import config as settings
from pipeline.config.identities import VaultIdentity
from pipeline.config.places import AwsPlace, VaultPlace
from pipeline.core.clock import Clock, Deadline
from pipeline.core.errors import Code, OrgkeyError
from pipeline.core.finding import Finding, Level
from pipeline.core.retry import SilentServers
from pipeline.providers import proxy as _proxy
from pipeline.providers.tls.files import day, read_certificate, shown_pair
from pipeline.providers.tls.handshake import peek

if TYPE_CHECKING:
    from pipeline.providers.tls.files import CertificateFacts, Pair

SUBJECT = "certificates"


def findings(config: settings.Config, clock: Clock, deadline: Deadline) -> list[Finding]:
    """Look at every server that is reached over TLS, and at every client certificate.

    What does not answer, or cannot be read, is left out: the checks of targets and holders say so.

    Args:
        config: Its ``policy.certificate_warning_days`` is how long before the end a warning begins.
        clock: What time it is.
        deadline: The end of the run; each handshake has ``policy.call_seconds`` at most.

    Returns:
        A finding for each certificate that ends soon or has ended; else one for all, if there are any.
    """
    now, span = clock.now(), timedelta(days=config.policy.certificate_warning_days)
    seen: list[datetime] = []
    found = []
    for label, code, shown in _all(config, deadline):
        seen.append(shown.ends)
        if shown.ends > now + span:
            continue
        ended = shown.ends <= now
        found.append(
            Finding(
                Level.FAIL if ended else Level.WARN,
                SUBJECT,
                f"{label} {'expired' if ended else 'expires'} {day(shown.ends)}",
                "renew it before the next job needs it",
                code if ended else Code.OK,
            )
        )
    if seen and not found:
        found.append(Finding(Level.OK, SUBJECT, f"{len(seen)} seen, the first expires {day(min(seen))}"))
    return found


def _all(config: settings.Config, deadline: Deadline) -> Iterator[tuple[str, Code, CertificateFacts]]:
    for address, place, pair in _servers(config):
        try:
            SilentServers.check(address.rstrip("/"))
            proxy = _proxy.effective(place, address)
            seconds = deadline.limit(config.policy.call_seconds)
        except OrgkeyError:
            continue
        if (shown := peek(address, proxy=proxy, seconds=seconds, pair=pair)) is not None:
            yield f"the certificate of {address}", Code.UNREACHABLE, shown
    for path in _own(config):
        if (shown := read_certificate(path)) is not None:
            yield f"the client certificate in {path}", Code.DENIED, shown


def _servers(
    config: settings.Config,
) -> Iterator[tuple[str, VaultPlace | AwsPlace, Pair | None]]:
    """Each server once. AWS renews its own."""
    known = set()
    for place in (*config.target.values(), *config.holder.values(), *config.backups.values()):
        if not isinstance(place, VaultPlace | AwsPlace):
            continue
        vault = place if isinstance(place, VaultPlace) else None
        address = vault.address if vault else getattr(place, "endpoint_url", None) or ""
        if address.startswith("https://") and address not in known:
            known.add(address)
            yield address, place, shown_pair(vault)


def _own(config: settings.Config) -> list[str]:
    """The files with our own certificates, each once."""
    places = (*config.target.values(), *config.holder.values())
    logins = (login for each in config.identity.values() for login in (each.vault, *each.at.values()))
    kinds = (VaultPlace, VaultIdentity)
    files = (owner.client_cert_file for owner in (*places, *logins) if isinstance(owner, kinds))
    return list(dict.fromkeys(path for path in files if path))
