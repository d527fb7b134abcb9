"""What a call at Vault raises, as the table of failures asks.

Imports hvac, so it is itself imported only where a call failed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import hvac.exceptions

from pipeline.core.errors import OrgkeyError
from pipeline.providers import failures, unanswered
from pipeline.providers.text import one_line
from pipeline.providers.vault.health import Health, LastAnswer
from pipeline.providers.wire import NoAnswer

if TYPE_CHECKING:
    from pipeline.config import VaultPlace
    from pipeline.providers.tls.files import Pair


def from_health(health: Health, what: str, address: str) -> OrgkeyError | None:
    """Say why a server in this state cannot be used; ``None`` when it can."""
    if health.usable:
        return None
    return failures.explain(failures.CallFailure("health", f"vault at {address}", code=health.name), what)


def translate(
    error: Exception,
    what: str,
    *,
    place: VaultPlace,
    role: str,
    last: LastAnswer,
    health: Callable[[], Health | None],
    pair: Pair | None,
    seconds: float,
) -> OrgkeyError:
    """Translate whatever a call raised.

    Args:
        error: hvac's, requests', the wire's, or whatever the reading of an answer met.
        what: What the call was for.
        place: The server.
        role: Which of our identities made the call.
        last: The status and headers of the answer.
        health: Asks the server for its state, ``None`` when it does not tell.
        pair: Our own certificate and key.
        seconds: Time for a second look at the server's certificate.
    """
    address, where = place.address, f"vault at {place.address}"
    if isinstance(error, NoAnswer):
        return unanswered.explain(
            error, what, where=where, address=address, setting="address", place=place,
            ca_file=place.ca_file, pair=pair, seconds=seconds,
        )  # fmt: skip
    if not isinstance(error, hvac.exceptions.VaultError):
        facts = {"address": address, "kind_named": type(error).__name__}
        kinds = failures.class_names(error)
        return failures.explain(failures.CallFailure("vault", where, kinds=kinds, facts=facts), what)
    text, status = words_of(error), last.status or 0
    failure = failures.CallFailure(
        "answer", where, "vault", role, "address", status, text=text, headers=last.headers
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
