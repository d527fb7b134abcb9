"""Texts made fit for one line: a server's words for a message, credentials for a header."""

from __future__ import annotations

from pipeline.core import log


def one_line(text: str, limit: int = 300) -> str:
    """Make one printable line of at most ``limit`` characters from a server's text.

    Control characters, which could forge lines or drive a terminal, become spaces. Secrets that the server
    repeats go first: of one that is cut off, a part would be left. A web page is not shown.
    """
    if text[:256].lstrip().lower().startswith(("<!doctype html", "<html")):
        return "a web page"
    text = log.clean(text)
    clean = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def is_sendable(text: str) -> bool:
    """Whether a credential can stand in a header: one line of printable ASCII without spaces.

    What cannot be sent, libraries quote in their errors.
    """
    return text.isascii() and text.isprintable() and " " not in text
