"""botocore's requests, sent over the one wire.

Imports botocore, so it is itself imported only where a connection is made.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from typing import Any, Final

from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from pipeline.providers.wire import KIB, MIB, NoAnswer, Unusable, Wire

_MOST_OF_S3: Final = 4 * MIB
"""The largest answer of S3: a record, a range of a backup, a page of a listing."""
_MOST: Final = 64 * KIB
"""The largest of other services, and of any error."""
_ROUNDS: Final = 6
"""Requests that botocore may make of one call: it follows a bucket to its region."""


class _Body(io.BytesIO):
    """A body that has come, in the shape that botocore reads."""

    def stream(self, *_: Any) -> Iterator[bytes]:
        """All of it."""
        yield self.read()


class Sender(threading.local):
    """Answers botocore's ``before-send`` event: what it returns is taken for what came over the network.

    Args:
        wire: The connections.
        service: ``s3``, or another.
    """

    def __init__(self, wire: Wire, service: str) -> None:
        self._wire = wire
        self._most = _MOST_OF_S3 if service == "s3" else _MOST
        self._rounds = 0

    def begin(self) -> None:
        """Begin a call in this thread."""
        self._rounds = 0

    def __call__(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        """Send a request.

        Raises:
            NoAnswer: There is no whole answer, or botocore goes in circles.
            OrgkeyError: As in :meth:`Wire.send`.
        """
        self._rounds += 1
        if self._rounds > _ROUNDS:
            raise NoAnswer(request.url, Unusable("circle"))
        reply = self._wire.send(
            request.method,
            request.url,
            request.headers,
            request.body,
            lambda status: self._most if status < 300 else _MOST,
        )
        return AWSResponse(request.url, reply.status, reply.headers, _Body(reply.body))
