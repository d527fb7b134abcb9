"""What goes to stdout and what to stderr.

stdout: the result, for a person or as exactly one JSON document. stderr: everything else. Foreign text (a
server's message, a user id, a file's name) is made harmless here, once: it must not steer a terminal.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.cli import terminal
from pipeline.cli.documents import ErrorDocument
from pipeline.core import log
from pipeline.core.errors import Code, OrgkeyError
from pipeline.core.text import age as age
from pipeline.core.text import counted as counted
from pipeline.core.text import grouped as grouped
from pipeline.core.text import json_lines
from pipeline.core.text import printable as printable
from pipeline.core.text import spaced as spaced


@dataclass
class Output:
    """Where a command speaks.

    Attributes:
        json: Whether stdout gets one JSON document.
        quiet: Whether progress is left out; warnings, errors and the result never are.
    """

    json: bool = False
    quiet: bool = False
    _started: float = field(default_factory=time.monotonic)

    def progress(self, line: str) -> None:
        """Say what happens, on stderr."""
        if log.as_json():
            log.event("progress", printable(line), seconds=round(time.monotonic() - self._started, 3))
        elif not self.quiet:
            self._line(f"{time.monotonic() - self._started:6.1f}s  {line}" if sys.stderr.isatty() else line)

    def show(self, lines: Iterable[str]) -> None:
        """Show a person what they are asked about, on stderr: as it is, without the time of each line."""
        for line in lines:
            if log.as_json():
                log.event("progress", printable(line))
            elif not self.quiet:
                self._line(line)

    def warn(self, line: str) -> None:
        """Tell a person what they should know, on stderr."""
        if log.as_json():
            log.event("warning", printable(line), level="warning")
            return
        self._line(f"orgkey: warning: {line}")

    def emit(self, document: Mapping[str, Any], lines: Iterable[str]) -> None:
        """Print a command's result.

        Args:
            document: What ``--json`` prints.
            lines: What a person reads instead.
        """
        if self.json:
            _print_json(document)
        else:
            for line in lines:
                for part in terminal.wrapped(printable(log.without_logins(line))):
                    sys.stdout.write(terminal.painted(part, sys.stdout) + "\n")
            sys.stdout.flush()

    def _line(self, line: str) -> None:
        sys.stderr.write(terminal.painted(printable(log.without_logins(line)), sys.stderr) + "\n")
        sys.stderr.flush()


def report_error(error: OrgkeyError, *, as_json: bool) -> None:
    """Print an error in two lines on stderr, and as a document on stdout where JSON was asked for."""
    if log.as_json():
        log.event(
            "error",
            printable(error.message),
            level="error",
            code=int(error.code),
            name=error.code.label,
            hint=printable(error.hint),
        )
    else:
        out = Output()
        compared = error.code in (Code.NOT_A_KEY, Code.NOT_PINNED)  # fingerprints, by people
        out._line(f"orgkey: error: {grouped(error.message) if compared else error.message}")
        out._line(f"orgkey: hint: {error.hint}")
    if as_json:
        _print_json(ErrorDocument.of(error=error).to_json())


def _print_json(document: Mapping[str, Any]) -> None:
    document = log.document_without_logins(document)
    text = json_lines(document)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:  # a file name that is not UTF-8, or a plain locale: escapes are JSON, too
        text = json.dumps(document, indent=2)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def hints(told: Iterable[str | None]) -> list[str]:
    """The lines that say what to do about several things, each once."""
    return [f"hint: {printable(text)}" for text in dict.fromkeys(told) if text]


def table(headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Lay out rows in columns that are as wide as they need to be, and no wider than the terminal."""
    everything = terminal.fitted([headings, *(tuple(printable(cell) for cell in row) for row in rows)])
    widths = [max(len(row[column]) for row in everything) for column in range(len(headings))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in everything
    ]
