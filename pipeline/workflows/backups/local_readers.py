"""This machine's own readers of backups: processes that know nothing but session keys."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from pipeline.sources.backups.worker_client import WorkerClient

T = TypeVar("T")
R = TypeVar("R")


class LocalReaders:
    """Workers that read side by side; a context manager.

    Args:
        count: How many.
    """

    def __init__(self, count: int) -> None:
        self._count = max(1, count)
        self._idle: queue.SimpleQueue[WorkerClient] = queue.SimpleQueue()
        self._all: list[WorkerClient] = []

    def __enter__(self) -> LocalReaders:
        try:
            for _ in range(self._count):
                reader = WorkerClient().__enter__()
                self._all.append(reader)
                self._idle.put(reader)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for reader in self._all:
            reader.__exit__(None, None, None)

    def map(self, read: Callable[[T, WorkerClient], R], items: Sequence[T]) -> Iterator[R]:
        """Read all, as many at once as there are workers; the results come in the items' order."""

        def one(item: T) -> R:
            reader = self._idle.get()
            try:
                return read(item, reader)
            finally:
                self._idle.put(reader)

        if self._count == 1:
            yield from map(one, items)
            return
        with ThreadPoolExecutor(self._count, "backups") as pool:
            jobs = [pool.submit(one, item) for item in items]
            try:
                for job in jobs:
                    yield job.result()
            except BaseException:  # a signal: nobody waits for what is being read
                pool.shutdown(wait=False, cancel_futures=True)
                self.__exit__()
                raise
