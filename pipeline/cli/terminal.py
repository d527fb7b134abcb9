"""What a terminal gets beside the words: colours, and tables that fit its width.

A colour repeats what a word says and says nothing by itself. There is none without a terminal, with NO_COLOR
(no-color.org) and where ``TERM`` is ``dumb``.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
from typing import Final, TextIO

_RED: Final = (
    "FAIL", "FAILED", "BROKEN", "BAD", "MISSING", "UNREACHABLE", "NOT STORED", "NOT READABLE", "NONE", "NO",
    "failed", "damaged", "not proven", "cannot be restored", "error",
)  # fmt: skip
_YELLOW: Final = (
    "WARN", "OVERDUE", "DUE", "TOO SHORT", "UNKNOWN", "YES, WITH GAPS", "NOT PROVEN", "stale", "degraded",
    "warning", "warnings",
)  # fmt: skip
_GREEN: Final = ("ok", "good", "passed", "proven", "YES")
_COLOURS: Final = {word: code for code, words in ((31, _RED), (33, _YELLOW), (32, _GREEN)) for word in words}
_BEFORE: Final = r"(^(?:orgkey: )?|  |: |\(|^drill )"
_WORDS: Final = "|".join(sorted(_COLOURS, key=len, reverse=True))
_VERDICT: Final = re.compile(rf"{_BEFORE}(?!(?<!.)proven)({_WORDS})(?=$|  |[,;)]| \(|(?<=[A-Zgrs]):)")
"""A verdict stands as a cell of its own, or as a heading; elsewhere the same word is prose."""
_LABEL: Final = re.compile(r" *(?:[-\w]+(?: [-\w]+)?  +|- )?")
"""What stands before the text of a line: ``last drill 3 d ago``, ``ok    gpg: GnuPG``, ``  - no limit``."""
_LEAST: Final = 24
"""No column is made narrower than so many letters."""


def painted(line: str, stream: TextIO) -> str:
    """A line, with its verdicts in colour where somebody sees it who wants that.

    Args:
        line: Harmless text.
        stream: Where it goes.
    """
    if os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") == "dumb" or not stream.isatty():
        return line
    return _VERDICT.sub(lambda found: f"{found[1]}\x1b[{_COLOURS[found[2]]}m{found[2]}\x1b[0m", line)


def columns() -> int | None:
    """How wide the terminal is that shows the result; ``None`` where a program or a file takes it."""
    return (shutil.get_terminal_size((0, 0)).columns or None) if sys.stdout.isatty() else None


def wrapped(line: str) -> list[str]:
    """A line of prose, wrapped at words where a terminal would break it within one.

    What has to be copied whole, a command, a path or an address, is left to the terminal.

    Args:
        line: Harmless text.
    """
    room = columns()
    if room is None or len(line) <= room or any(mark in line for mark in ("`", "/", " --")):
        return [line]
    label = _LABEL.match(line)
    indent = " " * min(label.end() if label else 0, room // 2)
    return textwrap.wrap(
        line, room, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False,
        drop_whitespace=True, replace_whitespace=False,
    )  # fmt: skip


def fitted(rows: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Rows of a table, the widest column wrapped at words where they are wider than the terminal.

    Args:
        rows: Cells, the same number in each row.
    """
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    wide, room = max(range(len(widths)), key=widths.__getitem__), columns()
    if room is None or (left := sum(widths) + 2 * (len(widths) - 1) - room) <= 0:
        return rows
    wrapper = textwrap.TextWrapper(
        max(widths[wide] - left, _LEAST), break_long_words=False, break_on_hyphens=False
    )
    found = []
    for row in rows:
        first, *more = wrapper.wrap(row[wide]) or [""]
        found.append((*row[:wide], first, *row[wide + 1 :]))
        found += [tuple(line if at == wide else "" for at in range(len(row))) for line in more]
    return found
