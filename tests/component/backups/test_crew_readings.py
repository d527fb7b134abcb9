"""Tickets issued, carried to readers that may do anything, and entered."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.core.clock import Deadline
from pipeline.core.errors import Code, DeadlinePassed, OrgkeyError
from pipeline.core.secret import Secret
from pipeline.sources.backups import read_backup
from pipeline.sources.backups.crew.answer import Answer
from pipeline.sources.backups.crew.crew_key import CrewKey, public_bytes
from pipeline.sources.backups.crew.read_ticket import read_ticket
from pipeline.sources.backups.crew.ticket import Ticket
from pipeline.sources.backups.crew.ticket_place import SharedFile
from pipeline.sources.backups.engine import NO_EXPECTATIONS, Reading, ReadResult, SessionKey
from pipeline.sources.backups.sources import BackupFile
from pipeline.sources.backups.worker_client import WorkerClient
from pipeline.workflows.backups.crew_readings import (
    CrewReading,
    Errand,
    IssuedTicket,
    enter,
    issue,
    read_again,
)
from tests.support import message_writer as writer

SESSION = SessionKey(9, Secret(bytes(range(32))))
CREW = CrewKey.generate()
COUNT = 8
Lines = dict[str, str]
Again = Callable[[Sequence[int]], list[Reading]]


@pytest.fixture(scope="module")
def reader() -> Iterator[WorkerClient]:
    with WorkerClient() as client:
        yield client


@pytest.fixture
def errands(tmp_path: Path) -> list[Errand]:
    made = []
    for number in range(COUNT):
        path = tmp_path / f"{number}.pgp"
        content = writer.literal(bytes([number + 1]) * 1000)
        path.write_bytes(writer.message(writer.protected(content, SESSION.key.reveal())))
        source = BackupFile(path)
        place = SharedFile.of(path, source.state or "")
        made.append(Errand(source, place, read_backup.header_of(source), SESSION, NO_EXPECTATIONS))
    return made


@pytest.fixture
def again(errands: list[Errand], reader: WorkerClient) -> Again:
    """This machine's own readings, by number."""

    def own(chosen: Sequence[int]) -> list[Reading]:
        return [
            read_backup.read(
                errands[number].source, errands[number].header, SESSION, reader, deadline=Deadline(60)
            )
            for number in chosen
        ]

    return own


@pytest.fixture
def issued(errands: list[Errand]) -> dict[str, IssuedTicket]:
    return issue(errands, public_bytes(CREW.public), 60.0, "auto")


@pytest.fixture
def answers(issued: Mapping[str, IssuedTicket], reader: WorkerClient) -> Lines:
    """What an honest crew answers: the odd ones are another machine's."""
    return {
        known: read_ticket(ticket.line, CREW, reader, f"w{ticket.errand % 2}")
        for known, ticket in issued.items()
    }


def entered(
    issued: Mapping[str, IssuedTicket], arrived: Mapping[str, str | OrgkeyError]
) -> tuple[dict[int, CrewReading], list[str]]:
    warnings: list[str] = []
    return enter(issued, iter(arrived.items()), warnings.append), warnings


def code(reading: CrewReading) -> Code:
    return read_backup.verdict(reading.found.outcome)[0]


def test_an_honest_crew_finds_what_this_machine_finds(
    issued: dict[str, IssuedTicket], answers: Lines, again: Again
) -> None:
    readings, warnings = entered(issued, answers)
    assert [readings[number].found for number in range(COUNT)] == again(range(COUNT))
    assert {item.worker for item in readings.values()} == {"w0", "w1"}
    assert not warnings
    checked = read_again(readings, 5, again)
    assert [code(item) for item in checked.values()] == [Code.OK] * COUNT
    assert sum(item.worker is None for item in checked.values()) == 1  # one at least
    assert all(item.worker is None for item in read_again(readings, 100, again).values())


def test_neither_tickets_nor_answers_show_a_session_key(
    issued: dict[str, IssuedTicket], answers: Lines
) -> None:
    carried = "".join([*(item.line for item in issued.values()), *answers.values()])
    assert SESSION.key.reveal().hex() not in carried
    for item in issued.values():
        assert item.mac.reveal().hex() not in carried


def test_no_two_tickets_share_a_key(issued: dict[str, IssuedTicket]) -> None:
    assert len({item.mac.reveal() for item in issued.values()}) == COUNT


def _answered_for_another(answers: Lines, first: str, second: str) -> object:
    return answers[second]


def _altered(answers: Lines, first: str, _: str) -> object:
    return answers[first].replace('"size":1000', '"size":1001')


def _unauthenticated(answers: Lines, first: str, _: str) -> object:
    return json.dumps(json.loads(answers[first]) | {"mac": None}, separators=(",", ":"))


def _pickled(*_: object) -> object:
    return "\x80\x04\x95cposix\nsystem\n(S'true'\ntR."


@pytest.mark.parametrize("forge", [_answered_for_another, _altered, _unauthenticated, _pickled])
def test_what_the_holder_of_the_ticket_has_not_said_does_not_count(
    forge: Callable[[Lines, str, str], str], issued: dict[str, IssuedTicket], answers: Lines
) -> None:
    first, second, *_ = issued
    readings, _ = entered(issued, answers | {first: forge(answers, first, second)})
    assert code(readings[issued[first].errand]) is Code.INTEGRITY
    assert [code(item) for item in readings.values()].count(Code.OK) == COUNT - 1


def test_a_replay_and_an_unknown_ticket_are_refused_and_told(
    issued: dict[str, IssuedTicket], answers: Lines
) -> None:
    warnings: list[str] = []
    lost: OrgkeyError = DeadlinePassed("late", hint="wait")
    first = next(iter(issued))
    arrived: list[tuple[str, str | OrgkeyError]] = [*answers.items(), (first, lost)]
    arrived.append(("f" * 32, answers[first]))
    readings = enter(issued, iter(arrived), warnings.append)
    assert [code(item) for item in readings.values()] == [Code.OK] * COUNT
    assert [line.partition(": ")[2] for line in warnings] == [
        "its ticket has an answer already",
        "there is no such ticket",
    ]


def test_a_ticket_without_an_answer_is_a_failed_reading(
    issued: dict[str, IssuedTicket], answers: Lines
) -> None:
    first, second, *_ = issued
    del answers[first]
    readings, _ = entered(issued, answers | {second: DeadlinePassed("late", hint="wait")})
    assert code(readings[issued[first].errand]) is Code.UNREACHABLE
    assert code(readings[issued[second].errand]) is Code.DEADLINE


def test_a_crew_with_another_key_is_told(issued: dict[str, IssuedTicket], reader: WorkerClient) -> None:
    first, ticket = next(iter(issued.items()))
    readings, _ = entered(issued, {first: read_ticket(ticket.line, CrewKey.generate(), reader, "w9")})
    outcome = readings[ticket.errand].found.outcome
    assert isinstance(outcome, OrgkeyError)
    assert outcome.code is Code.USAGE
    assert "w9 did not read it: the ticket does not open" in outcome.message


def _lie(issued: Mapping[str, IssuedTicket], answers: Lines, worker: str, found: Reading) -> Lines:
    """The answers, where all of one machine's say the same of every backup."""
    forged = dict(answers)
    for known, ticket in issued.items():
        if Answer.read(answers[known]).worker == worker:
            mac = Ticket.of(ticket.line).unseal(CREW).mac_key
            forged[known] = Answer.of(known, worker, 0.1, found, mac).line()
    return forged


@pytest.mark.parametrize("what", ["digest", "content", "signer"])
def test_a_machine_that_lies_is_named_and_nothing_it_said_stands(
    what: str, issued: dict[str, IssuedTicket], answers: Lines, again: Again
) -> None:
    (true,) = again([0])
    assert isinstance(true.outcome, ReadResult)
    lie = {
        "digest": replace(true, sha256="0" * 64),
        "content": replace(true, outcome=replace(true.outcome, found=replace(true.outcome.found, size=7))),
        "signer": replace(true, outcome=replace(true.outcome, signed_by="A" * 40)),
    }[what]
    readings, _ = entered(issued, _lie(issued, answers, "w1", lie))
    checked = read_again(readings, 100, again)
    for number, item in checked.items():
        assert item.worker is None
        assert code(item) is Code.OK
        assert ("w1 said of it what this machine does not find" in str(item.lie)) == bool(number % 2)


def test_one_lie_has_all_read_again_by_whatever_names(
    issued: dict[str, IssuedTicket], answers: Lines, again: Again, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings, _ = entered(issued, answers)
    said = readings[1]
    readings[1] = replace(said, found=replace(said.found, sha256="0" * 64))
    monkeypatch.setattr("random.SystemRandom.sample", lambda *_: [1])
    checked = read_again(readings, 5, again)
    assert {number for number, item in checked.items() if item.worker is None} == set(range(COUNT))
    assert {code(item) for item in checked.values()} == {Code.OK}
    assert [number for number, item in checked.items() if item.lie] == [1]


def test_what_was_not_read_is_not_read_again(issued: dict[str, IssuedTicket], again: Again) -> None:
    readings, _ = entered(issued, {})
    assert read_again(readings, 100, again) == readings
