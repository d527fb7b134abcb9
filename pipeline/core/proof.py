"""One thing that was to be proven, and how that ended."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.core.documents import only_where_known


@dataclass(frozen=True)
class Proof:
    """How a proof ended.

    Attributes:
        ok: Whether it was proven, with no implementation to the contrary.
        by: The implementations that agree, or what else showed it.
        problem: Why it was not, or what an implementation said to the contrary.
    """

    ok: bool
    by: tuple[str, ...] = ()
    problem: str | None = only_where_known()
