"""The one layer that tries again, shared by targets and holders.

SDKs retry nothing here (their own retries would multiply with these). What is worth another attempt is
said by whoever made the call: an :class:`~pipeline.errors.Unreachable` whose ``again`` is true.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from pipeline.clock import Clock, Deadline, SystemClock
from pipeline.errors import DeadlinePassed, OrgkeyError, Unreachable

if TYPE_CHECKING:
    from tenacity import RetryCallState

T = TypeVar("T")
log = logging.getLogger(__name__)


def worth_another_attempt(error: BaseException) -> bool:
    """Whether a failure says of itself that the same call may succeed later."""
    return isinstance(error, Unreachable) and error.again


def in_time(error: Unreachable, deadline: Deadline) -> OrgkeyError:
    """Choose what a failure is called: when the time was up, it failed for that, whatever else it says.

    Returns:
        The failure itself, or a ``DeadlinePassed`` that keeps its message.
    """
    if deadline.left() > 0:
        return error
    return DeadlinePassed(
        f"the deadline of {deadline.seconds:g} s has passed; the last failure: {error.message}",
        hint=error.hint,
    )


class Retrier:
    """Exponential backoff with full jitter, inside one deadline.

    Full jitter (each wait is uniform between nothing and the exponential ceiling) spreads the clients
    of a server that comes back; see M. Brooker, "Exponential Backoff And Jitter", AWS, 2015.

    Args:
        deadline: The end of the whole run; no wait reaches beyond it.
        attempts: How often a call is made at most.
        base: Ceiling of the first wait, in seconds; it doubles with every attempt.
        cap: The highest ceiling, in seconds. A server's own ``Retry-After`` may exceed it.
        clock: What sleeps.
        rng: Where jitter comes from.
    """

    def __init__(
        self,
        deadline: Deadline,
        *,
        attempts: int = 5,
        base: float = 0.2,
        cap: float = 5.0,
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.deadline = deadline
        self._attempts = attempts
        self._base = base
        self._cap = cap
        self._clock = clock or SystemClock()
        self._rng = rng or random.Random()  # noqa: S311 - spreads load, guards nothing

    def call(self, fn: Callable[[], T], what: str) -> T:
        """Call ``fn`` until it succeeds, fails for good, or there is no time for another attempt.

        Args:
            fn: The call; safe to repeat.
            what: What it does, for the log and for messages, for example ``read s3-eu``.

        Returns:
            What ``fn`` returned.

        Raises:
            DeadlinePassed: The time is up; the last failure is named in the message.
            OrgkeyError: The last failure, unchanged.
        """
        import tenacity

        self.deadline.check()
        ceiling = tenacity.wait_exponential(multiplier=self._base, max=self._cap)

        def wait(state: RetryCallState) -> float:
            pause = self._rng.uniform(0.0, ceiling(state))
            error = state.outcome.exception() if state.outcome else None
            asked = error.retry_after if isinstance(error, Unreachable) else None
            # The server's wish is a floor: jitter comes on top, or all its clients would return at once.
            return pause if asked is None else asked + pause

        def enough(state: RetryCallState) -> bool:
            return state.attempt_number >= self._attempts or state.upcoming_sleep >= self.deadline.left()

        def note(state: RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome else None
            log.info(
                "%s: attempt %d failed (%s), the next one in %.1f s",
                what,
                state.attempt_number,
                error,
                state.upcoming_sleep,
            )

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(worth_another_attempt),
            wait=wait,
            stop=enough,
            sleep=self._clock.sleep,
            before_sleep=note,
            reraise=True,
        )
        try:
            return retrying(fn)
        except Unreachable as error:
            raise in_time(error, self.deadline) from error.__cause__
