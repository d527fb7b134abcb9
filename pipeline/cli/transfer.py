"""Progress of reading something large: rate and remaining time."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import Final

from pipeline.cli.output import Output, printable
from pipeline.core import log

_TERMINAL_SECONDS: Final = 0.5
_LINE_SECONDS: Final = 15.0


@dataclass
class Transfer:
    """Shows how far a reading is: in one line of a terminal, else in a line now and then.

    Attributes:
        out: Where it is shown.
        name: What is read.
        size: How large it is, in bytes; ``None`` when that is not known.
    """

    out: Output
    name: str
    size: int | None
    done: int = 0
    _started: float = field(default_factory=time.monotonic)
    _shown: float = field(default_factory=time.monotonic)
    _drawn: bool = False

    def add(self, count: int) -> None:
        """Note that ``count`` more bytes were read; none means the end."""
        self.done += count
        terminal = sys.stderr.isatty() and not log.as_json()
        now = time.monotonic()
        if not count:
            if self._drawn:
                sys.stderr.write("\r\x1b[K")
                sys.stderr.flush()
                self._drawn = False
            return
        if self.out.quiet or now - self._shown < (_TERMINAL_SECONDS if terminal else _LINE_SECONDS):
            return
        self._shown = now
        line = self.line(now - self._started)
        if terminal:
            sys.stderr.write(f"\r\x1b[K{printable(line)[:100]}")
            sys.stderr.flush()
            self._drawn = True
        else:
            self.out.progress(line)

    def line(self, seconds: float) -> str:
        """The line that is shown.

        Args:
            seconds: Since the beginning.
        """
        rate = self.done / seconds if seconds > 0 else 0.0
        text = f"{amount(self.done)} at {amount(rate)}/s"
        if self.size and rate:
            left = max(0.0, (self.size - self.done) / rate)
            text = f"{100 * self.done / self.size:.0f} %, {text}, {left:.0f} s left"
        return f"{text}: {self.name}"


def amount(count: float) -> str:
    """A number of bytes for people."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
