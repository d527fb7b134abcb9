"""Logging to stderr that can be turned up to the highest level without telling a secret.

Three layers: what other libraries say below WARNING is kept only where a logger is known to speak of
connections and not of contents (their bodies and headers carry shares in the clear); everything
that is left goes through :mod:`pipeline.core.redaction`; and a line that cannot be formatted is replaced
by a notice, where the standard library would print its arguments.
"""

from __future__ import annotations

import json
import logging
import secrets
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, TextIO

from pipeline.core.redaction import Redactor
from pipeline.core.secret import Secret
from pipeline.core.text import printable

_OWN: Final = ("pipeline", "orgkey")
# Below WARNING, of other libraries' loggers, these are let through whole.
_OF_CONNECTIONS: Final = (
    "botocore.configprovider",
    "botocore.credentials",
    "botocore.regions",
    "botocore.retries",
    "botocore.retryhandler",
    "urllib3.connectionpool",
    "urllib3.util.retry",
)
_NOISE: Final = ("botocore.hooks", "botocore.loaders", "asyncio")
_WITHHELD: Final = "(arguments withheld)"

_SHORTEST_LOGIN: Final = 8
"""Characters of a login that is registered: real ones are longer, and "root" is an ordinary word."""

_redactor = Redactor()
# Logins are known apart: no result ever has to show one, where it may have to show a share or passphrase.
_logins = Redactor()
_handler: logging.Handler | None = None


class _State:
    """How this process writes its log; one run after another in a service."""

    as_json = False
    quiet = False
    run = ""


_state = _State()


def choose(*, as_json: bool) -> None:
    """Say how the log is written, before :func:`setup`: as JSON, one object a line, or as text."""
    _state.as_json = as_json


def as_json() -> bool:
    """Whether everything on stderr is JSON, one object a line."""
    return _state.as_json


def begin_run() -> str:
    """Mint the correlation id of a new run: log, ledger, certificates and notifications carry it."""
    _state.run = secrets.token_hex(8)
    return _state.run


def run_id() -> str:
    """The correlation id of the present run."""
    return _state.run or begin_run()


def event(
    name: str,
    message: str,
    /,
    *,
    level: str = "info",
    hint: str = "",
    **facts: str | float,
) -> None:
    """Write one event to stderr where the log is JSON; as text it is told elsewhere, or by ``-v``.

    Args:
        name: What kind of event it is, for example ``progress`` or ``ledger``.
        message: What happened, in words.
        level: ``info``, ``warning`` or ``error``; ``info`` is left out when quiet.
        hint: What to do about it.
        facts: More fields: numbers, and words of this program's own, which are not searched for secrets.
    """
    if not _state.as_json:
        logging.getLogger(__name__).info("%s", message)
        return
    if level != "info" or not _state.quiet:
        more = ({"hint": clean(hint)} if hint else {}) | facts
        with suppress(OSError, ValueError):  # stderr is gone: nobody is left to tell
            sys.stderr.write(_json(datetime.now(UTC), level, name, message, **more) + "\n")
            sys.stderr.flush()


def _json(at: datetime, level: str, name: str, message: str, /, **more: str | float) -> str:
    entry = {"time": _time(at), "level": level, "run": run_id(), "event": name, "message": clean(message)}
    return json.dumps(entry | more)


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def redact(secret: Secret) -> Secret:
    """Keep ``secret`` out of every log line of this run: raw, in hex, in base64, escaped.

    Returns:
        The same secret, so that the call can stand where the secret is made or read.
    """
    _redactor.register(secret)
    return secret


def redact_login(secret: Secret) -> Secret:
    """Keep what proves this program to a server out of logs, and out of results, errors and evidence too.

    A server or a proxy may repeat in its answer what it was sent.

    Returns:
        The same secret, as :func:`redact` does.
    """
    if len(secret) >= _SHORTEST_LOGIN:
        _redactor.register(secret)
        _logins.register(secret)
    return secret


def without_logins(text: str) -> str:
    """Return ``text`` without the logins of this run, and otherwise as it is."""
    return _logins.without_known(text)


def document_without_logins(value: Any) -> Any:
    """Return a JSON value without the logins of this run in its texts, names of fields included."""
    if isinstance(value, str):
        return without_logins(value)
    if isinstance(value, Mapping):
        return {document_without_logins(name): document_without_logins(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [document_without_logins(item) for item in value]
    return value


def clean(text: str) -> str:
    """Return ``text`` as a log line would have it: without secrets. For text that others wrote."""
    return _redactor.clean(text)


def last_words(output: bytes, limit: int = 600) -> str:
    """Make one line, fit to be shown, of what a program wrote before it failed.

    Args:
        output: Its stderr.
        limit: How many characters of its end are kept.

    Returns:
        The line without secrets and control characters, empty when the program said nothing.
    """
    lines = clean(output.decode(errors="replace")).splitlines()
    text = "; ".join(kept for line in lines if (kept := "".join(filter(str.isprintable, line)).strip()))
    return text if len(text) <= limit else f"[...] {text[-limit:]}"


def setup(level: int = 0, json: bool | None = None) -> str:
    """Send logs to stderr.

    Calling it again replaces what an earlier call installed.

    Args:
        level: 0 and below warnings and errors; 1 (``-v``) what this program does too; 2 (``-vv``) its
            details; 3 (``-vvv``) and above the libraries' debug lines, with contents withheld.
        json: One JSON object a line instead of text; left out, what :func:`choose` said.

    Returns:
        The run's correlation id, which every line at level 1 and above, and every JSON line, carries.
    """
    global _handler
    if json is not None:
        _state.as_json = json
    _state.quiet = level < 0
    handler = _SafeHandler(sys.stderr)
    handler.setFormatter(_Formatter(as_json=_state.as_json, long=level >= 1))
    root = logging.getLogger()
    if _handler is not None:
        root.removeHandler(_handler)
    root.addHandler(handler)
    _handler = handler

    own = logging.WARNING if level < 1 else logging.INFO if level == 1 else logging.DEBUG
    root.setLevel(logging.WARNING if level < 3 else logging.DEBUG)
    for name in _OWN:
        logging.getLogger(name).setLevel(own)
    logging.captureWarnings(True)
    # Deprecations of libraries are for developers, not for the operator of a run.
    logging.getLogger("py.warnings").setLevel(logging.WARNING if level >= 2 else logging.CRITICAL)
    return begin_run()


def _is(name: str, families: tuple[str, ...]) -> bool:
    return any(name == family or name.startswith(family + ".") for family in families)


def _without_contents(record: logging.LogRecord) -> logging.LogRecord | None:
    """Withhold what other libraries say about the contents of requests and answers.

    A list of what is let through, not of what is held back: a library's next version may log more.
    """
    if record.levelno >= logging.WARNING or _is(record.name, _OWN) or _is(record.name, _OF_CONNECTIONS):
        return record
    if _is(record.name, _NOISE) or not isinstance(record.msg, str):
        return None
    if not record.args or "%" not in record.msg:
        # Nothing tells a fixed sentence from one with contents already formatted in.
        return None
    kept = logging.makeLogRecord(record.__dict__)
    kept.msg, kept.args = f"{record.msg.splitlines()[0]} {_WITHHELD}", None
    # Messages of exceptions quote what could not be parsed.
    kept.exc_info, kept.exc_text, kept.stack_info = None, None, None
    return kept


class _Formatter(logging.Formatter):
    """One line of text or JSON, redacted as a whole: message, exception and stack."""

    def __init__(self, *, as_json: bool, long: bool) -> None:
        super().__init__(
            "%(asctime)s %(run)s %(levelname)s %(name)s: %(message)s"
            if long
            else "orgkey: %(levelname)s: %(message)s"
        )
        self._as_json = as_json

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 - its name in logging
        """The time in UTC with milliseconds."""
        return _time(datetime.fromtimestamp(record.created, UTC))

    def format(self, record: logging.LogRecord) -> str:
        """Format and redact; exceptions that were formatted by another handler are formatted anew."""
        record = logging.makeLogRecord(record.__dict__)
        record.exc_text = None
        record.levelname = record.levelname.lower()
        record.run = run_id()
        if not self._as_json:
            lines = _redactor.clean(super().format(record)).split("\n")  # of a traceback
            return "\n".join(map(printable, lines))
        more = {"logger": record.name}
        if record.exc_info:
            more["exception"] = clean(self.formatException(record.exc_info))
        at = datetime.fromtimestamp(record.created, UTC)
        return _json(at, record.levelname, "log", record.getMessage(), **more)


class _SafeHandler(logging.StreamHandler[TextIO]):
    """Writes to stderr what may be written; says nothing about a line that cannot be formatted."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, or what is left of it."""
        kept = _without_contents(record)
        if kept is not None:
            super().emit(kept)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - its name in logging
        """Replace the standard library's report, which prints the record's arguments."""
        told = f"a log line of {record.name} could not be formatted"
        if _state.as_json:
            event("log", told, level="warning")
            return
        with suppress(OSError, ValueError):  # stderr is gone: nobody is left to tell
            self.stream.write(f"orgkey: warning: {told}\n")
