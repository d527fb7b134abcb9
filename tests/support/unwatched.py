"""Reading backups with nobody who looks on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.sources.backups.sources import BackupSource
from pipeline.workflows.backups.verify import ReadingProgress, VerifyRequest


class Unwatched:
    """Shows nothing of what was read."""

    def add(self, count: int) -> None:
        """So many bytes more."""

    def next(self) -> None:
        """One backup more."""


def _unwatched(_: Sequence[BackupSource]) -> ReadingProgress:
    return Unwatched()


def request(sources: Sequence[BackupSource], **more: Any) -> VerifyRequest:
    """What is to be opened, without a progress that somebody sees."""
    return VerifyRequest(sources, _unwatched, **more)
