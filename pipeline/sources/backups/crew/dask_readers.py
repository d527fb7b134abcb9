"""Readers that Dask's scheduler leads: :mod:`pipeline.sources.backups.crew.dask_worker` on many machines.

Dask's client unpickles what workers made, in four places: results, the type of a result, exceptions, and
parts of messages, the last three whatever ``deserializers`` says. A pickle runs code only through a name that
it has looked up, and the interpreter asks its audit hooks before each: here they refuse.
"""

from __future__ import annotations

import queue
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import dask.config
from distributed import Client, Future
from distributed.security import Security

from pipeline.core.clock import Deadline
from pipeline.core.errors import IntegrityProblem, OrgkeyError, Unreachable
from pipeline.sources.backups.crew import dask_worker
from pipeline.sources.backups.crew.readers import Crew, late

_HARMLESS: Final = {("builtins", "str"), ("builtins", "bytes")}
_CONNECT_SECONDS: Final = 30.0
_JOIN_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.5
_LONGEST: Final = 1 << 18


def refuse_pickles() -> None:
    """Have this process unpickle nothing but plain text and bytes, for good."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "pickle.find_class" and arguments not in _HARMLESS:
            raise TypeError(f"a pickle names {arguments!r}")

    sys.addaudithook(hook)


class _Client(Client):  # type: ignore[misc]  # Dask's types are not read
    """Dask's client, which tells when nothing comes any more.

    Args:
        ended: Is given ``None`` then.
        arguments: Of Dask's client.
    """

    def __init__(self, ended: queue.SimpleQueue[Future | None], **arguments: Any) -> None:
        self._orgkey_ended = ended
        super().__init__(**arguments)

    async def _handle_report(self) -> None:
        # What cannot be decoded ends this coroutine, and leaves every future pending.
        try:
            await super()._handle_report()
        finally:
            self._orgkey_ended.put(None)


class DaskReaders:
    """The workers of one scheduler.

    Args:
        crew: Where the scheduler is, and the certificates.
        deadline: When answers are given up.

    Raises:
        Unreachable: The scheduler cannot be reached or shows another authority's certificate, or it has no
            workers.
    """

    def __init__(self, crew: Crew, deadline: Deadline) -> None:
        refuse_pickles()
        dask.config.refresh(paths=[], env={})  # no file of this machine says what runs here
        self._deadline = deadline
        self._done: queue.SimpleQueue[Future | None] = queue.SimpleQueue()
        self._futures: dict[str, tuple[str, Future]] = {}
        security = Security(
            tls_ca_file=crew.ca_file,
            tls_client_cert=crew.cert_file,
            tls_client_key=crew.key_file,
            require_encryption=True,
        )
        try:
            self._client = _Client(
                self._done, address=crew.scheduler, security=security, set_as_default=False,
                timeout=deadline.limit(_CONNECT_SECONDS), deserializers=["msgpack"],
            )  # fmt: skip
        except OSError as error:
            raise Unreachable(
                f"Dask's scheduler {crew.scheduler} cannot be reached: {error.__cause__ or error}",
                hint="see that it runs, and that its certificate and this one are of the authority ca_file",
            ) from error
        try:
            self._client.wait_for_workers(1, timeout=deadline.limit(_JOIN_SECONDS))
        except TimeoutError:
            raise Unreachable(
                f"Dask's scheduler {crew.scheduler} has no workers",
                hint="start some; one whose certificate is of another authority cannot join",
            ) from None

    def submit(self, ticket_id: str, line: str) -> None:
        """See :class:`~pipeline.sources.backups.crew.readers.Readers`."""
        future = self._client.submit(dask_worker.read, line, key=f"orgkey-{ticket_id}", pure=False)
        self._futures[future.key] = (ticket_id, future)
        future.add_done_callback(self._done.put)

    def results(self) -> Iterator[tuple[str, str | OrgkeyError]]:
        """See :class:`~pipeline.sources.backups.crew.readers.Readers`."""
        reason: Callable[[], OrgkeyError] = partial(late, self._deadline)
        while self._futures and self._deadline.left() > 0:
            try:
                future = self._done.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                continue
            if future is None:
                reason = _cut_off
                break
            ticket_id, _ = self._futures.pop(future.key)
            yield ticket_id, self._outcome(future)
        for ticket_id, _ in self._futures.values():
            yield ticket_id, reason()

    def _outcome(self, future: Future) -> str | OrgkeyError:
        if future.status == "cancelled":
            return Unreachable(
                "the connection to Dask's scheduler was lost", hint="see that it runs, then run again"
            )
        try:
            answer = future.result(timeout=self._deadline.left())
        except Exception as error:
            if isinstance(error, TimeoutError):
                return late(self._deadline)
            if future.status == "error":
                return _failed(error)
            return _no_answer()
        return answer if isinstance(answer, str) and len(answer) <= _LONGEST else _no_answer()


def _no_answer() -> IntegrityProblem:
    return IntegrityProblem(
        "a worker of the crew returned an object in place of an answer",
        hint="no object of a worker is ever unpickled here; see which worker it was in the scheduler's log",
    )


def _cut_off() -> IntegrityProblem:
    return IntegrityProblem(
        "the crew's scheduler sent what cannot be read without running code: nothing more is taken from it",
        hint="find out which machines hold a certificate of the crew; everything not yet answered is unread",
    )


def _failed(error: Exception) -> OrgkeyError:
    # The exception's own object is not unpickled; its bytes show one thing that is worth telling.
    if b"KilledWorker" in next((part for part in error.args if isinstance(part, bytes)), b""):
        return Unreachable(
            "every worker that was given it ended before it had read it",
            hint="see the workers' logs: they lack memory, or were stopped",
        )
    return Unreachable(
        "the worker that was given it failed",
        hint="see the workers' logs, and use the same version of orgkey on all machines",
    )
