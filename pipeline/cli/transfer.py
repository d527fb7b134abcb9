"""Progress of reading something large: rate and remaining time."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

from pipeline.cli.output import Output, printable
from pipeline.core import log
from pipeline.core.text import amount

_TERMINAL_SECONDS: Final = 0.5
_LINE_SECONDS: Final = 15.0


@dataclass
class Transfer:
    """Shows how far the reading of backups is: in one line of a terminal, else in a line now and then.

    Attributes:
        out: Where it is shown.
        sizes: How large each is, in bytes; ``None`` when that is not known.
    """

    out: Output
    sizes: Sequence[int | None]
    done: int = 0
    finished: int = 0
    _started: float = field(default_factory=time.monotonic)
    _shown: float = field(default_factory=time.monotonic)
    _drawn: bool = False
    _lock: Lock = field(default_factory=Lock)

    def add(self, count: int) -> None:
        """Note that ``count`` more bytes were read."""
        with self._lock:
            self.done += count
            terminal = sys.stderr.isatty() and not log.as_json()
            now = time.monotonic()
            wait = _TERMINAL_SECONDS if terminal else _LINE_SECONDS
            if self.out.quiet or now - self._shown < wait:
                return
            self._shown = now
            line = self.line(now - self._started)
            if terminal:
                sys.stderr.write(f"\r\x1b[K{printable(line)[:100]}")
                sys.stderr.flush()
                self._drawn = True
            else:
                self.out.progress(line)

    def next(self) -> None:
        """Note that one more backup is done."""
        with self._lock:
            self.finished += 1
            if self._drawn:
                sys.stderr.write("\r\x1b[K")
                sys.stderr.flush()
                self._drawn = False

    def line(self, seconds: float) -> str:
        """The line that is shown.

        Args:
            seconds: Since the beginning.
        """
        rate = self.done / seconds if seconds > 0 else 0.0
        known = [size for size in self.sizes if size is not None]
        total = sum(known) if len(known) == len(self.sizes) else 0
        said = [f"{self.finished} of {len(self.sizes)}", f"{amount(self.done)} at {amount(rate)}/s"]
        if total and rate:
            said.insert(1, f"{100 * self.done / total:.0f} %")
            said.append(f"{_duration(max(0.0, (total - self.done) / rate))} left")
        return "backups: " + ", ".join(said)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
