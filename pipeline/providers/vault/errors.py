"""What hvac makes of Vault's answers, as the table of failures asks.

Imports hvac, so it is itself imported only where a call failed.
"""

from __future__ import annotations

from collections.abc import Callable

import hvac.exceptions

from pipeline.core.errors import OrgkeyError
from pipeline.providers import failures
from pipeline.providers.text import one_line
from pipeline.providers.vault.health import Health, LastAnswer


def from_health(health: Health, what: str, address: str) -> OrgkeyError | None:
    """Say why a server in this state cannot be used; ``None`` when it can."""
    if health.usable:
        return None
    return failures.explain(failures.CallFailure("health", f"vault at {address}", code=health.name), what)


def from_answer(
    error: hvac.exceptions.VaultError,
    last: LastAnswer,
    what: str,
    address: str,
    role: str,
    health: Callable[[], Health | None],
) -> OrgkeyError:
    """Translate an answer that is an error.

    Args:
        error: What hvac made of it.
        last: The status and headers of the answer.
        what: What the call was for.
        address: The server.
        role: Which of our identities made the call.
        health: Asks the server for its state, ``None`` when it does not tell.
    """
    text, status = words_of(error), last.status or 0
    failure = failures.CallFailure(
        "answer", f"vault at {address}", "vault", role, "address", status, text=text, headers=last.headers
    )
    if status in (472, 501, 503) or (status == 500 and "sealed" in text):
        known = health()
        if known and (unusable := from_health(known, what, address)) is not None:
            return unusable
    return failures.explain(failure, what)


def words_of(error: hvac.exceptions.VaultError) -> str:
    """The server's words about a refusal, on one line."""
    given = error.errors
    many = [str(each) for each in given] if isinstance(given, list | tuple) else [str(given)] if given else []
    return one_line(", ".join(many) or error.text or "")
