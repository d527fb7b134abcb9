"""Values taken out of Vault's answers, whatever the answers look like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.core.errors import Unreachable


def field(answer: Any, what: str, *keys: str) -> Any:
    """Take a value out of an answer.

    Args:
        answer: What hvac returned.
        what: What the call was for.
        keys: The way to the value.

    Raises:
        Unreachable: It is not there: what answered is not a Vault, or changed the answer.
    """
    for key in keys:
        if not isinstance(answer, Mapping) or key not in answer:
            raise not_vault(what, ".".join(keys))
        answer = answer[key]
    return answer


def mapping(answer: Any, what: str, key: str) -> Mapping[str, Any]:
    """Take an object out of an answer, as :func:`field` does.

    Raises:
        Unreachable: It is not there, or is something else.
    """
    found = field(answer, what, key)
    if not isinstance(found, Mapping):
        raise not_vault(what, key)
    return found


def not_vault(what: str, missing: str) -> Unreachable:
    """The error for an answer that a Vault does not give."""
    return Unreachable(
        f"{what}: the server does not answer as a vault does: its answer has no {missing}",
        hint="check that the address is that of a vault, with no proxy that changes answers",
        again=False,
    )
