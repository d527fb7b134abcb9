"""A reporter that keeps what it is told."""

from __future__ import annotations


class Lines(list[str]):
    """The lines of a run, in order; a warning begins with ``warning: ``."""

    def progress(self, line: str) -> None:
        """A step that was made."""
        self.append(line)

    def warn(self, line: str) -> None:
        """What a person should know."""
        self.append(f"warning: {line}")
