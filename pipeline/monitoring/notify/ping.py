"""The dead-man ping: a service with a clock of its own misses the job that does not report.

Speaks as Healthchecks does: ``<url>/start``, ``<url>`` and ``<url>/<exit code>``, with ``rid``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode, urlsplit, urlunsplit

from pipeline import __version__
from pipeline.config.sections import Ping
from pipeline.core import http
from pipeline.core.errors import OrgkeyError, Unreachable, UsageProblem
from pipeline.core.isolation import isolated
from pipeline.monitoring.notify import address

SECONDS: Final = 5.0
_READING_SECONDS: Final = 10.0
_LONGEST: Final = 2000
_PAUSE_SECONDS: Final = 0.5


@dataclass
class Pinger:
    """Reports one run of one job.

    Args:
        config: Where to.
        job: The job's name.
        run: The run's correlation id.
        warn: Called when it does not work.
    """

    config: Ping
    job: str
    run: str
    warn: Callable[[str], None]
    _problem: str | None = field(default=None, init=False)
    _started: threading.Thread | None = field(default=None, init=False)

    def start(self) -> None:
        """Say that the run begins, while it does."""
        self._started = threading.Thread(target=self._start, name="ping", daemon=True)
        self._started.start()

    def end(self, code: int, text: str) -> None:
        """Say how the run ended.

        Args:
            code: Its exit code.
            text: A few words, without a secret.
        """
        if self._started is not None:
            self._started.join(SECONDS)  # in order, where the service keeps pace
        attempts = 1 if self._problem or (self._started and self._started.is_alive()) else 2
        problem = self.send("" if code == 0 else f"/{code}", text, attempts=attempts)
        if problem:
            self.warn(f"ping.{self.job} could not be sent at the end of the run: {problem}")

    def _start(self) -> None:
        result = isolated(lambda: self.send("/start", f"run {self.run}", attempts=1), "ping")
        self._problem = result.message if isinstance(result, OrgkeyError) else result

    def send(self, suffix: str, text: str, *, attempts: int = 2) -> str | None:
        """Send one ping.

        Args:
            suffix: What is added to the address's path.
            text: The body, without a secret; what is too long of it is left out.
            attempts: How often it is tried.

        Returns:
            Why it was not taken; ``None`` when it was.
        """
        try:
            where = target(ping_address(self.config, self.job), suffix, self.run)
        except OrgkeyError as error:
            return error.message
        return post(where, text.encode()[:_LONGEST], seconds=SECONDS, attempts=attempts)


def ping_address(config: Ping, job: str) -> str:
    """The configured address.

    Args:
        config: Where it stands.
        job: The job's name.

    Raises:
        UsageProblem: It cannot be read, or is not an address.
    """
    name = f"ping.{job}.url"
    addresses = address.read(config.url_file, config.url_command, name, _READING_SECONDS)
    if len(addresses) > 1 or not addresses[0].startswith(("https://", "http://")):
        raise UsageProblem(
            f"{name} is not one address with https://", hint="write the one that the service shows"
        )
    return addresses[0]


def target(where: str, suffix: str, run: str) -> str:
    """The address of one kind of ping; what the configured one asks for stays.

    Args:
        where: The configured address.
        suffix: What is added to its path.
        run: The run's correlation id.
    """
    parts = urlsplit(where)
    query = "&".join(filter(None, (parts.query, urlencode({"rid": rid(run)}))))
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/") + suffix, query, ""))


def rid(run: str) -> str:
    """The correlation id in the form of a UUID, which the protocol asks for; it begins with the id's digits.

    Args:
        run: 16 hexadecimal digits.
    """
    digits = f"{run:0<16.16}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[12:15]}-8{digits[15]}00-000000000000"


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
