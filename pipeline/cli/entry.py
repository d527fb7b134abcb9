"""Where the command begins: a signal is answered as documented before anything else is imported."""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import NoReturn

_MESSAGE = b"orgkey: error: interrupted\norgkey: hint: run the same command again, nothing was begun\n"
_DOCUMENT = (
    b'{"schema": "orgkey.error/1", "error": {"code": 130, "name": "interrupted", "message": "interrupted", '
    b'"hint": "run the same command again, nothing was begun"}}\n'
)


def main() -> NoReturn:
    """Run the command line; see :func:`pipeline.cli.app.main`, which sets handlers of its own."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _leave)
    gc.disable()  # imports make much and throw little away; a command enables it when it begins
    from pipeline.cli.app import main as command

    command()


def _leave(_number: int, _frame: object) -> None:
    """Nothing has begun, so nothing has to be ended."""
    for stream, text in ((1, _DOCUMENT if "--json" in sys.argv[1:] else b""), (2, _MESSAGE)):
        try:
            os.write(stream, text)
        except OSError:
            continue  # closed or full: the code says it
    os._exit(130)
