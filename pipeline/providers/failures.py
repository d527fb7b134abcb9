"""Failed calls in words: what each means stands in ``failures.toml`` beside this file, and nowhere else.

A boundary says what it knows of a failure, as a :class:`CallFailure`; the table gives the error, what it
says, the hint, and whether it passes by itself:

    raise failures.explain(failures.CallFailure("answer", service="vault", where="vault", status=503), "read")
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator

from pipeline.core import errors
from pipeline.core.clock import Deadline
from pipeline.core.errors import OrgkeyError, Unreachable
from pipeline.core.retry import in_time


@dataclass(frozen=True)
class CallFailure:
    """What is known of a call that failed; its attributes and facts are what a row's words can name.

    Attributes:
        table: Which table of ``failures.toml`` knows about it.
        where: The server, for messages.
        service: ``vault``, ``s3``, ``kms`` or ``sts``.
        role: Which of our identities made the call.
        setting: The setting with the server's address.
        status: HTTP's; 0 for none.
        code: The service's own code; empty where it has none.
        text: Its words, fit for one line.
        headers: Names in lower case.
        kinds: Names of the classes of what was raised.
        facts: What else a row's words can name; what costs something is a function, called when it is named.
    """

    table: str
    where: str = ""
    service: str = ""
    role: str = ""
    setting: str = ""
    status: int = 0
    code: str = ""
    text: str = ""
    headers: Mapping[str, Any] = field(default_factory=dict)
    kinds: frozenset[str] = frozenset()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        value = self.facts[name] if name in self.facts else getattr(self, name)
        return value() if callable(value) else value

    @property
    def named(self) -> str:
        """Code and words, else the status."""
        words = f"{self.code}: {self.text}" if self.text and self.text != self.code else self.code
        return words.removeprefix(": ") or f"status {self.status}"

    @property
    def server_error(self) -> bool:
        """Whether the status is one by which a server speaks of itself."""
        return self.status >= 500

    @property
    def temporary_redirect(self) -> bool:
        """Whether the answer leads elsewhere for this once."""
        return self.status == 307

    @property
    def retry_after(self) -> float | None:
        """The header of that name in seconds (RFC 9110, 10.2.3); a date counts as absent."""
        value = str(self.headers.get("retry-after", "")).strip()
        return min(float(value), 86400.0) if value.isdecimal() and len(value) < 10 else None

    @property
    def skew(self) -> str:
        """By how much this host's clock differs from the server's, where the answer has a date."""
        try:
            server = parsedate_to_datetime(str(self.headers.get("date")))
        except (ValueError, OverflowError):
            return ""
        if server.tzinfo is None:  # how RFC 5322's "-0000" is read
            server = server.replace(tzinfo=UTC)
        return f" by {abs((datetime.now(UTC) - server).total_seconds()):.0f} s"

    @property
    def in_region(self) -> str:
        """The region that a bucket says it is in."""
        region = self.headers.get("x-amz-bucket-region")
        return f", {region}" if region else ""

    @property
    def set_region(self) -> str:
        """What to do about it."""
        region = self.headers.get("x-amz-bucket-region")
        return f'set region = "{region}"' if region else "correct region and endpoint_url"


class FailureRow(BaseModel):
    """One meaning; what the fields are, ``failures.toml`` says at its head."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    error: type[OrgkeyError]
    says: str
    hint: str
    service: tuple[str, ...] = ()
    kind: frozenset[str] = frozenset()
    status: frozenset[int] = frozenset()
    code: frozenset[str] = frozenset()
    words: str = ""
    when: str = ""
    again: bool = False
    wait: float | None = None
    silent: bool = False

    @field_validator("error", mode="before")
    @classmethod
    def _class(cls, name: str) -> object:
        return getattr(errors, name)

    @field_validator("status", mode="before")
    @classmethod
    def _range(cls, given: list[int | str]) -> set[int]:
        return {status for each in given for status in (range(500, 600) if isinstance(each, str) else [each])}

    def fits(self, failure: CallFailure) -> bool:
        """Whether this is what a failure means."""
        return (
            (not self.service or failure.service in self.service)
            and (not self.kind or not self.kind.isdisjoint(failure.kinds))
            and (not (self.status or self.code) or failure.status in self.status or failure.code in self.code)
            and (
                not self.words
                or bool(re.search(self.words, f"{failure.code} {failure.text}".strip(), re.IGNORECASE))
            )
            and (not self.when or bool(failure[self.when]))
        )


@cache
def table() -> Mapping[str, tuple[FailureRow, ...]]:
    """All rows, by table; read when the first call fails."""
    document = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    return {name: tuple(map(FailureRow.model_validate, rows)) for name, rows in document.items()}


def meaning(failure: CallFailure) -> FailureRow:
    """The row of the table that a failure falls under."""
    return next(row for row in table()[failure.table] if row.fits(failure))


def explain(failure: CallFailure, what: str) -> OrgkeyError:
    """Make of a failure the error that it means.

    Args:
        failure: What is known of it.
        what: What the call was for, as the beginning of the message.
    """
    row = meaning(failure)
    message, hint = f"{what}: {row.says.format_map(failure)}", row.hint.format_map(failure)
    if not issubclass(row.error, Unreachable):
        return row.error(message, hint=hint)
    wait = row.wait if failure.retry_after is None else failure.retry_after
    return row.error(message, hint=hint, again=row.again, retry_after=wait, silent=row.silent)


def other_shape(where: str, what: str, why: str) -> OrgkeyError:
    """The error for an answer of a shape that the service does not give."""
    return explain(CallFailure("connection", where=where, code="other shape", text=why), what)


def class_names(error: BaseException) -> frozenset[str]:
    """The names of an error's class and of those above it."""
    return frozenset(kind.__name__ for kind in type(error).__mro__)


def passes(failure: CallFailure) -> bool:
    """Whether a failure passes by itself within a run."""
    return meaning(failure).again


@contextmanager
def translated(deadline: Deadline, translate: Callable[[Exception], OrgkeyError]) -> Iterator[None]:
    """Let only errors of our own out of the block; what fails when the time is up, failed for that.

    Args:
        deadline: The end of the run.
        translate: Says what anything else means.
    """

    def timely(error: OrgkeyError) -> OrgkeyError:
        return in_time(error, deadline) if isinstance(error, Unreachable) else error

    try:
        yield
    except OrgkeyError as error:
        raise timely(error) from error.__cause__
    except MemoryError:
        raise
    except Exception as error:
        raise timely(translate(error)) from error
