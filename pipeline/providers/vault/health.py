"""The state of a Vault server, and what an answer says besides its body."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType


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


class LastAnswer(threading.local):
    """What this thread's last answer said besides its body; hvac's errors carry neither.

    Attributes:
        status: HTTP status, ``None`` when there was no answer.
        headers: Its headers, with names in lower case.
    """

    status: int | None = None
    headers: Mapping[str, str] = MappingProxyType({})
