"""Independent calls to holders, made at the same time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from pipeline.errors import OrgkeyError, first_of

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
    if len(calls) < 2:
        return [call() for call in calls]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=min(WORKERS, len(calls)), thread_name_prefix="custody") as pool:
        futures = [pool.submit(call) for call in calls]
    errors = [error for future in futures if (error := future.exception()) is not None]
    for error in errors:
        if not isinstance(error, OrgkeyError):
            raise error
    deliberate = [error for error in errors if isinstance(error, OrgkeyError)]
    if deliberate:
        code = first_of(error.code for error in deliberate)
        raise next(error for error in deliberate if error.code is code)
    return [future.result() for future in futures]
