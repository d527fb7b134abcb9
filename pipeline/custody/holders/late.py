"""A machine that is built when it is first used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

from pipeline.core.finding import Finding
from pipeline.core.secret import Secret
from pipeline.custody.holders.interface import Binding, Coordinates, Holder, SealedShare


class LateHolder:
    """Decorates a machine: whether and how it is reached is decided only when its share is needed.

    A holder of a record that may not be contacted closes the paths that need it, and no others.

    Args:
        name: The holder's name.
        kind: Its kind.
        build: Makes the holder itself; what it raises, each use raises.
    """

    unattended = True
    size = 1

    def __init__(self, name: str, kind: str, build: Callable[[], Holder]) -> None:
        self.name = name
        self.kind = kind
        self._build = build

    @cached_property
    def _holder(self) -> Holder:
        return self._build()

    def describe(self) -> Coordinates:
        """See :meth:`Holder.describe`."""
        return self._holder.describe()

    def seal(self, shares: Sequence[Secret], binding: Binding) -> list[SealedShare]:
        """See :meth:`Holder.seal`."""
        return self._holder.seal(shares, binding)

    def open(self, sealed: SealedShare, binding: Binding) -> Secret:
        """See :meth:`Holder.open`."""
        return self._holder.open(sealed, binding)

    def check(self) -> list[Finding]:
        """See :meth:`Holder.check`."""
        return self._holder.check()
