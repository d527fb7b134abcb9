"""An answer: one line that says what a crew's machine found in one backup.

Whoever reads it takes nothing that is not in its one form: a machine of the crew may be anybody's.
"""

from __future__ import annotations

import hmac
from dataclasses import asdict
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from pipeline.core import log
from pipeline.core.errors import Code, IntegrityProblem, OrgkeyError, error_of
from pipeline.core.secret import Secret
from pipeline.core.text import printable
from pipeline.sources.backups.container import ContentSummary
from pipeline.sources.backups.crew.ticket import LONGEST_PATTERN, TicketId
from pipeline.sources.backups.crew.ticket_place import Count, Exact, canonical
from pipeline.sources.backups.engine import Reading, ReadResult
from pipeline.sources.backups.message_header import Protection

FORMAT: Final = "orgkey.answer/1"
LONGEST: Final = 1 << 18
"""Characters of an answer; nearly all of them are names of entries that are missing."""

YEAR_10000: Final = 253_402_300_800
"""In seconds since 1970: no calendar has a date for it."""
NO_ID: Final = "0" * 32
"""Stands for the id of what is not a ticket."""

REFUSALS: Final = frozenset(
    {
        Code.INTERNAL, Code.USAGE, Code.LOCAL_FILES, Code.PROGRAM_MISSING, Code.UNSUPPORTED, Code.UNREACHABLE,
        Code.DENIED, Code.CONFLICT, Code.INTEGRITY, Code.DEGRADED, Code.DEADLINE,
    }
)  # fmt: skip
"""What can be wrong with one backup, or with reading it."""

_Text = Annotated[str, Field(max_length=LONGEST_PATTERN)]


class AnsweredContent(Exact):
    """What the backup held; see :class:`~pipeline.sources.backups.container.ContentSummary`."""

    container: Literal["tar", "tar.gz", "gzip", "bytes"]
    entries: Count | None
    size: Count
    newest: Annotated[int, Field(gt=0, lt=YEAR_10000)] | None
    missing: tuple[_Text, ...]


class AnsweredResult(Exact):
    """A backup that was read to its end; see :class:`~pipeline.sources.backups.engine.ReadResult`."""

    found: AnsweredContent
    compression: Literal["none", "zip", "zlib", "bzip2"] | None
    integrity: Protection
    engine: Literal["orgkey", "gnupg"]
    signed_by: Annotated[str, Field(pattern=r"^(?:[0-9A-F]{40}|[0-9A-F]{64})$")] | None

    @model_validator(mode="after")
    def _of_engine(self) -> Self:
        # This side's own engine is held against it in what both look at: gpg looks at no signature.
        if self.engine == "gnupg" and self.signed_by is not None:
            raise ValueError("gpg does not say who signed the content")
        return self


class AnsweredError(Exact):
    """What is wrong with the backup, or why it was not read."""

    code: int
    message: _Text
    hint: _Text

    @classmethod
    def of(cls, error: OrgkeyError) -> Self:
        """Put an error into words for another machine."""
        code = error.code if error.code in REFUSALS else Code.INTERNAL
        message, hint = (
            printable(log.without_logins(text))[:LONGEST_PATTERN] for text in (error.message, error.hint)
        )
        return cls(code=int(code), message=message, hint=hint)

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.code not in {int(code) for code in REFUSALS}:
            raise ValueError("this is not a code of a backup that was not read")
        return self

    def error(self) -> OrgkeyError:
        """The error."""
        return error_of(Code(self.code))(self.message, hint=self.hint)


class Answer(Exact):
    """What came of one ticket.

    Attributes:
        format: Which form of answer this is.
        id: The ticket's.
        worker: What the machine calls itself.
        seconds: How long reading took.
        sha256: Of all stored bytes of the backup, where they were all read.
        result: What the backup was; or
        error: what is wrong with it.
        mac: Authenticates all of this by the ticket's key (HMAC-SHA256, in hexadecimal); ``None`` where the
            ticket could not be opened.
    """

    format: Literal["orgkey.answer/1"] = FORMAT
    id: TicketId
    worker: Annotated[str, Field(min_length=1, max_length=200)]
    seconds: Annotated[float, Field(ge=0, lt=1e9, allow_inf_nan=False)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    result: AnsweredResult | None = None
    error: AnsweredError | None = None
    mac: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.result is None) == (self.error is None):
            raise ValueError("neither a result nor an error, or both")
        if self.result is not None and (self.sha256 is None or self.mac is None):
            raise ValueError("a result has a digest and a code that authenticates it")
        return self

    @classmethod
    def of(cls, ticket_id: str, worker: str, seconds: float, found: Reading, key: Secret | None) -> Self:
        """Put what was found into an answer.

        Args:
            ticket_id: The ticket's.
            worker: What this machine is called.
            seconds: How long reading took.
            found: What came of it.
            key: Authenticates it; ``None`` where the ticket could not be opened.
        """
        error = found.outcome if isinstance(found.outcome, OrgkeyError) else None
        document = {
            "format": FORMAT,
            "id": ticket_id,
            "worker": printable(worker)[:200],
            "seconds": round(seconds, 3),
            "sha256": found.sha256,
            "result": asdict(found.result()) if error is None else None,
            "error": AnsweredError.of(error).model_dump() if error is not None else None,
        }
        return cls.model_validate(document | {"mac": _code(document, key) if key else None})

    @classmethod
    def read(cls, line: str) -> Self:
        """Read an answer's form; who made it is not checked yet.

        Raises:
            IntegrityProblem: It is not an answer, or not in its one spelling.
        """
        answer = cls.of_line(line, LONGEST)
        if answer is None:
            raise IntegrityProblem(
                f"what came back is not an answer of the form {FORMAT}",
                hint="use the same version of orgkey on all machines; then look at what the crew runs",
            )
        return answer

    def check(self, key: Secret) -> None:
        """See that whoever made this has opened the ticket.

        Args:
            key: The ticket's.

        Raises:
            IntegrityProblem: Its code is wrong.
        """
        if self.mac is None or not hmac.compare_digest(
            self.mac, _code(self.model_dump(mode="json", exclude={"mac"}), key)
        ):
            raise IntegrityProblem(
                f"the answer of {self.worker} was not made by a holder of its ticket, or was changed",
                hint="find out who carries tickets and answers; its backup counts as not read",
            )

    def reading(self) -> Reading:
        """What was found."""
        if self.error is not None:
            return Reading(self.error.error(), self.sha256)
        assert self.result is not None
        values = self.result.model_dump()
        return Reading(ReadResult(**values | {"found": ContentSummary(**values["found"])}), self.sha256)


def _code(document: object, key: Secret) -> str:
    return hmac.digest(key.reveal(), canonical(document), "sha256").hex()
