"""The one way to servers over HTTP: every request to Vault and of botocore is sent, every answer read here.

What no library bounds is bounded here: the time of a whole exchange (a server may send one byte now and
then), and the size of an answer, while it is read. An answer is handed on only when all of it has come.

An exchange runs in a thread of its own, so that its caller comes back in time whatever holds it up: the
look-up of a name, a handshake, a header without an end. Who stops waiting closes its sockets.

Imports urllib3, so it is itself imported only where a connection is made.
"""

from __future__ import annotations

import http.client
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import TimeoutError as TimeoutProblem
from urllib3.util import Timeout, create_urllib3_context

from pipeline.config.places import SYSTEM
from pipeline.core import clock
from pipeline.core.clock import Deadline
from pipeline.core.errors import OrgkeyError
from pipeline.core.retry import SilentServers
from pipeline.providers import proxy as _proxy
from pipeline.providers.tls.files import Pair, require_authority, require_pair

if TYPE_CHECKING:
    from pipeline.config.places import AwsPlace, VaultPlace

KIB: Final = 1024
MIB: Final = 1024 * 1024
_CHUNK: Final = 64 * KIB
_LOOK_SECONDS: Final = 0.1
_GRACE_SECONDS: Final = 0.5
"""How long a request that may have changed something is still waited for after the first signal."""
_ONLY_READS: Final = ("GET", "HEAD", "LIST")
_exchange = threading.local()


def _not_a_warning(record: logging.LogRecord) -> bool:
    return record.levelno != logging.WARNING


for _talkative in ("urllib3.connection", "urllib3.connectionpool"):
    # What is odd about an answer is said once, as the call's own failure, and without a traceback.
    logging.getLogger(_talkative).addFilter(_not_a_warning)


@dataclass(eq=False)
class NoAnswer(Exception):
    """There is no answer, or none that can be used.

    Attributes:
        url: What was asked.
        reason: What urllib3 or the system raised, or an :class:`Unusable`.
        status: The status, where there was one.
    """

    url: str
    reason: Exception
    status: int | None = None


@dataclass(eq=False)
class Unusable(Exception):
    """An answer that the service does not give.

    Attributes:
        code: What is wrong with it; the table of failures knows it under this code.
        text: More about it.
    """

    code: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, all of it.

    Attributes:
        status: HTTP's.
        headers: Its headers; names in any case.
        body: Its body.
    """

    status: int
    headers: urllib3.HTTPHeaderDict
    body: bytes

    @property
    def content_type(self) -> str:
        """Its content type, in lower case."""
        return self.headers.get("Content-Type", "").lower()

    @property
    def is_web_page(self) -> bool:
        """Whether it is a page for people, which none of the services sends but a proxy or a portal does."""
        begins = self.body[:256].lstrip().lower()
        ours = any(name.lower().startswith("x-amz") or name.lower() == "etag" for name in self.headers)
        return not ours and (
            self.content_type.startswith("text/html") or begins.startswith((b"<!doctype html", b"<html"))
        )


@dataclass
class Exchange:
    """One request and its answer, on the way."""

    ends: float
    limit: Callable[[], float]
    done: threading.Event = field(default_factory=threading.Event)
    reply: Reply | None = None
    failure: BaseException | None = None
    answer: http.client.HTTPResponse | None = None
    _connections: list[HTTPConnection] = field(default_factory=list)
    _sockets: list[Any] = field(default_factory=list)

    def note(self, connection: HTTPConnection) -> None:
        """Remember what has to be closed should nobody wait any more."""
        self._connections.append(connection)
        if connection.sock is not None:
            self._sockets.append(connection.sock)

    def cut(self) -> None:
        """Close what it uses: a read that waits in another thread comes back."""
        for held in (*self._sockets, *(each.sock for each in self._connections)):
            if held is not None:
                with suppress(OSError, ValueError, AttributeError):
                    held.shutdown(socket.SHUT_RDWR)

    def wait(self, method: str) -> Reply:
        """Wait for the answer, until its time is over or a signal ends the run.

        Raises:
            TimeoutError: It did not come in time.
            Interrupted: A signal came.
            Exception: What the exchange met.
        """
        stop: float | None = None
        try:
            while not self.done.wait(_LOOK_SECONDS):
                now = time.monotonic()
                if clock.interrupted.is_set():
                    stop = stop or now + (0 if method in _ONLY_READS else _GRACE_SECONDS)
                    if now >= stop:
                        raise clock.interruption()
                if now >= self.ends:
                    raise TimeoutError
        finally:
            if not self.done.is_set():
                self.cut()
        failure, self.failure = self.failure, None
        try:
            if failure is not None:
                raise failure
        finally:
            del failure  # its traceback leads back here: sockets in such a ring would stay open
        assert self.reply is not None
        return self.reply


class _Answer(http.client.HTTPResponse):
    """An answer that its exchange can close: urllib3 loses it where it refuses the headers."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        _exchange.now.answer = self


class _Noted(HTTPConnection):
    """A connection that tells the exchange of its thread of its socket."""

    response_class = _Answer

    def connect(self) -> None:
        _exchange.now.note(self)
        super().connect()
        _exchange.now.note(self)

    def request(self, *args: Any, **named: Any) -> None:
        _exchange.now.note(self)
        super().request(*args, **named)


class _NotedTls(_Noted, HTTPSConnection):
    """The same over TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Noted


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _NotedTls


class Wire:
    """Connections to the servers of one place, used from any thread.

    Args:
        place: Whose proxy counts.
        deadline: The end of the run; it is told the ``Date`` of each answer.
        call_seconds: Time allowed for one request.
        ca_file: The authorities that are trusted instead of the usual ones; ``SYSTEM`` trusts this host's.
        pair: Files with our own certificate and its key.

    Raises:
        UsageProblem: A file of these cannot be used.
    """

    def __init__(
        self,
        place: VaultPlace | AwsPlace,
        deadline: Deadline,
        call_seconds: float,
        *,
        ca_file: str | None,
        pair: Pair | None = None,
    ) -> None:
        require_authority(ca_file)
        require_pair(pair)
        self._place = place
        self._deadline = deadline
        self._call_seconds = call_seconds
        self._limit = partial(deadline.limit, call_seconds)
        self._ca_file = ca_file
        self._pair = pair
        self._managers: dict[tuple[str | None, bool], urllib3.PoolManager] = {}
        self._lock = threading.Lock()

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, Any],
        body: Any,
        most: Callable[[int], int],
    ) -> Reply:
        """Send a request and read the whole answer. No redirect is followed, nothing is tried again.

        Args:
            method: HTTP's word, in upper case.
            url: Where to.
            headers: What is sent along.
            body: Bytes, text, a file, or nothing.
            most: The largest body that is taken of an answer with this status.

        Raises:
            NoAnswer: There is no whole answer.
            DeadlinePassed, Interrupted: The run is over.
            UsageProblem: The proxy's address cannot be used.
            Unreachable: Another run of the same fleet has waited for this server.
        """
        parts = urlsplit(url)
        server = f"{parts.scheme}://{parts.netloc}"
        SilentServers.check(server)
        seconds = self._limit()
        proxy = _proxy.effective(self._place, url)
        pool = self._manager(proxy, url).connection_from_url(url)
        target = url if proxy and url.startswith("http:") else _target(url)
        plain = {name: value for name, value in headers.items() if name.lower() != "expect"}
        length = str(headers.get("Content-Length") or "0")
        # An upload has as much time again for each MiB, as the answer has.
        more = int(length) // MIB if length.isdecimal() else 0
        ends = time.monotonic() + min(seconds * (1 + more), self._deadline.left())
        exchange = Exchange(ends, self._limit)

        def work() -> None:
            _exchange.now = exchange
            try:
                exchange.reply = _talk(pool, exchange, (method, target, plain, body), seconds, most)
            except BaseException as error:  # a caller waits for whatever it is
                exchange.failure = error
                if exchange.answer is not None:
                    exchange.answer.close()
            finally:
                exchange.done.set()

        threading.Thread(target=work, name="wire", daemon=True).start()
        try:
            reply = exchange.wait(method)
        except (OrgkeyError, MemoryError):
            raise
        except Exception as error:
            if seconds == self._call_seconds and isinstance(error, TimeoutError | TimeoutProblem):
                SilentServers.note(server, answered=False)
            raise NoAnswer(url, error) from error
        SilentServers.note(server, answered=True)
        self._deadline.note_date(server, reply.headers.get("Date"))
        # Of a server error the status says enough: a load balancer dresses them up.
        if reply.is_web_page and reply.status < 500 and reply.status != 407:
            raise NoAnswer(url, Unusable("web page"), reply.status)
        return reply

    def _manager(self, proxy: str | None, url: str) -> urllib3.PoolManager:
        # To read the usual authorities takes as long as a whole request to a server nearby.
        tls = any(each.startswith("https:") for each in (url, proxy or ""))
        with self._lock:
            if (proxy, tls) not in self._managers:
                common: dict[str, Any] = {"ssl_context": self._context() if tls else None, "maxsize": 8}
                manager = (
                    urllib3.ProxyManager(proxy, proxy_headers=_proxy.login(proxy), **common)
                    if proxy
                    else urllib3.PoolManager(**common)
                )
                manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
                self._managers[proxy, tls] = manager
            return self._managers[proxy, tls]

    def _context(self) -> Any:
        import certifi

        context = create_urllib3_context()
        if self._ca_file == SYSTEM:
            context.set_default_verify_paths()
        else:
            context.load_verify_locations(self._ca_file or certifi.where())
        if self._pair is not None:
            context.load_cert_chain(*self._pair)
        return context

    def close(self) -> None:
        """Close the connections that nobody uses."""
        for manager in self._managers.values():
            manager.clear()


def _target(url: str) -> str:
    """What a request line names: as it was signed, so nothing of it is put into another form."""
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _talk(
    pool: HTTPConnectionPool,
    exchange: Exchange,
    request: tuple[str, str, dict[str, Any], Any],
    seconds: float,
    most: Callable[[int], int],
) -> Reply:
    method, target, headers, body = request
    answer = pool.urlopen(
        method,
        target,
        body=body,
        headers=headers,
        retries=False,
        redirect=False,
        assert_same_host=False,
        preload_content=False,
        decode_content=False,
        timeout=Timeout(connect=seconds, read=seconds),
    )
    try:
        declared = answer.headers.get("Content-Length")
        if declared is not None and not declared.strip().isdecimal():
            raise Unusable("length")
        limit = most(answer.status)
        if method != "HEAD" and declared is not None and int(declared) > limit:
            raise Unusable("too long")
        data = b"".join(_pieces(answer, exchange, limit))
        answer.release_conn()
    except BaseException:
        answer.close()
        raise
    return Reply(answer.status, answer.headers, data)


def _pieces(answer: urllib3.BaseHTTPResponse, exchange: Exchange, limit: int) -> Iterator[bytes]:
    """Read a body to its end; each MiB has the time of a call of its own."""
    came = renewed = 0
    while piece := answer.read(min(_CHUNK, limit + 1 - came)):
        came += len(piece)
        if came > limit:
            raise Unusable("too long")
        if came - renewed >= MIB:
            renewed, exchange.ends = came, max(exchange.ends, time.monotonic() + exchange.limit())
        yield piece
