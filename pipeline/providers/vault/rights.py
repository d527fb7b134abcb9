"""By which rights a login at Vault could give itself more, or become another identity; asked, not tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, get_args

from pipeline.config.identities import IdentityName
from pipeline.core.errors import Code
from pipeline.core.finding import Finding, Level

if TYPE_CHECKING:
    from pipeline.providers.vault.session import VaultSession

WRITES = frozenset({"create", "update", "patch", "delete", "sudo", "root"})
_NAMES = (*get_args(IdentityName), "planner")
_KEYS = ("secret-id", "custom-secret-id", "role-id")  # to read one is enough
_OF_A_ROLE = ("policies", "token-policies")
_TOKENS = ("auth/token/create", "auth/token/create-orphan")
_ENTITIES = ("identity/entity", "identity/entity-alias", "identity/group", "identity/group-alias")


def becoming(session: VaultSession, policies: Sequence[str] = ()) -> dict[str, frozenset[str]]:
    """Paths by which an identity could become another one or widen its own rights.

    Args:
        session: The login.
        policies: The policies that it has.

    Returns:
        For each path the capabilities that none of our identities needs there.
    """
    mounts = dict.fromkeys((session.auth_mount, "approle"))
    roles = [f"auth/{mount}/role/orgkey-{name}" for mount in mounts for name in dict.fromkeys(_NAMES)]
    rules = dict.fromkeys(("orgkey", *(f"orgkey-{name}" for name in _NAMES), *policies))
    reads = WRITES | {"read"}
    asked = {f"{role}/{kind}": reads for role in roles for kind in _KEYS}
    asked |= {path: WRITES for role in roles for path in (role, *(f"{role}/{kind}" for kind in _OF_A_ROLE))}
    asked |= {f"sys/auth/{mount}": WRITES for mount in mounts}
    asked |= {f"{place}/{rule}": WRITES for rule in rules for place in ("sys/policies/acl", "sys/policy")}
    return asked | dict.fromkeys((*_TOKENS, *_ENTITIES), WRITES)


def judge(
    session: VaultSession, asked: Mapping[str, frozenset[str]], granted: Mapping[str, frozenset[str]]
) -> list[Finding]:
    """What is too much of what the server says.

    Args:
        session: The login.
        asked: What :func:`becoming` returned.
        granted: The capabilities.

    Returns:
        A failure for each path. They are about the server, so several users of a login say one thing.
    """
    place = session.place
    about = f"vault {place.address}" + (f" {place.namespace}" if place.namespace else "")
    return [
        Finding(
            Level.FAIL,
            about,
            f"the {session.role} may {' and '.join(sorted(rights))} {path}, "
            "with which it can give itself more",
            f"take it out of the {session.role}'s policy",
            Code.USAGE,
        )
        for path, surplus in asked.items()
        if (rights := granted[path] & surplus)
    ]
