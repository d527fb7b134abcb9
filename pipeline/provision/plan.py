"""The plan: every server of the configuration, compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.config import Config
from pipeline.core.errors import Code, UsageProblem
from pipeline.provision import actual, differ
from pipeline.provision.actual import Actual
from pipeline.provision.desired import Login, Site, wanted
from pipeline.provision.differ import Change, Fault
from pipeline.provision.files import Files

# What neither command does, whatever the files say.
NEVER = (
    "no mount, key, key version, entry or auth mount is removed or disabled",
    "no policy or role of others is changed or removed, no secret id is made or revoked",
    "no Transit key is rotated, made exportable or given a higher minimum version",
)


@dataclass(frozen=True, slots=True)
class Server:
    """One server that was looked at.

    Attributes:
        label: Its address, and its namespace where it has one.
        version: As it says it.
        openbao: Whether it is OpenBao.
        logins: How the identities log in there.
    """

    label: str
    address: str
    namespace: str | None
    version: str
    openbao: bool
    logins: tuple[Login, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What differs.

    Attributes:
        servers: What was looked at.
        changes: What can be mended, in the order of mending.
        faults: What cannot.
    """

    servers: tuple[Server, ...]
    changes: tuple[Change, ...]
    faults: tuple[Fault, ...]

    @property
    def code(self) -> Code:
        """22 where something cannot be mended, 42 where something differs that `apply` can mend."""
        if self.faults:
            return Code.CONFLICT
        return Code.PENDING if any(change.call for change in self.changes) else Code.OK

    @property
    def by_hand(self) -> tuple[Change, ...]:
        """What only the server's administrator can do; no run of ours will, so it is no pending change."""
        return tuple(change for change in self.changes if not change.call)


def make(files: Files, config: Config | None, sites: Sequence[Site]) -> Plan:
    """Compare all servers; changes nothing.

    Args:
        files: What should be there.
        config: Says how the identities log in; ``None`` for AppRole at its usual mount.
        sites: The servers.

    Raises:
        Denied: The login may not look.
        Unreachable, DeadlinePassed: A server does not answer.
        UsageProblem: The files or the configuration do not fit, or name one server in two ways.
    """
    wants = [
        wanted(files, config, site) for site in sites
    ]  # mistakes in files show before any server is asked
    found = [actual.read(site, want) for site, want in zip(sites, wants, strict=True)]
    _one_address(sites, found)
    servers, changes, faults = [], [], []
    for site, want, have in zip(sites, wants, found, strict=True):
        more, wrong = differ.compare(site.label, want, have)
        changes += more
        faults += wrong
        place = site.place
        servers.append(
            Server(site.label, place.address, place.namespace, have.version, have.openbao, want.logins)
        )
    return Plan(tuple(servers), tuple(changes), tuple(faults))


def _one_address(sites: Sequence[Site], found: Sequence[Actual]) -> None:
    """Refuse two addresses of one server: each would write the policies with its own part only."""
    seen: dict[tuple[str, str | None], Site] = {}
    for site, have in zip(sites, found, strict=True):
        if not have.cluster:
            continue
        namespace = site.place.namespace
        other = seen.setdefault((have.cluster, None if namespace == "root" else namespace), site)
        if other is not site:
            raise UsageProblem(
                f"{other.label} and {site.label} are one server",
                hint="give one address for both in the configuration, spelled the same",
            )
