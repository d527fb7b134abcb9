"""Signals that end a run, and the few steps of it that none may tear apart.

A handler may run between any two steps of the main thread, also while that holds a lock. So nothing in here
that a handler calls takes one: it sets a flag, wakes who waits through a pipe, and raises at most.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

_CLEANING_SECONDS: Final = 5.0
_held = 0
_waiting: BaseException | None = None
_settled = False


class Flag:
    """What :class:`threading.Event` is, but for its lock: a handler can set it."""

    def __init__(self) -> None:
        self._set = False
        self._opening = threading.Lock()
        self._pipe: tuple[int, int] | None = None
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        """A forked process has a pipe of its own, as soon as it waits."""
        self._opening, self._pipe = threading.Lock(), None

    def set(self) -> None:
        """Set it for good, and wake who waits."""
        self._set = True
        if self._pipe is not None:
            with suppress(OSError):
                os.write(self._pipe[1], b"\0")

    def is_set(self) -> bool:
        """Whether it is set."""
        return self._set

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it is set, or for so long; whether it is."""
        with self._opening:
            if self._pipe is None:
                pipe = os.pipe()
                os.set_blocking(pipe[1], False)
                self._pipe = pipe
        # Looked at once the pipe is there: who sets it from here on writes to that.
        if not self._set:
            waiting = select.poll()  # takes descriptors of any number
            waiting.register(self._pipe[0], select.POLLIN)
            waiting.poll(None if seconds is None else max(0.0, seconds * 1000))
        return self._set


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


def settle() -> None:
    """What was asked for is done: a signal that comes from here on, or waits, takes nothing of it back."""
    global _settled, _waiting
    _settled, _waiting = True, None


def settled() -> bool:
    """Whether :func:`settle` was called."""
    return _settled


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


def force_by(flag: Flag, clean_up: Callable[[], None], code: int) -> None:
    """Watch for a flag from another thread, and end the process when it is set, whatever holds the others up.

    Args:
        flag: Set by the handler of a further signal.
        clean_up: What is done before; it gets a few seconds, as it may wait for what the main thread holds.
        code: The exit code.
    """

    def watch() -> None:
        try:
            flag.wait()
        except OSError:  # no descriptors are left
            return
        cleaning = threading.Thread(target=clean_up, name="clean-up", daemon=True)
        cleaning.start()
        cleaning.join(_CLEANING_SECONDS)
        os._exit(code)

    threading.Thread(target=watch, name="signals", daemon=True).start()
