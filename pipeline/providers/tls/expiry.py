"""Certificates that will not last: those that servers show, and our own for logins. For ``doctor``."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from pipeline import config as settings
from pipeline.config.identities import VaultIdentity
from pipeline.config.places import AwsPlace, VaultPlace
from pipeline.core.clock import Clock, Deadline
from pipeline.core.errors import Code, OrgkeyError
from pipeline.core.finding import Finding, Level
from pipeline.core.isolation import isolated
from pipeline.core.retry import SilentServers
from pipeline.providers import proxy as _proxy
from pipeline.providers.tls.files import day, read_certificate, require_authority, require_pair, shown_pair
from pipeline.providers.tls.handshake import peek

if TYPE_CHECKING:
    from pipeline.config.sections import ReadersSection
    from pipeline.providers.tls.files import CertificateFacts, Pair

SUBJECT = "certificates"


def findings(config: settings.Config, clock: Clock, deadline: Deadline) -> list[Finding]:
    """Look at every server that is reached over TLS, and at every client certificate.

    What does not answer, or cannot be read, is left out: the checks of targets and holders say so. Nobody
    else looks at the scheduler of a crew and at the files that it takes: of these it is said here.

    Args:
        config: Its ``policy.certificate_warning_days`` is how long before the end a warning begins.
        clock: What time it is.
        deadline: The end of the run; each handshake has ``policy.call_seconds`` at most.

    Returns:
        A finding for each certificate that ends soon or has ended; else one for all, if there are any.
    """
    now, span = clock.now(), timedelta(days=config.policy.certificate_warning_days)
    seen: list[datetime] = []
    found = list(_unusable(config.readers))
    for label, code, shown in _all(config, deadline, crew=not found):
        if shown is None:
            hint = "see that it runs, and that this machine reaches it"
            found.append(Finding(Level.FAIL, "readers", f"{label} is not shown: no TLS there", hint, code))
            continue
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


def _unusable(readers: ReadersSection) -> Iterator[Finding]:
    """What is wrong with the files that a crew's scheduler is reached with."""
    if readers.engine != "dask":
        return
    checks = (
        partial(require_authority, readers.ca_file),
        partial(require_pair, _crew_pair(readers), "cert_file and key_file of [readers]"),
    )
    for check in checks:
        problem = isolated(check, "the files of [readers]")
        if isinstance(problem, OrgkeyError):
            yield Finding(Level.FAIL, "readers", problem.message, problem.hint, problem.code)


def _crew_pair(readers: ReadersSection) -> Pair | None:
    return (readers.cert_file, readers.key_file) if readers.cert_file and readers.key_file else None


def _all(
    config: settings.Config, deadline: Deadline, *, crew: bool
) -> Iterator[tuple[str, Code, CertificateFacts | None]]:
    for address, place, pair in _servers(config):
        try:
            SilentServers.check(address.rstrip("/"))
            proxy = _proxy.effective(place, address)
            seconds = deadline.limit(config.policy.call_seconds)
        except OrgkeyError:
            continue
        if (shown := peek(address, proxy=proxy, seconds=seconds, pair=pair)) is not None:
            yield f"the certificate of {address}", Code.UNREACHABLE, shown
    readers = config.readers
    if crew and readers.engine == "dask" and readers.scheduler:
        seconds = deadline.limit(config.policy.call_seconds)
        shown = peek(readers.scheduler, proxy=None, seconds=seconds, pair=_crew_pair(readers))
        yield f"the certificate of {readers.scheduler}", Code.UNREACHABLE, shown
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
    crew = config.readers.cert_file if config.readers.engine == "dask" else None
    return list(dict.fromkeys(path for path in (*files, crew) if path))
