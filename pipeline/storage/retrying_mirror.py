"""A mirror that is read again, around any other."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from pipeline.core.retry import Retrier
from pipeline.storage.ledger_mirror import Mirror


class RetryingMirror:
    """Repeats what is worth repeating. A write is made once: its own bytes would refuse a second.

    Args:
        mirror: The mirror.
        retrier: How often and how long.
    """

    def __init__(self, mirror: Mirror, retrier: Retrier) -> None:
        self.name = mirror.name
        self.kind = mirror.kind
        self._mirror = mirror
        self._retrier = retrier

    def listing(self, after: int) -> Mapping[int, tuple[str, ...]]:
        """See :meth:`pipeline.storage.ledger_mirror.Mirror.listing`."""
        return self._retrier.call(lambda: self._mirror.listing(after), f"target {self.name}, list the ledger")

    def get(self, handle: str) -> bytes:
        """See :meth:`pipeline.storage.ledger_mirror.Mirror.get`."""
        return self._retrier.call(lambda: self._mirror.get(handle), f"target {self.name}, read the ledger")

    def confirm(self, handle: str, made: datetime) -> None:
        """See :meth:`pipeline.storage.ledger_mirror.Mirror.confirm`."""
        self._retrier.call(
            lambda: self._mirror.confirm(handle, made), f"target {self.name}, look at the ledger's lock"
        )

    def put(self, number: int, data: bytes, *, beside: bool = False) -> None:
        """See :meth:`pipeline.storage.ledger_mirror.Mirror.put`."""
        self._mirror.put(number, data, beside=beside)
