"""The worker process: it is given one message and its session key, reads the message, and knows nothing else.

What parses a message is exposed to whoever could write where the backup lies, so it runs apart from the
process that has the logins and the Org Key. It is also small: what the clients of the servers leave in memory
stays with its parent. Both sides talk in lines of JSON over a socket, the descriptor of the message goes
with the request.
"""

from __future__ import annotations

import json
import socket
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import Any, Final

from pipeline.core import hardening
from pipeline.core.clock import Deadline
from pipeline.core.errors import OrgkeyError
from pipeline.core.secret import Secret
from pipeline.sources.backups import engine
from pipeline.sources.backups.byte_stream import ByteStream, of_descriptor
from pipeline.sources.backups.content import unwrapped
from pipeline.sources.backups.engine import SessionKey
from pipeline.sources.backups.message_header import MessageHeader

_LIMIT: Final = 1 << 16
_REPORT_SECONDS: Final = 0.2


def request(header: MessageHeader, key: SessionKey, seconds: float, name: str) -> bytes:
    """Encode a request to the worker.

    Args:
        header: The message's.
        key: Its session key.
        seconds: How long reading may take.
        name: What it is called, for errors.
    """
    key_hex = key.key.reveal().hex()
    return _line([header.protection, header.offset, key.algorithm, key_hex, seconds, name])


def _line(document: Any) -> bytes:
    return json.dumps(document).encode() + b"\n"


def main() -> None:
    """Read messages until the other side is gone."""
    hardening.harden()
    engine.load()
    with socket.socket(fileno=int(sys.argv[1])) as parent, suppress(BrokenPipeError, ConnectionError):
        while True:
            line, descriptors, _, _ = socket.recv_fds(parent, _LIMIT, 1)
            if not line or not descriptors:
                return
            with open(descriptors[0], "rb", buffering=0) as stream:  # noqa: PTH123 - a descriptor
                answer = _answer(json.loads(line), stream.fileno(), parent)
            parent.sendall(_line(answer))


def _answer(question: list[Any], number: int, parent: socket.socket) -> dict[str, Any]:
    protection, offset, algorithm, key_hex, seconds, name = question
    header = MessageHeader((), protection, offset, b"")
    key = SessionKey(algorithm, Secret(bytes.fromhex(key_hex)))
    deadline = Deadline(seconds, setting="policy.backup_seconds")
    meter = Throttle(lambda count: parent.sendall(_line({"read": count})))
    stream = metered(of_descriptor(number, name), deadline, meter)
    try:
        return {"result": asdict(engine.read(unwrapped(stream, deadline), header, key, deadline))}
    except OrgkeyError as error:
        return {"error": type(error).__name__, "message": error.message, "hint": error.hint}
    except Exception as error:
        # A defect that one message meets must not keep the others from being read. No text of the error goes
        # along: it may hold some of the content.
        last = traceback.extract_tb(error.__traceback__)[-1]
        return {
            "error": OrgkeyError.__name__,
            "message": f"internal error: {type(error).__name__} at {last.filename}:{last.lineno}",
            "hint": "this is a defect: report it with this line; --engine gpg is the other way",
        }


class Throttle:
    """Passes counts on, added up, a few times a second.

    Args:
        report: Takes the sums.
    """

    def __init__(self, report: Callable[[int], None]) -> None:
        self._report = report
        self._count = 0
        self._reported = time.monotonic()

    def __call__(self, count: int) -> None:
        """Note that ``count`` more bytes were read; none means the end."""
        self._count += count
        now = time.monotonic()
        if not count or now - self._reported > _REPORT_SECONDS:
            self._report(self._count)
            self._reported, self._count = now, 0


def metered(raw: ByteStream, deadline: Deadline, meter: Callable[[int], None]) -> ByteStream:
    """A stream that ends with an error when its time is over, and reports progress.

    Args:
        raw: The stream.
        deadline: When to stop.
        meter: Gets every piece's length in bytes.
    """

    def more() -> memoryview:
        deadline.check()
        piece = raw.some()
        meter(len(piece))
        return piece

    return ByteStream(more)


if __name__ == "__main__":
    main()
