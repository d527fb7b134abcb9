"""The process that reads: it is given one message and its session key, and nothing else.

What parses a message is exposed to whoever could write where the backup lies, so it runs apart from the
process that knows how to open the escrow. It is also small: what the clients of the servers leave in memory
stays with the other one. Both sides talk in lines of JSON over a socket, the descriptor of the message goes
with the request.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import Any, Final

from pipeline.core import hardening as harden
from pipeline.core.clock import Deadline
from pipeline.core.errors import OrgkeyError
from pipeline.core.secret import Secret
from pipeline.sources.backups import engine
from pipeline.sources.backups.content import unwrapped
from pipeline.sources.backups.cursor import Cursor, descriptor
from pipeline.sources.backups.engine import SessionKey
from pipeline.sources.backups.head import Head

_LIMIT: Final = 1 << 16
_TOLD_SECONDS: Final = 0.2


def request(head: Head, key: SessionKey, seconds: float, name: str) -> bytes:
    """What the reader is asked.

    Args:
        head: The message's.
        key: Its session key.
        seconds: How long reading may take.
        name: What it is called, for errors.
    """
    asked = {
        "protection": head.protection,
        "offset": head.offset,
        "algorithm": key.algorithm,
        "key": key.key.reveal().hex(),
        "seconds": seconds,
        "name": name,
    }
    return json.dumps(asked).encode() + b"\n"


def main() -> None:
    """Read messages until the other side is gone."""
    harden.harden()
    engine.load()
    with socket.socket(fileno=int(sys.argv[1])) as parent, suppress(BrokenPipeError, ConnectionError):
        while True:
            line, descriptors, _, _ = socket.recv_fds(parent, _LIMIT, 1)
            if not line or not descriptors:
                return
            with open(descriptors[0], "rb", buffering=0) as stream:  # noqa: PTH123 - a descriptor
                answer = _answer(json.loads(line), stream.fileno(), parent)
            parent.sendall(json.dumps(answer).encode() + b"\n")


def _answer(asked: dict[str, Any], number: int, parent: socket.socket) -> dict[str, Any]:
    def tell(count: int) -> None:
        parent.sendall(json.dumps({"read": count}).encode() + b"\n")

    meter = Pace(tell)
    head = Head((), asked["protection"], asked["offset"], b"")
    key = SessionKey(asked["algorithm"], Secret(bytes.fromhex(asked["key"])))
    deadline = Deadline(asked["seconds"], setting="policy.backup_seconds")
    cursor = metered(descriptor(number, asked["name"]), deadline, meter)
    try:
        return {"reading": asdict(engine.read(unwrapped(cursor, deadline), head, key, deadline))}
    except OrgkeyError as error:
        return {"error": type(error).__name__, "message": error.message, "hint": error.hint}
    except Exception as error:
        # A defect that one message meets must not keep the others from being read. No text of the error goes
        # along: it may hold some of the content.
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        where = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "an unknown place"
        return {
            "error": OrgkeyError.__name__,
            "message": f"internal error: {type(error).__name__} at {where}",
            "hint": "this is a defect: report it with this line; --engine gpg is the other way",
        }


class Pace:
    """Passes counts on, added up, a few times a second.

    Args:
        tell: Who is told.
    """

    def __init__(self, tell: Callable[[int], None]) -> None:
        self._tell = tell
        self._count = 0
        self._told = time.monotonic()

    def __call__(self, count: int) -> None:
        """Note that ``count`` more bytes were read; none means the end."""
        self._count += count
        now = time.monotonic()
        if not count or now - self._told > _TOLD_SECONDS:
            self._tell(self._count)
            self._told, self._count = now, 0


def metered(raw: Cursor, deadline: Deadline, meter: Callable[[int], None]) -> Cursor:
    """A stream that ends with an error when its time is over, and tells how far it is.

    Args:
        raw: The stream.
        deadline: When to stop.
        meter: Told of every piece's length in bytes.
    """

    def more() -> memoryview:
        deadline.check()
        piece = raw.some()
        meter(len(piece))
        return piece

    return Cursor(more)


if __name__ == "__main__":
    main()
