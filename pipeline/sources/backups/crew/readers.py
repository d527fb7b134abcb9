"""Who reads for this machine, and how they are reached: what dispatch and its parent agree on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Final, Literal, Protocol, Self

from pydantic import model_validator

from pipeline.core.clock import Deadline
from pipeline.core.errors import DeadlinePassed, OrgkeyError
from pipeline.sources.backups.crew.answer import AnsweredError
from pipeline.sources.backups.crew.ticket_place import Exact

SETTING: Final = "policy.backup_seconds"


@dataclass(frozen=True, slots=True)
class Crew:
    """Who reads, and how they are reached.

    Attributes:
        engine: ``dask`` or ``folder``.
        seconds: How long all of it may take.
        scheduler: Dask's scheduler, ``tls://host:port``.
        ca_file: The certificates' authority, in PEM.
        cert_file: This side's certificate.
        key_file: Its key.
        folder: Where tickets and answers lie, for the engine ``folder``.
    """

    engine: Literal["dask", "folder"]
    seconds: float
    scheduler: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    folder: str = ""


class Carried(Exact):
    """What dispatch says in one line.

    Attributes:
        id: Of the ticket that it is about; without one, why dispatch ends.
        answer: What came back; or
        lost: why nothing did.
    """

    id: str | None = None
    answer: str | None = None
    lost: AnsweredError | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.answer is None) == (self.lost is None) or (self.id is None and self.lost is None):
            raise ValueError("neither an answer nor a reason, or both")
        return self


class Readers(Protocol):
    """A crew, as dispatch sees it."""

    def submit(self, ticket_id: str, line: str) -> None:
        """Hand a ticket to the crew."""
        ...

    def results(self) -> Iterator[tuple[str, str | OrgkeyError]]:
        """What came of each ticket, once, in any order: the answer's line, or why there is none."""
        ...


def late(deadline: Deadline) -> DeadlinePassed:
    """Why a ticket is given up when the time is over."""
    return DeadlinePassed(
        f"no answer came within {deadline.seconds:g} s",
        hint=f"see that the crew's readers run; have more of them, or raise {SETTING}",
    )


def encoded(crew: Crew) -> str:
    """The first line."""
    return json.dumps(asdict(crew))
