"""What a Vault server answers, and values taken out of it, whatever the answer looks like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from pipeline.core.errors import Unreachable
from pipeline.providers.text import one_line


class Health(Enum):
    """States that Vault's health endpoint tells apart by HTTP status."""

    ACTIVE = 200
    STANDBY = 429
    DR_SECONDARY = 472
    PERFORMANCE_STANDBY = 473
    NOT_INITIALISED = 501
    SEALED = 503

    @property
    def usable(self) -> bool:
        """Whether requests are served; a standby forwards them to the active node."""
        return self in (Health.ACTIVE, Health.STANDBY, Health.PERFORMANCE_STANDBY)


@dataclass(frozen=True, slots=True)
class VaultAnswer:
    """What a server answered.

    Attributes:
        status: HTTP's.
        headers: Names in lower case.
        body: Its JSON object; empty where there is none.
        text: Its body as text.
    """

    status: int
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    text: str

    @property
    def words(self) -> str:
        """The server's words about a refusal, on one line."""
        given = self.body.get("errors")
        many = given if isinstance(given, list) else [given] if given else []
        return one_line(", ".join(map(str, many)) or self.text)


class VaultRefusal(Exception):
    """An answer that is an error; its text may hold anything, so it is not shown.

    Attributes:
        answer: The answer.
        status: HTTP's.
    """

    def __init__(self, answer: VaultAnswer) -> None:
        super().__init__(answer.status)
        self.answer = answer
        self.status = answer.status

    @property
    def nothing_there(self) -> bool:
        """Whether it says, without further words, that the path holds nothing."""
        return self.status == 404 and not self.answer.body.get("errors")


class UnsendableHeader(Exception):
    """A token or a namespace cannot stand in a header; neither is shown."""


def take(answer: Any, what: str, *keys: str, kind: type | tuple[type, ...] = object) -> Any:
    """Take a value out of an answer.

    Args:
        answer: The answer, or a part of it.
        what: What the call was for.
        keys: The way to the value.
        kind: What it has to be.

    Raises:
        Unreachable: It is not there, or is something else: what answered is not a Vault, or changed it.
    """
    for key in keys:
        if not isinstance(answer, Mapping) or key not in answer:
            raise not_vault(what, ".".join(keys))
        answer = answer[key]
    if not isinstance(answer, kind):
        raise not_vault(what, f"{'.'.join(keys)} of the kind that is expected")
    return answer


def not_vault(what: str, missing: str) -> Unreachable:
    """The error for an answer that a Vault does not give."""
    return Unreachable(
        f"{what}: the server does not answer as a vault does: its answer has no {missing}",
        hint="check that the address is that of a vault, with no proxy that changes answers",
        again=False,
    )
