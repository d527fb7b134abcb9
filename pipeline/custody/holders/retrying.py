"""A holder whose calls are tried again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.core.finding import Finding
from pipeline.core.secret import Secret
from pipeline.custody.holders.interface import Binding, Coordinates, Holder, SealedShare

if TYPE_CHECKING:
    from pipeline.core.retry import Retrier


class RetryingHolder:
    """Decorates a holder: every call is safe to repeat, so each is, while the holder says it may help.

    Sealing twice gives two ciphertexts of one share; only the last one is kept.

    Args:
        holder: The holder itself.
        retrier: The one layer that tries again.
    """

    def __init__(self, holder: Holder, retrier: Retrier) -> None:
        self._holder = holder
        self._retrier = retrier
        self.name = holder.name
        self.kind = holder.kind
        self.unattended = holder.unattended
        self.size = holder.size

    def describe(self) -> Coordinates:
        """See :meth:`Holder.describe`."""
        return self._retrier.call(self._holder.describe, f"describe holder {self.name}")

    def seal(self, shares: Sequence[Secret], binding: Binding) -> list[SealedShare]:
        """See :meth:`Holder.seal`."""
        return self._retrier.call(
            lambda: self._holder.seal(shares, binding), f"seal shares to holder {self.name}"
        )

    def open(self, sealed: SealedShare, binding: Binding) -> Secret:
        """See :meth:`Holder.open`."""
        return self._retrier.call(
            lambda: self._holder.open(sealed, binding), f"open a share of holder {self.name}"
        )

    def check(self) -> list[Finding]:
        """See :meth:`Holder.check`; `doctor` wants to see the first answer, so nothing is repeated."""
        return self._holder.check()
