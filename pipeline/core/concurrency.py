"""Independent calls to holders, made at the same time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from pipeline.core.errors import OrgkeyError, first_of
from pipeline.core.isolation import isolated

T = TypeVar("T")

WORKERS = 8
"""Calls under way at once; they wait for servers, not for a processor."""


def overlap(calls: Sequence[Callable[[], T]]) -> list[T]:
    """Make calls at the same time, wait for all of them, and return their results in order.

    Args:
        calls: Each has time-outs of its own.

    Returns:
        What they returned, in the order of ``calls``.

    Raises:
        OrgkeyError: Calls failed; the failure whose code comes first in the table of precedence.
    """
    from concurrent.futures import ThreadPoolExecutor

    def made(call: Callable[[], T]) -> tuple[T] | OrgkeyError:
        return isolated(lambda: (call(),), "a holder")

    if len(calls) < 2:
        outcomes = [made(call) for call in calls]
    else:
        with ThreadPoolExecutor(min(WORKERS, len(calls)), thread_name_prefix="custody") as pool:
            outcomes = list(pool.map(made, calls))
    errors = [outcome for outcome in outcomes if isinstance(outcome, OrgkeyError)]
    if errors:
        code = first_of(error.code for error in errors)
        raise next(error for error in errors if error.code is code)
    return [outcome[0] for outcome in outcomes if not isinstance(outcome, OrgkeyError)]
