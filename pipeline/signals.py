"""Signals that end a run, and the few steps of it that none may tear apart."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_held = 0
_waiting: BaseException | None = None


class Signalled(BaseException):
    """A signal arrived. Not an error: code that takes errors for results must not catch it."""


@contextmanager
def held() -> Iterator[None]:
    """Have a signal that arrives in here end the run behind it.

    Python runs handlers in the main thread, between any two steps of it, also in the middle of a
    ``finally``; in other threads this does nothing.

    Raises:
        BaseException: What :func:`end` was given meanwhile, also in place of an error.
    """
    global _held, _waiting
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _held += 1
    try:
        yield
    finally:
        _held -= 1
        if not _held and _waiting is not None:
            error, _waiting = _waiting, None
            raise error


def end(error: BaseException) -> None:
    """End the run from a signal's handler: now, or behind the steps that are held together.

    Raises:
        BaseException: ``error``.
    """
    global _waiting
    if _held:
        _waiting = error
        return
    raise error
