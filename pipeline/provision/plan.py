"""The plan: every server of the configuration, compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from pipeline.config import Config
from pipeline.core.errors import Code, OrgkeyError, UsageProblem, first_of
from pipeline.core.isolation import isolated
from pipeline.provision.compare import Comparison, Fault, ServerChange
from pipeline.provision.desired import RoleLogin, Site, wanted
from pipeline.provision.files import Files

# What neither command does, whatever the files say.
NEVER = (
    "no mount, key, key version, entry or auth mount is removed or disabled",
    "no policy or role of others is changed or removed, no secret id is made or revoked",
    "no Transit key is rotated, made exportable or given a higher minimum version",
)


@dataclass(frozen=True, slots=True)
class ComparedServer:
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
    logins: tuple[RoleLogin, ...]

    @property
    def product(self) -> str:
        """What it is called."""
        return "OpenBao" if self.openbao else "Vault"


@dataclass(frozen=True, slots=True)
class ServersPlan:
    """What differs.

    Attributes:
        servers: What was looked at.
        changes: What can be mended, in the order of mending.
        faults: What cannot.
    """

    servers: tuple[ComparedServer, ...]
    changes: tuple[ServerChange, ...]
    faults: tuple[Fault, ...]

    @property
    def code(self) -> Code:
        """22 where something cannot be mended, 42 where something differs that `apply` can mend.

        Else the code of a server that could not be asked.
        """
        if self.faults:
            return first_of(fault.code for fault in self.faults)
        return Code.PENDING if any(change.call for change in self.changes) else Code.OK

    @property
    def by_hand(self) -> tuple[ServerChange, ...]:
        """What only the server's administrator can do; no run of ours will, so it is not a pending change."""
        return tuple(change for change in self.changes if not change.call)


def make(files: Files, config: Config | None, sites: Sequence[Site]) -> ServersPlan:
    """Compare all servers; changes nothing. One that cannot be asked is a fault, and the others are compared.

    Args:
        files: What should be there.
        config: Says how the identities log in; ``None`` for AppRole at its usual mount.
        sites: The servers.

    Raises:
        Denied, Unreachable, DeadlinePassed: No server could be asked.
        UsageProblem: The files or the configuration do not fit, or name one server in two ways.
    """
    # Mistakes in files show before any server is asked.
    wants = [(site, wanted(files, config, site)) for site in sites]
    found = [
        (site, want, isolated(partial(Comparison, site, want), f"the Vault server {site.label}"))
        for site, want in wants
    ]
    errors = [each for *_, each in found if isinstance(each, OrgkeyError)]
    if errors and len(errors) == len(sites):
        raise errors[0]
    seen: dict[tuple[str, str | None], Site] = {}
    servers, changes, faults = [], [], []
    for site, want, each in found:
        if isinstance(each, OrgkeyError):
            faults.append(Fault(site.label, "server", each.message, each.hint, each.code))
            continue
        _one_address(seen, site, each.status.cluster_id)
        changes += each.changes
        faults += each.faults
        place, version = site.place, each.status.version
        servers.append(
            ComparedServer(site.label, place.address, place.namespace, version, each.openbao, want.logins)
        )
    return ServersPlan(tuple(servers), tuple(changes), tuple(faults))


def _one_address(seen: dict[tuple[str, str | None], Site], site: Site, cluster: str) -> None:
    """Refuse two addresses of one server: each would write the policies with its own part only."""
    namespace = site.place.namespace
    other = seen.setdefault((cluster, None if namespace == "root" else namespace), site) if cluster else site
    if other is not site:
        raise UsageProblem(
            f"{other.label} and {site.label} are one server",
            hint="give one address for both in the configuration, spelled the same",
        )
