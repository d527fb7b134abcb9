"""The worker process: it is given one message and its session key, reads the message, and knows nothing else.

What parses a message is exposed to whoever could write where the backup lies, so it runs apart from the
process that has the logins and the Org Key. It is also small: what the clients of the servers leave in memory
stays with its parent. Both sides talk in lines of JSON over a socket, the descriptor of the message goes
with the request.
"""

from __future__ import annotations

import base64
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
from pipeline.sources.backups.byte_stream import of_descriptor
from pipeline.sources.backups.content import unwrapped
from pipeline.sources.backups.engine import Expectations, SessionKey
from pipeline.sources.backups.message_header import MessageHeader
from pipeline.sources.backups.tally import Tally

_LIMIT: Final = 1 << 16
_AHEAD: Final = 8
"""So many pieces may be read ahead of their digest."""
_REPORT_SECONDS: Final = 0.2


def request(
    header: MessageHeader, key: SessionKey, seconds: float, name: str, expected: Expectations
) -> bytes:
    """Encode a request to the worker.

    Args:
        header: The message's.
        key: Its session key.
        seconds: How long reading may take.
        name: What it is called, for errors.
        expected: What it should be.
    """
    signers = [base64.b64encode(signer).decode() for signer in expected.signers]
    return _line(
        {
            "protection": header.protection,
            "offset": header.offset,
            "algorithm": key.algorithm,
            "key": key.key.reveal().hex(),
            "seconds": seconds,
            "name": name,
            "entries": expected.entries,
            "signers": signers,
        }
    )


def _line(document: Any) -> bytes:
    return json.dumps(document).encode() + b"\n"


def main() -> None:
    """Read messages until the other side is gone."""
    hardening.harden()
    engine.load()
    with socket.socket(fileno=int(sys.argv[1])) as parent, suppress(BrokenPipeError, ConnectionError):
        while True:
            line, descriptors, _, _ = socket.recv_fds(parent, _LIMIT, 1)
            while line and not line.endswith(b"\n") and (more := parent.recv(_LIMIT)):
                line += more
            if not line or not descriptors:
                return
            with open(descriptors[0], "rb", buffering=0) as stream:  # noqa: PTH123 - a descriptor
                answer = _answer(json.loads(line), stream.fileno(), parent)
            parent.sendall(_line(answer))


def _answer(asked: dict[str, Any], number: int, parent: socket.socket) -> dict[str, Any]:
    header = MessageHeader((), asked["protection"], asked["offset"], b"")
    key = SessionKey(asked["algorithm"], Secret(bytes.fromhex(asked["key"])))
    signers = tuple(base64.b64decode(signer) for signer in asked["signers"])
    expected = Expectations(tuple(asked["entries"]), signers)
    deadline = Deadline(asked["seconds"], setting="policy.backup_seconds")
    meter = Throttle(lambda count: parent.sendall(_line({"read": count})))
    stored = of_descriptor(number, asked["name"], rooms=_AHEAD + 1)
    with Tally(stored, deadline, meter, behind=_AHEAD) as tally:
        try:
            found = engine.read(unwrapped(tally.stream, deadline), header, key, deadline, None, expected)
            answer: dict[str, Any] = {"result": asdict(found)}
        except OrgkeyError as error:
            answer = {"error": type(error).__name__, "message": error.message, "hint": error.hint}
        except Exception as error:
            # A defect that one message meets must not keep the others from being read. No text of the error
            # goes along: it may hold some of the content.
            last = traceback.extract_tb(error.__traceback__)[-1]
            answer = {
                "error": OrgkeyError.__name__,
                "message": f"internal error: {type(error).__name__} at {last.filename}:{last.lineno}",
                "hint": "this is a defect: report it with this line; --engine gpg is the other way",
            }
        return answer | {"sha256": tally.digest()}


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


if __name__ == "__main__":
    main()
