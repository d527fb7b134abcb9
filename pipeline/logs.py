"""Logging to stderr that can be turned up to the highest level without telling a secret.

Three layers: what other libraries say below WARNING is kept only where a logger is known to speak of
connections and not of contents (their bodies and headers carry shares in the clear); everything
that is left goes through :mod:`pipeline.redaction`; and a line that cannot be formatted is replaced
by a notice, where the standard library would print its arguments.
"""

from __future__ import annotations

import json
import logging
import secrets
import sys
from datetime import UTC, datetime
from typing import Final, TextIO

from pipeline.redaction import Redactor
from pipeline.secret import Secret

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

_redactor = Redactor()
_handler: logging.Handler | None = None


def redact(secret: Secret) -> Secret:
    """Keep ``secret`` out of every log line of this run: raw, in hex, in base64, escaped.

    Returns:
        The same secret, so that the call can stand where the secret is made or read.
    """
    _redactor.register(secret)
    return secret


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


def setup(level: int = 0, json: bool = False) -> str:
    """Send logs to stderr.

    Calling it again replaces what an earlier call installed.

    Args:
        level: 0 and below warnings and errors; 1 (``-v``) what this program does too; 2 (``-vv``) its
            details; 3 (``-vvv``) and above the libraries' debug lines, with contents withheld.
        json: One JSON object a line instead of text.

    Returns:
        The run's correlation id, which every line at level 1 and above, and every JSON line, carries.
    """
    global _handler
    run = secrets.token_hex(4)
    handler = _SafeHandler(sys.stderr)
    handler.setFormatter(_Formatter(run, as_json=json, long=level >= 1))
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
    return run


def shutdown() -> None:
    """Undo :func:`setup`; for tests and for programs that embed this one."""
    global _handler
    root = logging.getLogger()
    if _handler is not None:
        root.removeHandler(_handler)
        _handler = None
    for name in (*_OWN, "py.warnings"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    root.setLevel(logging.WARNING)
    logging.captureWarnings(False)


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

    def __init__(self, run: str, *, as_json: bool, long: bool) -> None:
        super().__init__(
            f"%(asctime)s {run} %(levelname)s %(name)s: %(message)s"
            if long
            else "orgkey: %(levelname)s: %(message)s"
        )
        self._run = run
        self._as_json = as_json

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 - its name in logging
        """The time in UTC with milliseconds."""
        moment = datetime.fromtimestamp(record.created, UTC)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def format(self, record: logging.LogRecord) -> str:
        """Format and redact; exceptions that were formatted by another handler are formatted anew."""
        record = logging.makeLogRecord(record.__dict__)
        record.exc_text = None
        record.levelname = record.levelname.lower()
        if not self._as_json:
            return _redactor.clean(super().format(record))
        entry = {
            "time": self.formatTime(record),
            "level": record.levelname,
            "run": self._run,
            "logger": record.name,
            "message": _redactor.clean(record.getMessage()),
        }
        if record.exc_info:
            entry["exception"] = _redactor.clean(self.formatException(record.exc_info))
        return json.dumps(entry, ensure_ascii=False)


class _SafeHandler(logging.StreamHandler[TextIO]):
    """Writes to stderr what may be written; says nothing about a line that cannot be formatted."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, or what is left of it."""
        kept = _without_contents(record)
        if kept is not None:
            super().emit(kept)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - its name in logging
        """Replace the standard library's report, which prints the record's arguments."""
        try:
            self.stream.write(f"orgkey: warning: a log line of {record.name} could not be formatted\n")
        except (OSError, ValueError):  # stderr is gone: nobody is left to tell
            return
