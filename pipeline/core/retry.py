"""The one layer that tries again, shared by targets and holders.

SDKs retry nothing here (their own retries would multiply with these). What is worth another attempt is
said by whoever made the call: an :class:`~pipeline.core.errors.Unreachable` whose ``again`` is true. A server
that takes connections and never answers costs a time-out for every attempt, so a run stops insisting there:
see :class:`Breaker`.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import random
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, Final, TypeVar, cast

from pipeline.core.clock import Clock, Deadline, SystemClock
from pipeline.core.errors import DeadlinePassed, Denied, OrgkeyError, Unreachable

if TYPE_CHECKING:
    from tenacity import RetryCallState

P = TypeVar("P")
T = TypeVar("T")
log = logging.getLogger(__name__)


def load() -> None:
    """Import tenacity, without Tornado: it takes that for coroutines, 40 ms of a run where Dask brings it."""
    if "tenacity" in sys.modules or "tornado" in sys.modules:
        return
    sys.modules["tornado"] = cast(ModuleType, None)  # "is not there", to whoever imports it
    try:
        import tenacity  # noqa: F401 - it is loaded from now on
    finally:
        del sys.modules["tornado"]


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


class Breaker:
    """Whether one server kept silent through all attempts of a call, in this run.

    While it is open, a call to that server is made once; the first one that succeeds closes it. A server
    that refuses or answers with an error never opens it: that costs no time-outs.
    """

    def __init__(self) -> None:
        self._open = threading.Event()

    @property
    def open(self) -> bool:
        """Whether calls are made only once."""
        return self._open.is_set()

    def trip(self) -> None:
        """Note that every attempt of a call met silence."""
        self._open.set()

    def close(self) -> None:
        """Note that a call succeeded."""
        self._open.clear()


class Breakers:
    """One breaker for each server, shared by everything that a run talks to it with.

    Attributes:
        refusals: Logins that a server refused in this run, by server and identity.
    """

    def __init__(self) -> None:
        self.refusals: dict[object, Denied] = {}
        self._known: dict[str, Breaker] = {}
        self._lock = threading.Lock()

    def of(self, server: str) -> Breaker:
        """The breaker of a server, by its address."""
        with self._lock:
            return self._known.setdefault(server, Breaker())


class SilentServers:
    """Servers that keep silent: a run of a fleet that has waited for one spares the others the wait.

    Of logins that a server refused word is left alike: each more would bring it nearer to its lockout.
    """

    folder: ClassVar[Path | None] = None
    """Where the runs of a fleet leave word; ``None`` outside of one."""
    CALLS: Final = 3
    """So many calls of one run have to meet silence, and none an answer."""
    _met: ClassVar[Counter[str]] = Counter()

    @classmethod
    def check(cls, server: str) -> None:
        """See that nobody has left word of a server.

        Raises:
            Unreachable: Somebody has.
        """
        if cls.folder is not None and cls._word(server).exists():
            raise Unreachable(
                f"{server} keeps silent: a run of this fleet has waited for it",
                hint="check the server and the network, then run this again",
                again=False,
            )

    @classmethod
    def note(cls, server: str, *, answered: bool) -> None:
        """Note what came of a call: an answer, or nothing in all the time that it may take."""
        cls._met[server] = 0 if answered else cls._met[server] + 1
        if cls.folder is not None and cls._met[server] >= cls.CALLS:
            with suppress(OSError):
                cls._word(server).touch(mode=0o600)

    @classmethod
    @contextmanager
    def turn(cls, login: str) -> Iterator[BinaryIO | None]:
        """Take turns with the other runs of the fleet at one login.

        Args:
            login: Where, and as whom.

        Yields:
            What was left of its refusal: an empty file while there was none; ``None`` outside of a fleet.
        """
        if cls.folder is None:
            yield None
            return
        with cls._word(login).open("a+b") as word:
            fcntl.flock(word, fcntl.LOCK_EX)
            word.seek(0)
            yield word

    @classmethod
    def _word(cls, server: str) -> Path:
        return Path(cls.folder or "") / hashlib.sha256(server.encode()).hexdigest()


def _error(state: RetryCallState) -> BaseException | None:
    """What the attempt before raised; tenacity asks about nothing else than attempts that have ended."""
    assert state.outcome is not None
    return state.outcome.exception()


@dataclass(frozen=True, eq=False)
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
        breaker: What the run knows of the server.
    """

    deadline: Deadline
    attempts: int = 5
    base: float = 0.2
    cap: float = 5.0
    clock: Clock = field(default_factory=SystemClock)
    rng: random.Random = field(default_factory=random.Random)  # spreads load, guards nothing
    breaker: Breaker | None = None

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
        load()
        import tenacity

        self.deadline.check()
        breaker = self.breaker or Breaker()
        answers: list[bool] = []
        ceiling = tenacity.wait_exponential(multiplier=self.base, max=self.cap)

        def wait(state: RetryCallState) -> float:
            pause = self.rng.uniform(0.0, ceiling(state))
            error = _error(state)
            asked = error.retry_after if isinstance(error, Unreachable) else None
            # The server's wish is a floor: jitter comes on top, or all its clients would return at once.
            return pause if asked is None else asked + pause

        def enough(state: RetryCallState) -> bool:
            error = _error(state)
            answers.append(not (isinstance(error, Unreachable) and error.silent))
            if state.attempt_number >= self.attempts and not any(answers):
                breaker.trip()
            most = 1 if breaker.open else self.attempts
            return state.attempt_number >= most or state.upcoming_sleep >= self.deadline.left()

        def note(state: RetryCallState) -> None:
            told = "%s: attempt %d failed (%s), the next one in %.1f s"
            log.info(told, what, state.attempt_number, _error(state), state.upcoming_sleep)

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(worth_another_attempt),
            wait=wait,
            stop=enough,
            sleep=self.clock.sleep,
            before_sleep=note,
            reraise=True,
        )
        try:
            result = retrying(fn)
            breaker.close()
            return result
        except Unreachable as error:
            raise in_time(error, self.deadline) from error.__cause__


class Retrying:
    """A target, a holder, a mirror: as it is, but that its calls are tried again.

    A write whose answer was lost may end in ``Conflict`` with our own bytes: the caller compares what is
    there, as after any conflict.

    Args:
        place: What is called.
        retrier: How often and how long.
        called: What the log calls it, before its name: ``target``.
        calls: The methods that are safe to repeat, and what each does; all others are passed on.
    """

    def __init__(self, place: object, retrier: Retrier, called: str, calls: Mapping[str, str]) -> None:
        public = {name: getattr(place, name) for name in dir(place) if not name.startswith("_")}
        repeated = {name: partial(self.call, name, public[name]) for name in calls if name in public}
        # In the object itself: protocols are looked for there.
        self.__dict__.update(public | repeated)
        self.retrier, self.called, self.calls = retrier, called, calls

    def call(self, name: str, method: Callable[..., T], *args: Any, **named: Any) -> T:
        """Call one method of the place until it succeeds, or need not be tried again."""
        what = f"{self.called} {self.__dict__['name']}, {self.calls[name]}"
        return self.retrier.call(lambda: method(*args, **named), what)


def retrying(place: P, retrier: Retrier, called: str, calls: Mapping[str, str]) -> P:
    """Have a place's calls tried again; see :class:`Retrying`. It is used as the place itself."""
    return cast(P, Retrying(place, retrier, called, calls))
