"""What hvac makes of Vault's answers, in the program's words.

Imports hvac, so it is itself imported only where a call failed.
"""

from __future__ import annotations

from collections.abc import Callable

import hvac.exceptions

from pipeline.core.errors import OrgkeyError, Unreachable
from pipeline.providers import answers as _answers
from pipeline.providers.text import one_line
from pipeline.providers.vault.health import Health, Seen

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
    said = _answers.Said(
        service="vault",
        where=f"vault at {address}",
        role=role,
        setting="address",
        status=seen.status or 0,
        code="",
        text=words_of(error),
        headers=seen.headers,
    )
    if said.status in (472, 501, 503) or (said.status == 500 and "sealed" in said.text):
        known = health()
        unusable = from_health(known, what, address) if known else None
        if unusable is not None:
            return unusable
    return _answers.translate(said, what)


def words_of(error: hvac.exceptions.VaultError) -> str:
    """What the server says of a refusal, on one line."""
    told = error.errors
    many = [str(each) for each in told] if isinstance(told, list | tuple) else [str(told)] if told else []
    return one_line(", ".join(many) or error.text or "")
