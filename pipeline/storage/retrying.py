"""A target that tries again, around any other."""

from __future__ import annotations

from datetime import datetime
from typing import Generic

from pipeline.core.finding import Finding
from pipeline.core.retry import Retrier
from pipeline.storage.interface import (
    Bounded,
    Item,
    Listing,
    Locking,
    Receipt,
    Retainer,
    Retention,
    Slot,
    Stored,
    Target,
)
from pipeline.storage.names import MAX_RECORD


class RetryingTarget:
    """Repeats what a target says is worth repeating.

    A write whose answer was lost may end in ``Conflict`` with our own bytes: the caller compares what
    is there, as after any conflict.

    Args:
        target: The target.
        retrier: How often and how long.
    """

    def __init__(self, target: Target, retrier: Retrier) -> None:
        self.name = target.name
        self.kind = target.kind
        self.domain = target.domain
        # What is not bounded takes what every reader takes.
        self.largest = target.largest if isinstance(target, Bounded) else MAX_RECORD
        self._target = target
        self._retrier = retrier

    def put(self, slot: Slot, data: bytes) -> Receipt:
        """See :meth:`pipeline.storage.interface.Target.put`."""
        return self._retrier.call(lambda: self._target.put(slot, data), f"target {self.name}, write")

    def get(self, slot: Slot, version: str | None = None) -> bytes:
        """See :meth:`pipeline.storage.interface.Target.get`."""
        return self._retrier.call(lambda: self._target.get(slot, version), f"target {self.name}, read")

    def find(self, fingerprint: str, epoch: str | None = None) -> list[Stored]:
        """See :meth:`pipeline.storage.interface.Target.find`."""
        return self._retrier.call(lambda: self._target.find(fingerprint, epoch), f"target {self.name}, list")

    def slots(self, fingerprint: str) -> list[str]:
        """See :meth:`pipeline.storage.interface.Listing.slots`; of what has no such way, what is found."""
        target = self._target
        if not isinstance(target, Listing):
            return list(dict.fromkeys(item.slot.epoch for item in self.find(fingerprint)))
        return self._retrier.call(lambda: target.slots(fingerprint), f"target {self.name}, list")

    def confirm(self, stored: Stored) -> datetime | None:
        """See :meth:`pipeline.storage.interface.Locking.confirm`; nothing is asked of what never locks."""
        target = self._target
        if not isinstance(target, Locking):
            return stored.retain_until
        return self._retrier.call(lambda: target.confirm(stored), f"target {self.name}, look at the lock")

    def check(self) -> list[Finding]:
        """See :meth:`pipeline.storage.interface.Target.check`; asked once, it reports what it sees."""
        return self._target.check()


class RetryingRetainer(Generic[Item]):
    """The same for what extends a retention: asking for the same end twice does no harm.

    Args:
        retainer: The place.
        retrier: How often and how long.
    """

    def __init__(self, retainer: Retainer[Item], retrier: Retrier) -> None:
        self.name = retainer.name
        self._retainer = retainer
        self._retrier = retrier

    def retention(self, item: Item) -> Retention | None:
        """See :meth:`pipeline.storage.interface.Retainer.retention`."""
        return self._retrier.call(
            lambda: self._retainer.retention(item), f"target {self.name}, look at retention"
        )

    def retain(self, item: Item, wanted: Retention) -> Retention:
        """See :meth:`pipeline.storage.interface.Retainer.retain`."""
        return self._retrier.call(
            lambda: self._retainer.retain(item, wanted), f"target {self.name}, extend the retention"
        )
