"""Send one message over HTTP, with one more attempt."""

from __future__ import annotations

import threading
from typing import Final
from urllib.parse import urlsplit

from pipeline import __version__
from pipeline.core import http
from pipeline.core.errors import Unreachable

_PAUSE_SECONDS: Final = 0.5


def post(address: str, body: bytes, *, seconds: float, attempts: int = 2) -> str | None:
    """Send a body; no redirect is followed, and nothing of the answer is read but its status.

    Args:
        address: Where to; ``http`` or ``https``, whose certificate is verified.
        body: What is sent.
        seconds: Time for one attempt, from the look-up of the name to the status.
        attempts: How often it is tried.

    Returns:
        Why it was not taken, in words that do not quote the address; ``None`` when it was.
    """
    if urlsplit(address).scheme not in ("http", "https"):
        return "its address does not begin with http:// or https://"
    problem: str | None = None
    for attempt in range(attempts):
        if attempt:
            threading.Event().wait(_PAUSE_SECONDS)
        problem, again = _once(address, body, seconds)
        if problem is None or not again:
            break
    return problem


def _once(address: str, body: bytes, seconds: float) -> tuple[str | None, bool]:
    headers = {"User-Agent": f"orgkey-escrow/{__version__}", "Content-Type": "text/plain; charset=utf-8"}
    try:
        status = http.send(address, body, headers, seconds=seconds).status
    except Unreachable as error:
        return error.message, error.again
    if 200 <= status < 300:
        return None, False
    if 300 <= status < 400:
        return f"it answered with a redirect ({status}), which is not followed", False
    return f"it answered {status}", status >= 500 or status == 429
