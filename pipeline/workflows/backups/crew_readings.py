"""Have a crew of other machines read backups: issue tickets, let them be carried, enter the answers.

Nothing that comes back is believed for its form or its place: an answer counts once, for the ticket whose key
authenticates it. What a machine of the crew says inside one is its word, so some are read again here.
"""

from __future__ import annotations

import base64
import math
import random
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from pipeline.config.sections import ReadersSection
from pipeline.core.clock import Deadline
from pipeline.core.errors import Code, Conflict, IntegrityProblem, OrgkeyError, Unreachable
from pipeline.core.isolation import isolated
from pipeline.core.secret import Secret
from pipeline.sources.backups import read_backup
from pipeline.sources.backups.crew import dispatch_client
from pipeline.sources.backups.crew.answer import Answer
from pipeline.sources.backups.crew.crew_key import public_bytes
from pipeline.sources.backups.crew.readers import Crew
from pipeline.sources.backups.crew.ticket import OpenPart, Ticket
from pipeline.sources.backups.crew.ticket_place import SharedFile, StoredObject
from pipeline.sources.backups.engine import Expectations, Reading, ReadResult, SessionKey
from pipeline.sources.backups.message_header import MessageHeader
from pipeline.sources.backups.read_backup import Engine, verdict
from pipeline.sources.backups.sources import BackupFile, BackupSource
from pipeline.sources.backups.worker_client import WorkerClient
from pipeline.workflows.backups.local_readers import LocalReaders

Carry = Callable[[Mapping[str, str], Deadline], Iterator[tuple[str, str | OrgkeyError]]]
"""Has tickets carried to the crew, lines by id; yields each line that came back, or why none did, by id."""


@dataclass(frozen=True)
class CrewRequest:
    """Who reads in this machine's place.

    Attributes:
        key: The crew's public key.
        carry: Reaches the crew.
        recheck_percent: How many of its readings this machine repeats.
    """

    key: bytes
    carry: Carry
    recheck_percent: float = 5.0

    @classmethod
    def of(cls, readers: ReadersSection) -> CrewRequest | None:
        """The crew of a configuration; ``None`` where this machine reads.

        Raises:
            UsageProblem: The crew's key is not one.
            ProgramMissing: What its engine needs is not installed.
        """
        if readers.engine == "local":
            return None
        crew = Crew(
            readers.engine, 0.0, readers.scheduler or "", readers.ca_file or "", readers.cert_file or "",
            readers.key_file or "", readers.folder or "",
        )  # fmt: skip
        dispatch_client.require(crew)

        def carry(tickets: Mapping[str, str], deadline: Deadline) -> Iterator[tuple[str, str | OrgkeyError]]:
            return dispatch_client.carried(replace(crew, seconds=deadline.left()), tickets, deadline)

        return cls(public_bytes(readers.crew_key or ""), carry, readers.recheck_percent)


@dataclass(frozen=True)
class Errand:
    """One backup that the crew is to read.

    Attributes:
        source: The backup.
        place: Where the crew finds it.
        header: What its beginning says.
        session: Its session key.
        expected: What it should be.
    """

    source: BackupSource
    place: SharedFile | StoredObject
    header: MessageHeader
    session: SessionKey
    expected: Expectations


@dataclass(frozen=True)
class CrewReading:
    """What came of one errand.

    Attributes:
        found: What the backup was, or what is wrong.
        worker: The machine whose word it is; ``None`` where this one has read it, or nobody has.
        seconds: How long reading took.
        refused: Whether what came back is nobody's word: it says nothing of the backup.
        lie: What a machine said of it that this one, whose reading this is, does not find.
    """

    found: Reading
    worker: str | None = None
    seconds: float = 0.0
    refused: bool = False
    lie: OrgkeyError | None = None


def read_by_crew(
    crew: CrewRequest,
    errands: Sequence[Errand],
    readers: LocalReaders,
    engine: Engine,
    deadline: Deadline,
    *,
    warn: Callable[[str], None],
    arrived: Callable[[Errand], None] = lambda _: None,
) -> list[CrewReading]:
    """Have a crew read backups, and repeat some of its readings.

    Args:
        crew: Who reads.
        errands: What is to be read.
        readers: This machine's own, which repeat.
        engine: ``auto`` or ``gpg``.
        deadline: When to stop.
        warn: Is told of what is refused.
        arrived: Is told of each errand whose answer is in.

    Returns:
        What came of each errand, in their order.
    """
    if not errands:
        return []
    issued = issue(errands, crew.key, max(1.0, deadline.left()), engine)
    lines = {known: ticket.line for known, ticket in issued.items()}

    def carried() -> Iterator[tuple[str, str | OrgkeyError]]:
        for known, came in crew.carry(lines, deadline):
            yield known, came
            if known in issued:
                arrived(errands[issued[known].errand])

    entered = enter(issued, carried(), warn)
    again = partial(_again, engine=engine, deadline=deadline)
    checked = read_again(
        entered,
        crew.recheck_percent,
        lambda chosen: readers.map(again, [errands[number] for number in chosen]),
    )
    return [checked[number] for number in range(len(errands))]


def _again(errand: Errand, reader: WorkerClient, engine: Engine, deadline: Deadline) -> Reading:
    source = errand.source
    found = read_backup.read(
        source,
        errand.header,
        errand.session,
        reader,
        deadline=deadline,
        wanted=engine,
        expected=errand.expected,
    )
    if source.path is not None and BackupFile(source.path).state != source.state:
        return Reading(  # whoever had read it before may have been right
            Conflict(
                f"{source.name} was changed after the crew had read it",
                hint="run again when the upload is done",
            )
        )
    return found


@dataclass(frozen=True)
class IssuedTicket:
    """A ticket, and what this side keeps of it."""

    line: str
    mac: Secret
    errand: int


def issue(errands: Sequence[Errand], crew: bytes, seconds: float, engine: Engine) -> dict[str, IssuedTicket]:
    """Make a ticket for each errand, by its id.

    Args:
        errands: What is to be read.
        crew: The crew's public key.
        seconds: How long reading one may take.
        engine: ``auto`` or ``gpg``.
    """
    issued: dict[str, IssuedTicket] = {}
    for number, errand in enumerate(errands):
        part = OpenPart(
            id=secrets.token_hex(16),
            name=errand.source.name,
            place=errand.place,
            protection=errand.header.protection,
            offset=errand.header.offset,
            engine=engine,
            seconds=seconds,
            entries=errand.expected.entries,
            signers=tuple(base64.b64encode(signer).decode() for signer in errand.expected.signers),
        )
        ticket, mac = Ticket.issue(part, errand.session, crew)
        issued[part.id] = IssuedTicket(ticket.line(), mac, number)
    return issued


def enter(
    issued: Mapping[str, IssuedTicket],
    arrived: Iterator[tuple[str, str | OrgkeyError]],
    warn: Callable[[str], None],
) -> dict[int, CrewReading]:
    """Take what comes back, each ticket's once.

    Args:
        issued: The tickets.
        arrived: By ticket, what came back.
        warn: Is told of what is refused.

    Returns:
        By the errand's number, one for every ticket.
    """
    entered: dict[int, CrewReading] = {}
    for known, came in arrived:
        ticket = issued.get(known)
        if ticket is None or ticket.errand in entered:
            reason = "there is no such ticket" if ticket is None else "its ticket has an answer already"
            warn(f"an answer was refused: {reason}")
            continue
        entered[ticket.errand] = _entered(known, ticket, came)
    silence = Unreachable("no answer came back for its ticket", hint="see that the crew's readers run")
    return {ticket.errand: CrewReading(Reading(silence)) for ticket in issued.values()} | entered


def _entered(known: str, ticket: IssuedTicket, came: str | OrgkeyError) -> CrewReading:
    if isinstance(came, OrgkeyError):
        return CrewReading(Reading(came))
    answer = isolated(lambda: Answer.read(came), "the answer", IntegrityProblem)
    if isinstance(answer, OrgkeyError):
        return CrewReading(Reading(answer), refused=True)
    if answer.mac is None and answer.error is not None:  # anybody may have written it: it decides nothing
        error = answer.error.error()
        unopened = type(error)(f"{answer.worker} did not read it: {error.message}", hint=error.hint)
        return CrewReading(Reading(unopened), refused=True)
    refused = isolated(lambda: answer.check(ticket.mac), "the answer", IntegrityProblem)
    if refused is None and answer.id != known:
        refused = IntegrityProblem(
            f"the answer of {answer.worker} is for another ticket", hint="find out who carries answers"
        )
    if refused is not None:
        return CrewReading(Reading(refused), refused=True)
    return CrewReading(answer.reading(), answer.worker, answer.seconds)


def read_again(
    readings: Mapping[int, CrewReading], percent: float, again: Callable[[Sequence[int]], Iterable[Reading]]
) -> dict[int, CrewReading]:
    """Read some of what the crew has read on this machine, chosen now that all answers are in.

    A machine that gave another result is named, and all that the crew said is read again: machines choose
    their names, so nobody knows what else is the same one's.

    Args:
        readings: What the crew said of each backup.
        percent: How many are read again; one at least.
        again: Reads backups on this machine; what they are comes in their order.

    Returns:
        The readings; those of the backups that were read again are this machine's own.
    """
    result = dict(readings)
    answered = [number for number, item in readings.items() if item.worker and _conclusive(item.found)]
    chosen = random.SystemRandom().sample(answered, _share(len(answered), percent))
    while chosen:
        lies = False
        for number, own in zip(chosen, again(chosen), strict=True):
            said = readings[number]
            result[number] = CrewReading(own, None, said.seconds)
            if _conclusive(own) and not _same(said.found, own):
                lies = True
                result[number] = replace(result[number], lie=_lie(said))
        chosen = [number for number in answered if result[number].worker is not None] if lies else []
    return result


def _share(count: int, percent: float) -> int:
    return min(count, max(1, math.ceil(count * percent / 100))) if count else 0


def _conclusive(found: Reading) -> bool:
    """Whether it says something of the bytes, which another reading of them has to find, too."""
    return found.sha256 is not None and (
        isinstance(found.outcome, ReadResult) or found.outcome.code is Code.INTEGRITY
    )


def _same(said: Reading, own: Reading) -> bool:
    if said.sha256 != own.sha256:
        return False
    if isinstance(said.outcome, OrgkeyError) or isinstance(own.outcome, OrgkeyError):
        return verdict(said.outcome)[0] is verdict(own.outcome)[0]
    if said.outcome.engine == own.outcome.engine:
        return said.outcome == own.outcome
    return (said.outcome.found, said.outcome.integrity) == (own.outcome.found, own.outcome.integrity)


def _lie(said: CrewReading) -> IntegrityProblem:
    claim, problem = verdict(said.found.outcome)
    return IntegrityProblem(
        f"{said.worker} said of it what this machine does not find "
        f"({problem or ('verified' if claim is Code.OK else claim.meaning)})",
        hint=f"find out which machine of the crew calls itself {said.worker}, and why it said so",
    )
