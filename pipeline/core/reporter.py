"""Where a run tells a person what happens, one line at a time."""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """What listens to a run."""

    def progress(self, line: str) -> None:
        """A step that was made; a person may have asked for silence."""

    def warn(self, line: str) -> None:
        """What a person should know, also one who asked for silence."""
